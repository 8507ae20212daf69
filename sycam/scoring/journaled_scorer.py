"""Scores of candidates stage by stage, found in the journal or measured and recorded there."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from statistics import median

import numpy as np

from sycam.errors import RunError
from sycam.evidence import Evidence, Stack
from sycam.language import Expression
from sycam.methods import Method
from sycam.metrics import Context, Metric
from sycam.scoring.blocks import ImageBlock, by_image
from sycam.scoring.journal import Journal
from sycam.scoring.scorer import DIGITS, Score
from sycam.scoring.scoring import IN_PROCESS, Scoring
from sycam.support.shelf import Shelf

RECENT = 16  # measurements that tell the pace
_MOMENT = 0.5  # seconds


def recorded_name(method: Method) -> str:
    """Under which the scores of a known method are on record: its expression's, if it has one."""
    return method.name if method.expression is None else str(method.expression)


class JournaledScorer:
    """What is known of every candidate.

    Args:
        metric: what is scored.
        evidence: measurements on the N search images.
        context: of the same images.
        journal: where scores are kept.
        stages: of the images.
        measures: whether what is not on record is measured; otherwise it is an error.
        scoring: who measures.
    """

    def __init__(
        self,
        metric: Metric,
        evidence: Evidence | Stack,
        context: Context,
        journal: Journal,
        stages: Sequence[ImageBlock],
        measures: bool = True,
        scoring: Scoring = IN_PROCESS,
    ):
        self.metric, self.context, self.journal = metric, context, journal
        self.stages, self.measures = tuple(stages), measures
        self._recent: deque[tuple[float, int]] = deque(maxlen=RECENT)  # seconds and scores
        self._all = (0.0, 0)  # the same of all measurements but the first
        self._together = 1.0  # what levels measured together take of what they take one by one
        self._measurements = 0
        parts = dict.fromkeys((stage.start, stage.stop) for stage in stages)
        # Kept values take the same room in all, however many stages there are.
        room = sum(stop - start for start, stop in parts)
        by_part = {
            (start, stop): scoring.scorer(
                metric, evidence, context, slice(start, stop), share=(stop - start) / room
            )
            for start, stop in parts
        }
        self._scorers = [by_part[stage.start, stage.stop] for stage in stages]
        self._whole: dict[str, Score] = {}  # of those that have seen all images
        self._shelf = Shelf()

    @property
    def images(self) -> int:
        """N."""
        return self.stages[-1].stop

    @property
    def _levels(self) -> float:
        """Of the metric; 1 where images are seen as a whole."""
        return self.stages[-1].end / self.images

    def has(self, name: str, stage: int = 0) -> bool:
        """Whether a candidate's scores of a stage are on record."""
        return (name, stage) in self.journal.known

    def of(self, name: str, stage: int) -> Score:
        """The scores of a candidate up to the end of a stage, all of them on record. Images that
        were seen at some levels only count as if the others were alike."""
        if name in self._whole and stage == len(self.stages) - 1:
            return self._whole[name]
        parts = [self.journal.known[name, i] for i in range(stage + 1)]
        if self.stages[0].levels > 1:
            values = by_image(self.cells(name, stage), self.stages[: stage + 1])
            values = self.metric.rounded(values, self.context.scale.largest, DIGITS)
        elif len(parts) == 1:
            return parts[0]
        else:
            values = np.concatenate([part.values for part in parts])
        whole = stage == len(self.stages) - 1
        score = Score.of(
            self.metric,
            self._shelf.put(values) if whole else values,
            sum(part.degenerate for part in parts),
            all(part.finite for part in parts),
        )
        if whole:
            self._whole[name] = score
        return score

    def cells(self, name: str, stage: int) -> np.ndarray:
        """``[N,L]`` what each image at each of the metric's levels adds to its score, NaN where
        the candidate has not been seen up to the end of a stage; ``[N,1]`` where stages are of
        whole images."""
        cells = np.full((self.images, self.stages[0].levels), np.nan)
        for i, block in enumerate(self.stages[: stage + 1]):
            values = self.journal.known[name, i].values.reshape(len(block.which), -1)
            np.put_along_axis(cells[block.part], block.which, values, 1)
        return cells

    def score(self, expressions: Sequence[Expression], stage: int) -> list[Score]:
        """Scores of candidates up to the end of a stage; the stages before are on record."""
        missing = [e for e in expressions if not self.has(str(e), stage)]
        if missing:
            # All together, also where an interruption left a part of them on record: what is
            # computed together decides the last bits, and with them the order of tied pixels.
            which = self._which(stage)
            measured = self._measured(
                stage,
                missing[0],
                lambda: self._scorers[stage].score(expressions, which),
                len(missing),
            )
            scores = dict(zip(expressions, measured, strict=True))
            self.journal.append(stage, list(map(str, missing)), [scores[e] for e in missing])
        return [self.of(str(e), stage) for e in expressions]

    def score_method(self, method: Method, stage: int) -> Score:
        """The scores of a known method up to the end of a stage; those before are on record."""
        name = recorded_name(method)
        if not self.has(name, stage):
            which = self._which(stage)
            measured = self._measured(
                stage, name, lambda: [self._scorers[stage].score_method(method, which)], 1
            )
            self.journal.append(stage, [name], measured)
        return self.of(name, stage)

    def _which(self, stage: int) -> np.ndarray | None:
        """``[n,T]`` the levels of a stage's images; None where it sees them as a whole."""
        block = self.stages[stage]
        return block.which if block.levels > 1 else None

    def _measured(
        self, stage: int, name: object, work: Callable[[], list[Score]], count: int
    ) -> list[Score]:
        if not self.measures:
            raise RunError(
                f"journal '{self.journal.path}' lacks scores of {name} on images "
                f"{self.stages[stage].start} to {self.stages[stage].stop}"
            )
        started = time.monotonic()
        scores = work()
        seconds, done = time.monotonic() - started, count * self.stages[stage].cells
        if self._measurements == 1:
            self._recent.clear()  # in the first the network found its batch size, noise was drawn
            self._all = (0.0, 0)
        self._recent.append((seconds, done))
        self._all = self._all[0] + seconds, self._all[1] + done
        self._measurements += 1
        if self.stages[stage].seen:  # heatmaps that rank nothing were counted at the first level
            scores = [replace(score, degenerate=0, flat=None) for score in scores]
        return scores

    def prepare(self, scores: int) -> None:
        """Make the network as fast as pays for so many scores of one candidate on one image."""
        if passes := scores * self.metric.passes:
            self._scorers[0].plan(passes)

    def foresee(self, batches: Iterable[Sequence[Expression]]) -> None:
        """Take note of batches of new candidates that :meth:`score` will likely be asked for next
        in the first stage, in their order; none that were noted before are."""
        if self.measures:
            missing = (b for b in batches if any(not self.has(str(e)) for e in b))
            self._scorers[0].foresee(missing, self._which(0))

    def rehearse(self, expressions: Sequence[Expression]) -> None:
        """Time candidates that are scored together, so that the pace is theirs; no score is kept.

        Without passes of the network, which take as long for every heatmap, the pace of published
        CAMs, one at a time, says little of it.
        """
        if not expressions or not self.measures or self.metric.passes or self.metric.measurements:
            return
        which = self._which(0)
        started = time.monotonic()
        self._scorers[0].score(expressions, which)
        seconds = time.monotonic() - started
        self._recent.clear()
        self._recent.append((seconds, len(expressions) * self.stages[0].cells))
        self._measurements = max(self._measurements, 2)

    def rehearse_whole(self, method: Method) -> None:
        """Time a known method on images at all levels, where that takes a moment: its heatmap is
        made and ranked once, and not at each level anew; no score is kept.

        Args:
            method: that was measured, like most.
        """
        first = self.stages[0]
        count, alike = first.stop - first.start, self.image_pace
        if first.levels == 1 or not self.measures or not 0 < alike * count < _MOMENT:
            return
        which = np.tile(np.arange(first.levels), (count, 1))
        classifier = self.context.classifier
        started, passes = time.monotonic(), classifier.passes
        self._scorers[0].score_method(method, which)
        self._together = min(1.0, (time.monotonic() - started) / (alike * count))
        # Whether there is time for it differs from run to run; what is on record does not.
        classifier.passes = passes

    @property
    def pace(self) -> float:
        """Measured seconds for one candidate on one image, or in one cell, in the last
        measurements; 0 before anything was measured.

        The first measurement counts only as long as there is no other.
        """
        seconds, done = map(sum, zip(*self._recent, strict=True)) if self._recent else (0.0, 1)
        return seconds / done

    @property
    def is_timed(self) -> bool:
        """Whether :attr:`pace` is of more than the first measurement, which takes longer: the
        network finds its batch size, noise is drawn, workers begin."""
        return self._measurements > 1

    @property
    def overall_pace(self) -> float:
        """The same of all measurements: of methods some of which are far more expensive than
        others, the last ones say little."""
        seconds, done = self._all
        return seconds / max(1, done)

    @property
    def image_pace(self) -> float:
        """Seconds for one candidate on one image at all levels, as in most of the last
        measurements: of known methods a few are far more expensive than all others."""
        each = median(s / n for s, n in self._recent) if self._recent else 0.0
        return each * self._levels * self._together
