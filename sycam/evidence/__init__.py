"""What the network says of the images, measured once: layers, activations, gradients, leaves."""

from sycam.evidence.cache import Cache, default_folder
from sycam.evidence.capture import Evidence, measure, measure_layers, read_outputs
from sycam.evidence.layer import AUTO, SITES, SOUGHT, Layer, Layers, as_layers
from sycam.evidence.layer_probe import varies
from sycam.evidence.layers import find_layer, find_sites
from sycam.evidence.leaves.measure import Examples, add_leaves, measure_leaves
from sycam.evidence.leaves.table import MEASURED, Leaf, ignores_target
from sycam.evidence.stack import Stack, stacked

__all__ = [
    "AUTO",
    "MEASURED",
    "SITES",
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
    "find_sites",
    "ignores_target",
    "measure",
    "measure_layers",
    "measure_leaves",
    "read_outputs",
    "stacked",
    "varies",
]
