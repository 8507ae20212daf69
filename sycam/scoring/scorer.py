"""Candidates to per-image scores under one metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sycam.evidence import Evidence, Stack
from sycam.heatmaps import Heatmaps, KeptValues, channel_totals, maps_of
from sycam.inference import out_of_memory
from sycam.language import Expression
from sycam.methods import Method
from sycam.metrics import Context, Metric
from sycam.scoring.changed_inputs import ChangedInputs, KeptEvidence, Make

_ELEMENTS = {"cpu": 4_000_000, "other": 64_000_000}  # pixels of heatmaps in memory at once
_TOGETHER = 8  # candidates that are usually scored together: blocks of images are cut for them
_ROOM = 2**29  # bytes of subexpressions' values that are kept from batch to batch
_ROOM_AGAIN = 2**31  # bytes of evidence of changed inputs that are kept
DIGITS = 7  # decimals of a score's unit that are kept: the rest is floating-point noise
DIGITS_OF_LEVELS = 13  # of what levels add to it, so that their sum is rounded but once


@dataclass(frozen=True)
class Score:
    """One candidate's scores.

    Attributes:
        values: ``[N]`` float64, a score per image in the metric's own direction, rounded; ``[N,c]``
            where the metric has c components.
        degenerate: number of images on which the heatmap ranks nothing (scored as a random
            ranking that all candidates share).
        finite: whether the candidate's values stayed finite on all images.
        mean: the metric's figure: for most metrics the mean over the images.
        flat: ``[N]`` bool, the images counted by ``degenerate``; None where only the count is on
            record.
    """

    values: np.ndarray
    degenerate: int
    finite: bool
    mean: float
    flat: np.ndarray | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        metric: Metric,
        values: np.ndarray,
        degenerate: int,
        finite: bool,
        flat: np.ndarray | None = None,
    ) -> Score:
        """A score with its figure."""
        mean = float(metric.reduce(values))
        sound = finite and bool(np.isfinite(values).all()) and math.isfinite(mean)
        return cls(values, degenerate, sound, mean, flat)

    @classmethod
    def of_stage(
        cls,
        metric: Metric,
        values: np.ndarray,
        degenerate: int,
        finite: bool,
        levels: int,
        flat: np.ndarray | None = None,
    ) -> Score:
        """The score of a stage's images: ``[n]``, or ``[n,added]`` at some of several levels."""
        if levels < 2:
            return cls.of(metric, values, degenerate, finite, flat)
        sound = finite and bool(np.isfinite(values).all())
        return cls(values, degenerate, sound, float(values.mean()) * levels, flat)


@dataclass(frozen=True)
class Raw:
    """What P candidates score on n images, before it is rounded and summed up.

    Attributes:
        values: ``[P,n]`` float64 of each metric, ``[P,n,c]`` where it has c components or n images
            are seen at c levels.
        flat: ``[P,n]`` bool, whose heatmap ranks nothing.
        finite: ``[P]`` bool, whose values stayed finite.
    """

    values: tuple[np.ndarray, ...]
    flat: np.ndarray
    finite: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Raw]) -> Raw:
        """Of all images, from those of consecutive parts of them."""
        columns = zip(*(part.values for part in parts), strict=True)
        return cls(
            tuple(np.concatenate(column, 1) for column in columns),
            np.concatenate([part.flat for part in parts], 1),
            np.logical_and.reduce([part.finite for part in parts]),
        )


