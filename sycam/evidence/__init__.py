"""What the network says of the images, measured once: layers, activations, gradients, leaves."""

from sycam.evidence.cache import Cache, default_folder
from sycam.evidence.capture import Evidence, measure, measure_layers, read_outputs
from sycam.evidence.layers import SOUGHT, Layer, Layers, as_layers, find_layer, varies
from sycam.evidence.leaves.measure import Examples, add_leaves, measure_leaves
from sycam.evidence.leaves.table import MEASURED, Leaf
from sycam.evidence.stack import Stack

__all__ = [
    "MEASURED",
    "SOUGHT",
    "Cache",
    "Evidence",
    "Examples",
    "Layer",
    "Layers",
    "Leaf",
    "Stack",
    "add_leaves",
    "as_layers",
    "default_folder",
    "find_layer",
    "measure",
    "measure_layers",
    "measure_leaves",
    "read_outputs",
    "varies",
]
