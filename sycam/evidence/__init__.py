"""What the network says: loading it, finding the target layer, capturing activations."""

from sycam.evidence.acceleration import out_of_memory
from sycam.evidence.cache import Cache, default_folder
from sycam.evidence.capture import Evidence, layer_gradients, measure, read_outputs
from sycam.evidence.channel_scores import add_leaves, measure_leaves
from sycam.evidence.classifier import FLOAT32, Classifier
from sycam.evidence.head import has_linear_head
from sycam.evidence.layers import SOUGHT, Layer, Layers, as_layers, find_layer, varies
from sycam.evidence.stack import Stack

__all__ = [
    "FLOAT32",
    "SOUGHT",
    "Cache",
    "Classifier",
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
    "out_of_memory",
    "read_outputs",
    "varies",
]
