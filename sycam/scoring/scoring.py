"""Who scores: this process, or others that stand in for it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from sycam.data.images import ImageSet
from sycam.events import Notify
from sycam.evidence import Evidence, Stack
from sycam.metrics import Context, Metric
from sycam.scoring.scorer import Scorer

WHOLE = slice(None)


class Measures(Protocol):
    """A network that is explained, to be measured at its layers."""

    def measure(
        self,
        images: ImageSet,
        notify: Notify,
        leaves: Collection[str],
        cache: Any = None,
        gradients: bool = True,
    ) -> tuple[Evidence | Stack, Context]:
        """Evidence and metric context of images."""


class Scoring(Protocol):
    """Measures images and makes scorers of them."""

    def measure(
        self,
        explained: Measures,
        images: ImageSet,
        notify: Notify,
        leaves: Collection[str],
        gradients: bool = True,
    ) -> tuple[Evidence | Stack, Context]:
        """Evidence and metric context of images.

        Args:
            explained: the network, an :class:`~sycam.problem.explained_network.ExplainedNetwork`.
            images: any number.
            notify: watches the progress.
            leaves: to measure beside activations and gradients.
            gradients: measure them even where ``leaves`` does not name them.
        """

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
    """This process measures and scores."""

    def measure(
        self,
        explained: Measures,
        images: ImageSet,
        notify: Notify,
        leaves: Collection[str],
        gradients: bool = True,
    ) -> tuple[Evidence | Stack, Context]:
        """See :meth:`Scoring.measure`."""
        return explained.measure(images, notify, leaves, gradients=gradients)

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
