"""The overlaps that the metric RM pools, kept apart for each noisy copy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sycam.metrics import Context, Metric
from sycam.metrics.robustness.noise import Noise
from sycam.metrics.robustness.responsiveness import (
    Responsiveness,
    changed_predictions,
    overlaps,
    segmentation,
    shares,
)


class NoiseOverlaps(Metric):
    """RM of any noisy copies, with the parts of each copy as components.

    Args:
        copies: V noisy copies of every image.
        persistence: p of the rank-biased overlap.
    """

    name = "noise-overlaps"
    summary = "what rm pools, copy by copy"
    source = Responsiveness.source
    family = "robustness"

    def __init__(self, copies: Sequence[Noise], persistence: float):
        self.copies, self.persistence = tuple(copies), persistence
        self.components = tuple(
            f"{noise}: {part}" for noise in self.copies for part in Responsiveness.components
        )

    @property
    def shared_measurements(self) -> int:
        return 1 + len(self.copies)

    @property
    def options(self) -> dict[str, object]:
        return {"copies": [str(one) for one in self.copies], "persistence": self.persistence}

    def check(self, context: Context) -> None:
        """Refuse callable targets; a part that is undefined is told so in the tables."""
        segmentation()
        changed_predictions(context.subset(slice(0, 1)), self.copies[:1])

    def score(self, maps: Tensor, context: Context) -> Tensor:
        """``[P,N,4V]``: the four components of RM for each copy."""
        parts = []
        for overlap, changed in overlaps(
            self.copies, maps, context, self.persistence, Responsiveness.name
        ):
            for group in (~changed, changed):
                parts += [overlap * group, group.double().expand_as(overlap)]
        return torch.stack(parts, -1)

    def of_copies(self, values: np.ndarray) -> np.ndarray:
        """``[...,V,4]`` of ``[...,4V]``."""
        return values.reshape(*values.shape[:-1], len(self.copies), 4)

    def reduce(self, values: np.ndarray, fitted: None = None) -> np.ndarray:
        consistency, responsiveness = shares(self.of_copies(values.sum(-2)).sum(-2))
        return consistency * responsiveness
