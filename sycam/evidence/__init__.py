"""What the network says of the images, measured once: layers, activations, gradients, leaves."""

from sycam.evidence.cache import Cache, default_folder
from sycam.evidence.capture import Evidence, layer_gradients, measure, read_outputs
from sycam.evidence.layers import SOUGHT, Layer, Layers, as_layers, find_layer, varies
from sycam.evidence.leaves.head import has_linear_head
from sycam.evidence.leaves.measure import add_leaves, measure_leaves
from sycam.evidence.stack import Stack

__all__ = [
    "SOUGHT",
    "Cache",
    "Evidence",
    "Layer",
    "Layers",
    "Stack",
    "add_leaves",
    "as_layers",
    "default_folder",
    "find_layer",
    "has_linear_head",
    "layer_gradients",
    "measure",
    "measure_leaves",
    "read_outputs",
    "varies",
]
