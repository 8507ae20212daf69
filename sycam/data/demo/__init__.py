"""The embedded default: real digits in real scenes, and a small network that reads them.

Needs no download. ``scenes`` composes images with labels and exact masks, ``network`` loads the
trained network; ``python -m sycam.data.demo.train`` trains it again.
"""

from sycam.data.demo.network import LAYER, MEAN, STD, DemoNet, network, normalise
from sycam.data.demo.scenes import (
    CLASS_NAMES,
    SIDE,
    SPLITS,
    Scenes,
    digit_indices,
    photo_region,
    scenes,
    scenes_with_and_without,
)

__all__ = [
    "CLASS_NAMES",
    "LAYER",
    "MEAN",
    "SIDE",
    "SPLITS",
    "STD",
    "DemoNet",
    "Scenes",
    "digit_indices",
    "network",
    "normalise",
    "photo_region",
    "scenes",
    "scenes_with_and_without",
]
