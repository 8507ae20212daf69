"""Scores of candidates stage by stage, found in the journal or measured and recorded there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from sycam.errors import RunError
from sycam.evidence import Evidence, Stack
from sycam.language import Expression
from sycam.methods import Method
from sycam.metrics import Context, Metric
from sycam.scoring.blocks import ImageBlock
from sycam.scoring.journal import Journal
from sycam.scoring.scorer import Score, Scorer


class JournaledScorer:
    """What is known of every candidate.

    Args:
        metric: what is scored.
        evidence: measurements on the N search images.
        context: of the same images.
        journal: where scores are kept.
        stages: of the images.
        measures: whether what is not on record is measured; otherwise it is an error.

    Attributes:
        fresh: scores measured in this session, of one candidate on one image each.
        busy: seconds that took.
    """

    def __init__(
        self,
        metric: Metric,
        evidence: Evidence | Stack,
        context: Context,
        journal: Journal,
        stages: Sequence[ImageBlock],
        measures: bool = True,
    ):
        self.metric, self.context, self.journal = metric, context, journal
        self.stages, self.measures = tuple(stages), measures
        self.fresh, self.busy = 0, 0.0
        self._first: tuple[float, int] | None = None  # the first measurement's seconds and scores
        # Kept values take the same room in all, however many stages there are.
        self._scorers = [
            Scorer(
                metric,
                evidence.subset(stage.part),
                context.subset(stage.part),
                share=(stage.stop - stage.start) / stages[-1].stop,
            )
            for stage in stages
        ]

    @property
    def images(self) -> int:
        """N."""
        return self.stages[-1].stop

    def has(self, name: str, stage: int = 0) -> bool:
        """Whether a candidate's scores of a stage are on record."""
        return (name, stage) in self.journal.known

    def of(self, name: str, stage: int) -> Score:
        """The scores of a candidate up to the end of a stage, all of them on record."""
        parts = [self.journal.known[name, i] for i in range(stage + 1)]
        if len(parts) == 1:
            return parts[0]
        return Score.of(
            self.metric,
            np.concatenate([part.values for part in parts]),
            sum(part.degenerate for part in parts),
            all(part.finite for part in parts),
        )

    def score(self, expressions: Sequence[Expression], stage: int) -> list[Score]:
        """Scores of candidates up to the end of a stage; the stages before are on record."""
        missing = [e for e in expressions if not self.has(str(e), stage)]
        if missing:
            # All together, also where an interruption left a part of them on record: what is
            # computed together decides the last bits, and with them the order of tied pixels.
            measured = self._measured(
                stage, missing[0], lambda: self._scorers[stage].score(expressions), len(missing)
            )
            scores = dict(zip(expressions, measured, strict=True))
            self.journal.append(stage, list(map(str, missing)), [scores[e] for e in missing])
        return [self.of(str(e), stage) for e in expressions]

    def score_method(self, method: Method, stage: int) -> Score:
        """The scores of a known method up to the end of a stage; the stages before are on record.

        It is on record as its expression, if it has one.
        """
        name = method.name if method.expression is None else str(method.expression)
        if not self.has(name, stage):
            measured = self._measured(
                stage, name, lambda: [self._scorers[stage].score_method(method)], 1
            )
            self.journal.append(stage, [name], measured)
        return self.of(name, stage)

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
        seconds = time.monotonic() - started
        done = count * (self.stages[stage].stop - self.stages[stage].start)
        self.busy, self.fresh = self.busy + seconds, self.fresh + done
        self._first = self._first or (seconds, done)
        return scores

    def prepare(self, scores: int) -> None:
        """Make the network as fast as pays for so many scores of one candidate on one image."""
        if passes := scores * self.metric.passes:
            self.context.classifier.plan(passes)

    @property
    def pace(self) -> float:
        """Measured seconds for one candidate on one image; 0 before anything was measured.

        The first measurement counts only as long as there is no other: in it the network finds its
        batch size, and noise and the like are drawn.
        """
        if self._first is None:
            return 0.0
        seconds, done = self._first
        if self.fresh > done:
            return (self.busy - seconds) / (self.fresh - done)
        return seconds / done
