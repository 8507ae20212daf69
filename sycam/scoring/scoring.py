"""Who scores: this process, or others that stand in for it."""

from __future__ import annotations

from typing import Protocol

from sycam.evidence import Evidence, Stack
from sycam.metrics import Context, Metric
from sycam.scoring.scorer import Scorer

WHOLE = slice(None)


class Scoring(Protocol):
    """Makes scorers of images."""

    def scorer(
        self,
        metric: Metric,
        evidence: Evidence | Stack,
        context: Context,
        part: slice = WHOLE,
        share: float = 1.0,
    ) -> Scorer:
        """Scores some of N images.

        Args:
            metric: what is scored by, unless others are named.
            evidence: measurements on the N images.
            context: of the same images.
            part: which of them.
            share: of the memory for kept values, 0 to 1.
        """


class InProcess:
    """This process scores."""

    def scorer(
        self,
        metric: Metric,
        evidence: Evidence | Stack,
        context: Context,
        part: slice = WHOLE,
        share: float = 1.0,
    ) -> Scorer:
        """See :meth:`Scoring.scorer`."""
        if part == WHOLE:
            return Scorer(metric, evidence, context, share)
        return Scorer(metric, evidence.subset(part), context.subset(part), share)


IN_PROCESS = InProcess()
