"""What a metric is, what it may look at, and the table of metrics."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from sycam.errors import unknown_name
from sycam.evidence import Classifier
from sycam.evidence.resolved import Resolved

EXACT = "exact"  # the metric sees the heatmap's values before scaling
POSITIVE_SCALE = "positive-scale"  # c * L scores as L does, for c > 0
RANKING = "ranking"  # only the order of the pixels, with ties, matters
INVARIANCES = (EXACT, POSITIVE_SCALE, RANKING)


@dataclass(frozen=True)
class Context:
    """What metrics may look at, the same for all candidates.

    Attributes:
        images: ``[N,C,H,W]`` in the network's input scale, or volumes ``[N,C,D,H,W]``.
        targets: ``[N]`` class explained, fixed for all perturbed copies.
        clean: ``[N]`` probability of that class on the clean images.
        classifier: the network.
        digests: content hash of each image; noise and permutations of an image are seeded by it,
            so that they do not depend on the other images.
        masks: ``[N,H,W]`` bool ground truth, or None.
        seed: of everything random.
        explained: the scalar that heatmaps explain, where it is not the class's logit.
    """

    images: Tensor
    targets: Tensor
    clean: Tensor
    classifier: Classifier
    digests: Sequence[str]
    masks: Tensor | None = None
    seed: int = 0
    explained: Resolved | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width of the images; depth, height and width of volumes."""
        return tuple(self.images.shape[2:])

    def subset(self, part: slice) -> Context:
        """The context of some of the images."""
        return Context(
            self.images[part],
            self.targets[part],
            self.clean[part],
            self.classifier,
            self.digests[part],
            None if self.masks is None else self.masks[part],
            self.seed,
            None if self.explained is None else self.explained.subset(part),
        )

    def generators(self, purpose: str) -> list[torch.Generator]:
        """One CPU generator an image, seeded by purpose, seed and the image's content."""
        made = []
        for digest in self.digests:
            text = f"{purpose}/{self.seed}/{digest}"
            number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
            made.append(torch.Generator().manual_seed(number))
        return made

    @cached_property
    def noise(self) -> Tensor:
        """``[N,C,H,W]`` standard normal noise, common to all candidates."""
        shape = self.images.shape[1:]
        drawn = [torch.randn(shape, generator=g) for g in self.generators("noise")]
        return torch.stack(drawn).to(self.images.device)

    @cached_property
    def shuffles(self) -> Tensor:
        """``[N,H*W]`` a permutation of the pixels, common to all candidates."""
        pixels = math.prod(self.size)
        drawn = [torch.randperm(pixels, generator=g) for g in self.generators("shuffle")]
        return torch.stack(drawn).to(self.images.device)

    @cached_property
    def random_maps(self) -> Tensor:
        """``[N,H,W]`` uniform in [0, 1]: what a map that ranks nothing is scored as."""
        drawn = [torch.rand(self.size, generator=g) for g in self.generators("random map")]
        return torch.stack(drawn).to(self.images.device)


class Metric(ABC):
    """Heatmaps to scores.

    An implementation is deterministic, scores each candidate and each image on its own, and does
    not change its arguments.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    invariance: ClassVar[str] = POSITIVE_SCALE
    needs_masks: ClassVar[bool] = False
    volumes: ClassVar[bool] = True  # whether it is defined for [N,C,D,H,W]

    @abstractmethod
    def score(self, maps: Tensor, context: Context) -> Tensor:
        """Score heatmaps.

        Args:
            maps: ``[P,N,H,W]`` in [0, 1].
            context: of the same N images.

        Returns:
            Tensor[P,N], one score a candidate and image.
        """

    @property
    def passes(self) -> int:
        """Forward passes on perturbed images for one candidate and one image, at most."""
        return 0

    @property
    def options(self) -> dict[str, object]:
        """Settings that change the score: part of a run's identity."""
        return {}

    def oriented(self, scores):
        """Scores with their sign turned so that higher is better."""
        return scores if self.higher_is_better else -scores


_registry: dict[str, type[Metric]] = {}
METRICS: Mapping[str, type[Metric]] = MappingProxyType(_registry)


def register(metric: type[Metric]) -> type[Metric]:
    """Class decorator: make a metric known by its name."""
    _registry[metric.name] = metric
    return metric


def find_metric(name: str | Metric) -> Metric:
    """The metric called ``name``; UnknownNameError, with the nearest names, where none is."""
    if isinstance(name, Metric):
        return name
    if name not in METRICS:
        raise unknown_name("metric", str(name), METRICS, "sycam metrics lists all")
    return METRICS[name]()
