"""What heatmaps are made of: measurements at target layers, whoever took them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor


class MeasuredLayer(Protocol):
    """One target layer's leaves on N images, as ``sycam.evidence.Evidence`` holds them."""

    @property
    def leaves(self) -> Mapping[str, Tensor]:
        """All measurements by the names of their leaves."""

    @property
    def depth(self) -> int:
        """Slices of the layer's grid, 1 for images."""

    @property
    def name(self) -> str:
        """Of the layer; empty where it is not known."""


class Measured(Protocol):
    """One target layer or several on the same images: ``Evidence``, or a ``Stack`` of them."""

    @property
    def layers(self) -> Sequence[MeasuredLayer]:
        """Layer by layer, the one that is named first in front."""

    @property
    def fusion(self) -> str | Sequence[float]:
        """How the heatmaps of the layers become one."""
