"""Images that workers measure: of them the run keeps targets, probabilities and outputs alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from sycam.data.image_set import ImageSet
from sycam.data.streamed import Streamed
from sycam.errors import DataError
from sycam.events import Notify, Step
from sycam.evidence import Evidence, Stack
from sycam.evidence.capture import layer_named
from sycam.metrics import Context
from sycam.problem.explained_network import ExplainedNetwork
from sycam.support.mapped_tensor import blank
from sycam.workers.orders import Facts, Order
from sycam.workers.parcels import Parcel
from sycam.workers.recipe import Recipe
from sycam.workers.shards import opened_shards
from sycam.workers.team import Job, Team
from sycam.workers.unmeasured import Unmeasured, measured_bytes

SHARD = 8  # images
_WAVE = 8  # shards for each worker, whose facts are gathered before others are asked for
_LOOKED_AT = 4  # parts whose measurements are kept here, those that were looked at last
_ON_DISK = 2**24  # bytes of outputs from which on they lie there


class StreamedShards:
    """N images in shards that workers read and measure.

    What this process itself looks at, a few images, it measures in the same shards.

    Args:
        explained: the network.
        images: the N.
        leaves, gradients: see :meth:`sycam.scoring.scoring.Scoring.measure`.
        folder: for what is sent.
    """

    def __init__(
        self,
        explained: ExplainedNetwork,
        images: ImageSet,
        leaves: Collection[str],
        gradients: bool,
        folder: Path,
    ):
        self.explained, self.images = explained, images
        self._asked, self._folder = (leaves, gradients), folder
        classifier = explained.classifier
        some = images.images[:SHARD].to(classifier.device)
        # By these passes it knows which batches, and which forms, it can have.
        classifier.probability(some, torch.zeros(len(some), dtype=torch.int64))
        self.recipe = Parcel.put(Recipe.of(explained, classifier).to_bytes(), folder)
        self._shards: dict[int, Unmeasured] = {}
        self._looked_at: dict[tuple[int, int], tuple[Evidence | Stack, Context]] = {}

    def __len__(self) -> int:
        return len(self.images)

    def shard(self, number: int) -> Unmeasured:
        """What is sent of the images of a number."""
        if number not in self._shards:
            self._shards[number] = Unmeasured.of(self._part(number), *self._asked, self._folder)
        return self._shards[number]

    def _part(self, number: int) -> ImageSet:
        first, last = number * SHARD, min((number + 1) * SHARD, len(self))
        return self.images.subset(range(first, last))

    def surveyed(self, team: Team, notify: Notify) -> Facts:
        """What the run must know of all images, which workers measure for it."""
        count = len(self)
        numbers = range(-(-count // SHARD))
        targets, clean = np.empty(count, np.int64), np.empty(count, np.float32)
        outputs: np.ndarray | None = None
        for wave in range(0, len(numbers), _WAVE * team.width):
            some = numbers[wave : wave + _WAVE * team.width]
            jobs = [Job(Order(self.recipe, self.shard(n), 0, SHARD)) for n in some]
            for number, done in zip(some, team.results(jobs), strict=True):
                facts, place = done.facts, slice(number * SHARD, (number + 1) * SHARD)
                if facts is None or len(facts.targets) != len(targets[place]):
                    raise DataError(f"a worker measured other images than those of shard {number}")
                targets[place], clean[place] = facts.targets, facts.clean
                if facts.outputs is not None:
                    if outputs is None:
                        shape = count, *facts.outputs.shape[1:]
                        dtype = torch.from_numpy(facts.outputs[:0].copy()).dtype
                        outputs = blank(shape, dtype, most=_ON_DISK).numpy()
                    outputs[place] = facts.outputs
                self.explained.classifier.passes += done.passes
            notify(Step(min(count, (some[-1] + 1) * SHARD)))
        return Facts(targets, clean, outputs)

    def measured(self, first: int, last: int) -> tuple[Evidence | Stack, Context]:
        """Evidence and context of the images from one to before another, measured here."""
        if (first, last) not in self._looked_at:
            numbers = range(first // SHARD, -(-last // SHARD))
            evidence, context = opened_shards([self._bytes(n) for n in numbers], self.explained)
            start = numbers.start * SHARD
            part = slice(first - start, last - start)
            while len(self._looked_at) >= _LOOKED_AT:
                del self._looked_at[next(iter(self._looked_at))]
            self._looked_at[first, last] = evidence.subset(part), context.subset(part)
        return self._looked_at[first, last]

    def _bytes(self, number: int) -> bytes:
        return measured_bytes(self.shard(number).bytes_of(self._part(number)), self.explained)


class StreamedEvidence:
    """What stands for the evidence of N images that workers measure.

    Args:
        shards: the images.
        facts: of them.
        places: of the N, those that it stands for.
    """

    def __init__(self, shards: StreamedShards, facts: Facts, places: range):
        self.shards, self.facts, self.places = shards, facts, places

    def __len__(self) -> int:
        return len(self.places)

    @property
    def targets(self) -> Tensor:
        """See :class:`sycam.evidence.Evidence`."""
        return self._of(self.facts.targets).to(self.shards.explained.classifier.device)

    @property
    def outputs(self) -> Tensor | None:
        """See :class:`sycam.evidence.Evidence`."""
        return None if self.facts.outputs is None else self._of(self.facts.outputs)

    @property
    def clean(self) -> Tensor:
        """``[N]`` probability of the class explained, on the clean images."""
        return self._of(self.facts.clean).to(self.shards.explained.classifier.device)

    @property
    def layers(self) -> tuple[Evidence, ...]:
        """Of the first images alone, by which shapes and layers are told."""
        few = min(SHARD, len(self.shards))
        return self.shards.measured(0, few)[0].layers

    @property
    def fusion(self) -> Any:
        """How the heatmaps of the layers become one."""
        return self.shards.measured(0, min(SHARD, len(self.shards)))[0].fusion

    def at(self, name: str) -> Evidence:
        """Of the first images, see :meth:`sycam.evidence.Evidence.at`."""
        return layer_named(self.layers, name)

    def subset(self, part: slice) -> Evidence | Stack:
        """The measurements on some of the images, made here."""
        places = self.places[part]
        return self.shards.measured(places.start, places.stop)[0]

    def view(self, part: slice) -> StreamedEvidence:
        """What stands for some of the images."""
        return StreamedEvidence(self.shards, self.facts, self.places[part])

    def _of(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values[self.places.start : self.places.stop])


@dataclass(frozen=True)
class StreamedContext(Context):
    """What stands for the context of N images that workers measure: whole, but for the images.

    Attributes:
        evidence: that which stands for theirs.
    """

    evidence: StreamedEvidence = field(default=cast(StreamedEvidence, None), repr=False)

    @classmethod
    def of(cls, evidence: StreamedEvidence, notify: Notify) -> StreamedContext:
        """The context of all images; a note where something is strange about them."""
        shards = evidence.shards
        images, device = shards.images, shards.explained.classifier.device
        masks = None if images.masks is None else Streamed.of(images.masks, device)
        whole = shards.explained.context(
            cast(Tensor, Streamed.of(images.images, device)),
            cast("Tensor | None", masks),
            images,
            cast(Evidence, evidence),
            evidence.clean,
            notify,
        )
        return cls(**{f.name: getattr(whole, f.name) for f in fields(Context)}, evidence=evidence)

    def subset(self, part: slice) -> Context:
        """The context of some of the images, which are measured here."""
        places = self.evidence.places[part]
        context = self.evidence.shards.measured(places.start, places.stop)[1]
        return _like(context, self)

    def view(self, part: slice) -> StreamedContext:
        """What stands for some of the images."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        given |= {
            "images": self.images.part(part),  # type: ignore[attr-defined]
            "masks": None if self.masks is None else self.masks.part(part),  # type: ignore[attr-defined]
            "targets": self.targets[part],
            "clean": self.clean[part],
            "digests": self.digests[part],
            "explained": None if self.explained is None else self.explained.subset(part),
            "outputs": None if self.outputs is None else self.outputs[part],
            "evidence": self.evidence.view(part),
            "kept": {},
        }
        return StreamedContext(**given)


def _like(context: Context, other: Context) -> Context:
    """A context with what is decided for all images."""
    given = {f.name: getattr(context, f.name) for f in fields(Context)}
    return Context(**given | {"seed": other.seed, "scale": other.scale, "kept": {}})


def parts_of(first: int, last: int) -> Sequence[tuple[int, int, int, slice]]:
    """Images ``first`` to ``last`` in the parts that they have in shards, which begin where they
    do whatever is asked for: the number of the shard, from and to which of its images, and their
    places among those asked for."""
    parts = []
    for number in range(first // SHARD, -(-last // SHARD)):
        start, stop = max(first, number * SHARD), min(last, (number + 1) * SHARD)
        places = slice(start - first, stop - first)
        parts.append((number, start - number * SHARD, stop - number * SHARD, places))
    return parts
