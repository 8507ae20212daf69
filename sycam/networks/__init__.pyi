from .layouts.reshaping import Reshape
from .sources.named import NamedNetwork, read_class_names
from .sources.opening import LIBRARIES, open_network

__all__ = [
    "LIBRARIES",
    "NamedNetwork",
    "Reshape",
    "open_network",
    "read_class_names",
]
