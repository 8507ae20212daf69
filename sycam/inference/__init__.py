"""The network as a fast, frozen function: batches, folded layers, compilation, threads."""

from sycam.inference.acceleration import out_of_memory
from sycam.inference.classifier import FLOAT32, Classifier
from sycam.inference.threads import sharing_cores

__all__ = ["FLOAT32", "Classifier", "out_of_memory", "sharing_cores"]
