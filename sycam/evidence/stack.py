"""Evidence of several layers of one network on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sycam.evidence.capture import Evidence, layer_named


@dataclass(frozen=True)
class Stack:
    """Evidence layer by layer, and how the heatmaps of the layers become one.

    What does not depend on the layer (outputs, targets, probability) is the first layer's.

    Attributes:
        layers: one :class:`Evidence` a layer, the one that is named first in front.
        fusion: see :func:`sycam.heatmaps.fuse`.
    """

    layers: tuple[Evidence, ...]
    fusion: str | tuple[float, ...] = "mean"

    def __len__(self) -> int:
        return len(self.first)

    @property
    def first(self) -> Evidence:
        """The evidence of the layer that is named first."""
        return self.layers[0]

    @property
    def outputs(self) -> Tensor | None:
        """``[N, classes]`` class scores."""
        return self.first.outputs

    @property
    def targets(self) -> Tensor:
        """``[N]`` the class explained."""
        return self.first.targets

    @property
    def probability(self) -> Tensor:
        """``[N]`` probability of the class explained."""
        return self.first.probability

    def at(self, name: str) -> Evidence:
        """The evidence of the layer of a name.

        Raises:
            UnknownNameError: it was not measured.
        """
        return layer_named(self.layers, name)

    def subset(self, index: Tensor | slice) -> Stack:
        """The evidence on some of the images."""
        return Stack(tuple(layer.subset(index) for layer in self.layers), self.fusion)


def stacked(
    layers: Sequence[Evidence], fusion: str | tuple[float, ...] = "mean"
) -> Evidence | Stack:
    """The evidence of one layer itself; of several a :class:`Stack`."""
    return layers[0] if len(layers) == 1 else Stack(tuple(layers), fusion)
