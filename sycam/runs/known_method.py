"""A published CAM, baseline or control that stood beside a search."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from sycam.methods import CAM
from sycam.scoring.statistics import Interval
from sycam.support.schema import Figure


@dataclass(frozen=True)
class KnownMethod:
    """A published CAM, or a baseline that is computed directly, with its figures.

    Attributes:
        name: as in the tables, ``"layer-cam@layer4"`` where there are several layers.
        kind: of :data:`sycam.methods.KINDS`.
        layers: names of the layers that it looks at.
        expression: its formula; None where it is computed directly.
        score: mean on the search images, in the metric's own direction.
        heldout: mean and interval on the held-out images, where it was validated.
        scores: ``[N]`` scores on the search images.
    """

    name: str
    kind: str
    layers: tuple[str, ...]
    expression: str | None
    score: Figure
    heldout: Interval | None = None
    scores: tuple[Figure, ...] = field(default=(), repr=False)

    @property
    def method(self) -> str:
        """The name alone, without a layer."""
        return self.name.partition("@")[0]

    @property
    def place(self) -> str:
        """Method and layer in words: ``"layer-cam at layer4"``."""
        return f"{self.method} at {', '.join(self.layers)}"

    def cam(self, network: nn.Module, **options: Any) -> CAM:
        """The method as a reusable class activation map of a network, at its layers.

        Args:
            network: as for :class:`sycam.CAM`.
            options: its ``reshape`` and ``fusion``.
        """
        layers = self.layers[0] if len(self.layers) == 1 else self.layers
        return CAM(network, layers, self.method, **options)
