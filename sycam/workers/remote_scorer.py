"""A scorer whose images are scored by workers, few at a time, the same few whoever they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from sycam.data.image_set import ImageSet
from sycam.events import Notify
from sycam.evidence import Evidence, Stack
from sycam.language import Expression
from sycam.methods import Method
from sycam.metrics import Context, Metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.scoring.scorer import Raw, Scorer
from sycam.scoring.scoring import WHOLE, Measures
from sycam.workers.orders import Order
from sycam.workers.parcels import Parcel
from sycam.workers.portable import Portable, method_for_workers, metric_for_workers
from sycam.workers.recipe import Recipe
from sycam.workers.shards import shard_bytes
from sycam.workers.streaming import (
    SHARD,
    StreamedContext,
    StreamedEvidence,
    StreamedShards,
    parts_of,
)
from sycam.workers.team import Job, Team

_SHARE = 0.25  # of the memory that one process would keep values in


class _Shared:
    """Images that this process measured, and whose measurements workers can have.

    Args:
        evidence: measurements on N images.
        context: of the same images.
        folder: for what is sent.
    """

    def __init__(self, evidence: Evidence | Stack, context: Context, folder: Path):
        self.evidence, self.context, self._folder = evidence, context, folder
        self.recipe = Parcel.put(Recipe.of_context(context).to_bytes(), folder)
        self._shards: dict[int, Parcel] = {}

    def shard(self, number: int) -> Parcel:
        """The measurements on the images of a number, written down when they are first needed."""
        if number not in self._shards:
            part = slice(number * SHARD, (number + 1) * SHARD)
            data = shard_bytes(self.evidence.subset(part), self.context.subset(part))
            self._shards[number] = Parcel.put(data, self._folder)
        return self._shards[number]

    def part(self, part: slice) -> tuple[Evidence | Stack, Context]:
        """What a scorer of some of the images holds."""
        return self.evidence.subset(part), self.context.subset(part)


class _Streamed:
    """Images that workers measure.

    Args:
        evidence, context: what stands for that of the images.
    """

    def __init__(self, evidence: StreamedEvidence, context: StreamedContext):
        self.evidence, self.context = evidence, context
        self.recipe, self.shard = evidence.shards.recipe, evidence.shards.shard

    def part(self, part: slice) -> tuple[Evidence | Stack, Context]:
        """What stands for some of the images."""
        return cast(Evidence, self.evidence.view(part)), self.context.view(part)


class RemoteScoring:
    """Workers measure and score.

    Args:
        team: of workers.
        folder: for what is sent to them, of this user alone.
    """

    def __init__(self, team: Team, folder: Path):
        self.team, self._folder = team, folder
        self._shared: list[_Shared | _Streamed] = []

    def measure(
        self,
        explained: Measures,
        images: ImageSet,
        notify: Notify,
        leaves: Collection[str],
        gradients: bool = True,
    ) -> tuple[Evidence | Stack, Context]:
        """See :meth:`sycam.scoring.scoring.Scoring.measure`.

        Workers measure, each the images that it scores.
        """
        if not isinstance(explained, ExplainedNetwork):
            return explained.measure(images, notify, leaves, gradients=gradients)
        shards = StreamedShards(explained, images, leaves, gradients, self._folder)
        facts = shards.surveyed(self.team, notify)
        evidence = StreamedEvidence(shards, facts, range(len(images)))
        return cast(Evidence, evidence), StreamedContext.of(evidence, notify)

    def scorer(
        self,
        metric: Metric,
        evidence: Evidence | Stack,
        context: Context,
        part: slice = WHOLE,
        share: float = 1.0,
    ) -> Scorer:
        """See :meth:`sycam.scoring.scoring.Scoring.scorer`."""
        return RemoteScorer(metric, self._of(evidence, context), part, share, self.team)

    def _of(self, evidence: Evidence | Stack, context: Context) -> _Shared | _Streamed:
        for shared in self._shared:
            if shared.evidence is evidence and shared.context is context:
                return shared
        if isinstance(evidence, StreamedEvidence) and isinstance(context, StreamedContext):
            self._shared.append(_Streamed(evidence, context))
        else:
            self._shared.append(_Shared(evidence, context, self._folder))
        return self._shared[-1]


class RemoteScorer(Scorer):
    """Scores by workers.

    Args:
        metric: what is scored by, unless others are named.
        shared: the images.
        part: which of them.
        share: of the memory for kept values.
        team: of workers.
    """

    def __init__(
        self,
        metric: Metric,
        shared: _Shared | _Streamed,
        part: slice,
        share: float,
        team: Team,
    ):
        super().__init__(metric, *shared.part(part))
        self._shared, self._team = shared, team
        first, last, _ = part.indices(len(shared.context))
        self._parts = parts_of(first, last)
        self._share_of_part = _SHARE * share / len(self._parts)
        self._foreseen: dict[tuple, list[Job]] = {}
        self._metrics: dict[int, tuple[Metric, Portable]] = {}

    def plan(self, passes: int) -> None:
        """Nothing: workers take the form that was settled on, however many passes there are."""

    def foresee(
        self, batches: Iterable[Sequence[Expression]], which: np.ndarray | None = None
    ) -> None:
        """See :meth:`Scorer.foresee`; as many batches as keep the workers busy."""
        before, self._foreseen = self._foreseen, {}
        jobs: list[Job] = []
        for batch in batches:
            if len(jobs) > 2 * self._team.width:
                break
            key = _key(batch, which)
            self._foreseen[key] = before.get(key) or self._jobs(
                [self.metric], tuple(map(str, batch)), None, which
            )
            jobs += [job for job in self._foreseen[key] if job.done is None]
        self._team.foresee(jobs)

    def raw(
        self,
        metrics: Sequence[Metric],
        expressions: Sequence[Expression],
        which: np.ndarray | None = None,
    ) -> Raw:
        """See :meth:`Scorer.raw`."""
        jobs = None
        if list(metrics) == [self.metric]:
            jobs = self._foreseen.pop(_key(expressions, which), None)
        jobs = jobs or self._jobs(metrics, tuple(map(str, expressions)), None, which)
        return self._answer(jobs)

    def raw_of(
        self, metrics: Sequence[Metric], method: Method, which: np.ndarray | None = None
    ) -> Raw:
        """See :meth:`Scorer.raw_of`."""
        return self._answer(self._jobs(metrics, (), method, which))

    def _jobs(
        self,
        metrics: Sequence[Metric],
        expressions: tuple[str, ...],
        method: Method | None,
        which: np.ndarray | None,
    ) -> list[Job]:
        sent = None if method is None else method_for_workers(method)
        under = tuple(map(self._metric, metrics))
        return [
            Job(
                Order(
                    recipe=self._shared.recipe,
                    shard=self._shared.shard(number),
                    start=start,
                    stop=stop,
                    share=self._share_of_part,
                    expressions=expressions,
                    method=sent,
                    metrics=under,
                    levels=None if which is None else which[places],
                    seed=self.context.seed,
                    scale=self.context.scale,
                )
            )
            for number, start, stop, places in self._parts
        ]

    def _metric(self, metric: Metric) -> Portable:
        """The metric as it is sent, told once."""
        if id(metric) not in self._metrics:
            self._metrics[id(metric)] = metric, metric_for_workers(metric)
        return self._metrics[id(metric)][1]

    def _answer(self, jobs: Sequence[Job]) -> Raw:
        done = self._team.results(jobs)
        self.context.classifier.passes += sum(one.passes for one in done)
        return Raw.joined([one.raw for one in done if one.raw is not None])


def _key(batch: Sequence[Expression], which: np.ndarray | None) -> tuple:
    return tuple(batch), None if which is None else which.tobytes()