class Scorer:
    """Scores expressions and methods under metrics on fixed images.

    Args:
        metric: what :meth:`score` and :meth:`score_method` score by.
        evidence: measurements on the N images.
        context: what the metric may look at, of the same images.
        share: of the memory for kept values, 0 to 1.
    """

    def __init__(
        self, metric: Metric, evidence: Evidence | Stack, context: Context, share: float = 1.0
    ):
        self.metric, self.evidence, self.context = metric, evidence, context
        self._share = share
        self._usual: list[_Block] = []
        self._most = len(context)  # images in a block, at most; halved where memory runs out

    def prepare(self, count: int, metrics: Sequence[Metric] = ()) -> None:
        """Make the network as fast as pays for scoring so many candidates.

        Args:
            count: of candidates.
            metrics: that score them; the scorer's own if none.
        """
        each = sum(metric.passes for metric in metrics or [self.metric])
        if passes := count * len(self.context) * each:
            self.plan(passes)

    def plan(self, passes: int) -> None:
        """Make the network as fast as pays for so many passes of perturbed images."""
        self.context.classifier.plan(passes)

    def foresee(
        self, batches: Iterable[Sequence[Expression]], which: np.ndarray | None = None
    ) -> None:
        """Take note of batches that :meth:`score` will be asked for next, in their order, as far
        as is known; where others do the work, they may begin. None that were noted before are."""

    def score(
        self, expressions: Sequence[Expression], which: np.ndarray | None = None
    ) -> list[Score]:
        """One :class:`Score` per expression; a batch of expressions shares subexpressions.

        Args:
            expressions: the batch.
            which: ``[N,T]`` at which of the metric's levels each image is seen; at all if None.
        """
        metrics = [self.metric]
        return self._finished(metrics, self.raw(metrics, expressions, which), which)[0]

    def score_method(self, method: Method, which: np.ndarray | None = None) -> Score:
        """The score of a named method; ``which`` as for :meth:`score`."""
        return self.score_under([self.metric], method, which)[0]

    def score_under(
        self, metrics: Sequence[Metric], method: Method, which: np.ndarray | None = None
    ) -> list[Score]:
        """The scores of a named method under several metrics; its heatmaps are made once."""
        by_metric = self._finished(metrics, self.raw_of(metrics, method, which), which)
        return [scores[0] for scores in by_metric]

    def raw(
        self,
        metrics: Sequence[Metric],
        expressions: Sequence[Expression],
        which: np.ndarray | None = None,
    ) -> Raw:
        """What expressions score under several metrics; ``which`` as for :meth:`score`."""
        leaves = frozenset().union(*(e.leaves for e in expressions))
        return self._raw(
            len(expressions),
            lambda b: maps_of(expressions, b.evidence, b.context.size, b.kept),
            lambda b: b.again(
                [_maker([e]) for e in expressions], _maker(expressions), expressions, leaves, False
            ),
            metrics,
            which,
        )

    def raw_of(
        self, metrics: Sequence[Metric], method: Method, which: np.ndarray | None = None
    ) -> Raw:
        """The same of a named method, P = 1."""
        weights = [] if method.expression is None else [method.expression]
        return self._raw(
            1,
            lambda b: method.heatmaps(b.evidence, b.context),
            lambda b: b.again(
                [method.heatmaps], method.heatmaps, weights, method.leaves, method.runs
            ),
            metrics,
            which,
        )

    def _raw(
        self,
        count: int,
        make: Callable[[_Block], Heatmaps],
        again: Callable[[_Block], ChangedInputs],
        metrics: Sequence[Metric],
        which: np.ndarray | None,
    ) -> Raw:
        columns: list[list[Tensor]] = [[] for _ in metrics]
        flat, finite = [], []
        for heatmaps, scores in self._of_blocks(count, make, again, metrics, which):
            flat.append(heatmaps.degenerate)
            finite.append(heatmaps.finite)
            for column, score in zip(columns, scores, strict=True):
                column.append(score)
        return Raw(
            tuple(torch.cat(column, 1).double().cpu().numpy() for column in columns),
            torch.cat(flat, 1).cpu().numpy(),
            torch.stack(finite).all(0).cpu().numpy(),
        )

    def _finished(
        self, metrics: Sequence[Metric], raw: Raw, which: np.ndarray | None
    ) -> list[list[Score]]:
        """For each metric the score of each candidate, rounded."""
        return [
            [
                Score.of(metric, values, int(none.sum()), bool(good), none)
                if which is None
                else Score.of_stage(
                    metric, values, int(none.sum()), bool(good), metric.levels, none
                )
                for values, none, good in zip(
                    metric.rounded(
                        column,
                        self.context.scale.largest,
                        DIGITS if which is None else DIGITS_OF_LEVELS,
                    ),
                    raw.flat,
                    raw.finite,
                    strict=True,
                )
            ]
            for metric, column in zip(metrics, raw.values, strict=True)
        ]

    def _of_blocks(
        self,
        count: int,
        make: Callable[[_Block], Heatmaps],
        again: Callable[[_Block], ChangedInputs],
        metrics: Sequence[Metric],
        which: np.ndarray | None,
    ) -> Iterator[tuple[Heatmaps, list[Tensor]]]:
        """Heatmaps and their scores block by block; where memory runs out, in smaller blocks."""
        done, blocks = 0, self._blocks(count)
        while done < len(self.context):
            block = next(block for block in blocks if block.start == done)
            try:
                heatmaps = make(block)
                context = block.context.scoring(again(block), heatmaps.degenerate)
                maps = ranking_maps(heatmaps, context)
                if which is None:
                    scores = [metric.score(maps, context) for metric in metrics]
                else:
                    levels = torch.from_numpy(which[done : done + len(context)]).to(maps.device)
                    scores = [metric.score_at(maps, context, levels) for metric in metrics]
            except Exception as error:
                if len(block.context) == 1 or not out_of_memory(error):
                    raise
                self._most, self._usual = _power_of_two(len(block.context) - 1), []
                blocks = self._blocks(count)
                continue
            done += len(block.context)
            yield heatmaps, scores

    def _blocks(self, count: int) -> list[_Block]:
        """The images in parts; kept, so that noise and permutations are drawn once."""
        if self._usual and count <= _TOGETHER:
            return self._usual
        room = _ELEMENTS["cpu" if self.context.images.device.type == "cpu" else "other"]
        fits = room // (max(count, _TOGETHER) * math.prod(self.context.size))
        # Powers of two, so that smaller blocks go on where larger ones ended.
        step = _power_of_two(min(max(1, fits), self._most))
        parts = [slice(i, i + step) for i in range(0, len(self.context), step)]
        layers = len(self.evidence.layers)
        blocks = [
            _Block(
                part.start,
                self.evidence.subset(part),
                self.context.subset(part),
                [
                    KeptValues(int(_ROOM * self._share) // (len(parts) * layers))
                    for _ in range(layers)
                ],
                KeptEvidence(int(_ROOM_AGAIN * self._share) // len(parts)),
            )
            for part in parts
        ]
        if count <= _TOGETHER:
            self._usual = blocks
        return blocks


@dataclass(frozen=True)
class _Block:
    """Images that are scored together; ``start`` is the place of the first."""

    start: int
    evidence: Evidence | Stack
    context: Context
    kept: list[KeptValues]
    kept_again: KeptEvidence

    def again(
        self,
        makers: Sequence[Make],
        together: Make,
        expressions: Sequence[Expression],
        leaves: frozenset[str],
        runs: bool,
    ) -> ChangedInputs:
        """The candidates on other inputs; ``expressions`` are those that have weights, or none."""
        return ChangedInputs(
            makers,
            together,
            lambda leaves: channel_totals(expressions, leaves, self.evidence.layers[0].depth),
            leaves,
            runs,
            self.evidence,
            self.context,
            self.kept_again,
        )


def _power_of_two(limit: int) -> int:
    """The largest that is at most ``limit``."""
    return 1 << (limit.bit_length() - 1)


def _maker(expressions: Sequence[Expression]) -> Make:
    return lambda evidence, context: maps_of(expressions, evidence, context.size)


def ranking_maps(heatmaps: Heatmaps, context: Context) -> Tensor:
    """Heatmaps ``[P,N,H,W]`` with a random ranking, common to all candidates, for degenerate
    ones."""
    flat = heatmaps.degenerate[(..., *(None,) * (heatmaps.maps.ndim - 2))]
    return torch.where(flat, context.random_maps, heatmaps.maps) if flat.any() else heatmaps.maps
