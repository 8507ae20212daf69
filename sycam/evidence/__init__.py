"""What the network says: loading it, finding the target layer, capturing activations."""

from sycam.evidence.acceleration import out_of_memory
from sycam.evidence.cache import Cache, default_folder
from sycam.evidence.capture import Evidence, layer_gradients, measure, read_outputs
from sycam.evidence.channel_scores import add_leaves, measure_leaves
from sycam.evidence.classifier import FLOAT32, Classifier
from sycam.evidence.head import has_linear_head
from sycam.evidence.layers import SOUGHT, Layer, Layers, as_layers, find_layer, varies
from sycam.evidence.loading import load_network
from sycam.evidence.reshaping import Reshape
from sycam.evidence.stack import Stack
from sycam.evidence.untouched import device_of, dtype_of, untouched

__all__ = [
    "FLOAT32",
    "SOUGHT",
    "Cache",
    "Classifier",
    "Evidence",
    "Layer",
    "Layers",
    "Reshape",
    "Stack",
    "add_leaves",
    "as_layers",
    "default_folder",
    "device_of",
    "dtype_of",
    "find_layer",
    "has_linear_head",
    "layer_gradients",
    "load_network",
    "measure",
    "measure_leaves",
    "out_of_memory",
    "read_outputs",
    "untouched",
    "varies",
]
