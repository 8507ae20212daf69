"""Candidates to per-image scores under one metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sycam.evidence import Evidence, Stack
from sycam.kernels import Heatmaps, Kept, maps_of
from sycam.language import Expression
from sycam.metrics import Context, Metric

_ELEMENTS = 4_000_000  # pixels of heatmaps in memory at once
_TOGETHER = 8  # candidates that are usually scored together: blocks of images are cut for them
_ROOM = 2**29  # bytes of subexpressions' values that are kept from batch to batch
DIGITS = 7  # decimals of a score that are kept: the rest is floating-point noise


@dataclass(frozen=True)
class Score:
    """One candidate's scores.

    Attributes:
        values: ``[N]`` float64, a score an image in the metric's own direction, rounded.
        degenerate: number of images on which the heatmap ranks nothing (scored as a random
            ranking that all candidates share).
        finite: whether the candidate's values stayed finite on all images.
        flat: ``[N]`` bool, the images counted by ``degenerate``; None where only the count is on
            record.
    """

    values: np.ndarray
    degenerate: int
    finite: bool
    flat: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def mean(self) -> float:
        """Mean over the images."""
        return float(self.values.mean())


class Scorer:
    """Scores expressions and methods under metrics on fixed images.

    Args:
        metric: what :meth:`score` and :meth:`score_method` score by.
        evidence: measurements on the N images.
        context: what the metric may look at, of the same images.
    """

    def __init__(self, metric: Metric, evidence: Evidence | Stack, context: Context):
        self.metric, self.evidence, self.context = metric, evidence, context
        self._usual: list[_Block] = []

    def score(self, expressions: Sequence[Expression]) -> list[Score]:
        """One :class:`Score` an expression; a batch of expressions shares subexpressions."""
        return self._scored(
            len(expressions),
            lambda b: maps_of(expressions, b.evidence, b.context.size, b.kept),
            [self.metric],
        )[0]

    def score_method(self, method) -> Score:
        """The score of a named method."""
        return self.score_under([self.metric], method)[0]

    def score_under(self, metrics: Sequence[Metric], method) -> list[Score]:
        """The scores of a named method under several metrics; its heatmaps are made once."""
        found = self._scored(1, lambda b: method.heatmaps(b.evidence, b.context), metrics)
        return [scores[0] for scores in found]

    def _scored(
        self,
        count: int,
        make: Callable[[_Block], Heatmaps],
        metrics: Sequence[Metric],
    ) -> list[list[Score]]:
        columns: list[list[Tensor]] = [[] for _ in metrics]
        flat, finite = [], []
        for block in self._blocks(count):
            found = make(block)
            flat.append(found.degenerate)
            finite.append(found.finite)
            for column, metric in zip(columns, metrics, strict=True):
                column.append(score_heatmaps(metric, found, block.context)[0])
        where = torch.cat(flat, 1).cpu().numpy()
        whole = torch.stack(finite).all(0).tolist()
        return [
            [
                Score(values, int(none.sum()), good, none)
                for values, none, good in zip(
                    torch.cat(column, 1).double().cpu().numpy().round(DIGITS),
                    where,
                    whole,
                    strict=True,
                )
            ]
            for column in columns
        ]

    def _blocks(self, count: int) -> list[_Block]:
        """The images in parts; kept, so that noise and permutations are drawn once."""
        if self._usual and count <= _TOGETHER:
            return self._usual
        step = max(1, _ELEMENTS // (max(count, _TOGETHER) * math.prod(self.context.size)))
        parts = [slice(i, i + step) for i in range(0, len(self.context), step)]
        layers = len(self.evidence.layers)
        blocks = [
            _Block(
                self.evidence.subset(part),
                self.context.subset(part),
                [Kept(_ROOM // (len(parts) * layers)) for _ in range(layers)],
            )
            for part in parts
        ]
        if count <= _TOGETHER:
            self._usual = blocks
        return blocks


@dataclass(frozen=True)
class _Block:
    """Images that are scored together."""

    evidence: Evidence | Stack
    context: Context
    kept: list[Kept]


def score_heatmaps(metric: Metric, found: Heatmaps, context: Context) -> tuple[Tensor, Tensor]:
    """Scores ``[P,N]`` with degenerate maps replaced by a shared random ranking, and which were."""
    flat = found.degenerate[(..., *(None,) * (found.maps.ndim - 2))]
    maps = torch.where(flat, context.random_maps, found.maps) if flat.any() else found.maps
    return metric.score(maps, context), found.degenerate
