"""RM: whether heatmaps hold still while noise leaves the prediction, and move when it changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sycam.data.noise_kinds import LEVELS
from sycam.errors import OptionError
from sycam.metrics.base import Metric, register
from sycam.metrics.context import Context
from sycam.metrics.removal.perturbation import between, one_of
from sycam.metrics.robustness.noise import Noise

SUPERVOXELS = 200  # of a volume, about
COMPACTNESS = 0.1  # weight of nearness against grey values in [0, 1]
_PART = 16  # images whose predictions are looked at together before scoring


@register
class Responsiveness(Metric):
    """Consistency times responsiveness of the ranking of superpixels."""

    name = "rm"
    summary = "heatmaps hold still under noise that keeps the prediction, and move if it changes"
    source = (
        "Sarkar et al., Assessing the Noise Robustness of Class Activation Maps: A Framework for "
        "Reliable Model Interpretability, 2025"
    )
    family = "robustness"
    definition = (
        "The clean image is cut into superpixels (quickshift; volumes, which the paper does not "
        "have, into 200 by SLIC), which a heatmap ranks by their mean "
        "heat; o is the extrapolated rank-biased overlap (Webber et al. 2010, `persistence` p) of "
        "the rankings of the clean and of a noisy image, each explained by the logit of the class "
        "predicted on it. C is the mean of o over noisy copies that keep the prediction, R is 1 "
        "less the mean over those that change it, both pooled over all images, and the figure is "
        "C R; it is undefined (NaN) where no copy keeps, or none changes, the prediction. "
        "`noises` names the kinds of noise, each at three levels, which `strength` multiplies; "
        "these details are ours. Regions of equal heat (to 6 decimals) keep their order, so that a "
        "map that is zero on both images has o = 1."
    )
    formula = (
        r"\underbrace{\operatorname{mean}_{\hat c(x') = \hat c(x)} o(x, x')}_{C} \cdot "
        r"\Bigl(1 - \operatorname{mean}_{\hat c(x') \ne \hat c(x)} o(x, x')\Bigr)"
    )
    traps = (
        "It says nothing of where the heat lies: a map that is a hash of the prediction scores "
        "high. A few images whose prediction changes may carry R: look at its interval."
    )
    components = ("kept overlap", "kept", "changed overlap", "changed")

    def __init__(
        self,
        noises: tuple[str, ...] = tuple(LEVELS),
        strength: float = 1.0,
        persistence: float = 0.9,
    ):
        """
        Args:
            noises: kinds of noise, of those in :data:`LEVELS`.
            strength: multiplies the levels.
            persistence: p of the rank-biased overlap, between 0 and 1; the smaller, the more
                weight have the first ranks.
        """
        if not noises or isinstance(noises, str):
            raise OptionError(f"noises must be one or several of {tuple(LEVELS)}, got {noises!r}")
        if not between(strength, 0, math.inf):
            raise OptionError(f"strength must be a number above 0, got {strength!r}")
        if not between(persistence, 0, 1):
            raise OptionError(f"persistence must lie between 0 and 1, got {persistence!r}")
        self.noises = tuple(one_of("noise", kind, tuple(LEVELS)) for kind in noises)
        self.strength, self.persistence = strength, persistence
        self._copies = tuple(
            Noise(kind, strength * level) for kind in self.noises for level in LEVELS[kind]
        )

    @property
    def shared_measurements(self) -> int:
        return 1 + len(self._copies)

    @property
    def options(self) -> dict[str, object]:
        return {
            "noises": list(self.noises),
            "strength": self.strength,
            "persistence": self.persistence,
        }

    def check(self, context: Context) -> None:
        """Refuse callable targets, and images for which the figure is undefined."""
        segmentation()
        seen = torch.zeros(2, dtype=torch.bool, device=context.images.device)
        for start in range(0, len(context), _PART):
            changed = changed_predictions(context.subset(slice(start, start + _PART)), self._copies)
            seen |= torch.stack([(~changed).any(), changed.any()])
            if seen.all():
                return
        does, factor = ("changes", 2.0) if seen[0] else ("keeps", 0.5)
        raise OptionError(
            f"metric 'rm' is undefined on these {len(context)} images: none of the "
            f"{len(self._copies)} noisy copies of each {does} its prediction; take more images, or "
            f"another strength, like rm:strength={factor * self.strength:g}"
        )

    def score(self, maps: Tensor, context: Context) -> Tensor:
        parts = maps.new_zeros(*maps.shape[:2], 4, dtype=torch.float64)
        for overlap, changed in overlaps(self._copies, maps, context, self.persistence, self.name):
            for first, group in ((0, ~changed), (2, changed)):
                parts[..., first] += overlap * group
                parts[..., first + 1] += group
        return parts

    def reduce(self, values: np.ndarray, fitted: None = None) -> np.ndarray:
        consistency, responsiveness = shares(values.sum(-2))
        return consistency * responsiveness


def shares(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Consistency C and responsiveness R, ``[...]`` each; NaN where no copy is of that kind.

    Args:
        sums: ``[...,4]`` as :attr:`Responsiveness.components`: overlap with copies that keep the
            prediction, their number, overlap with those that change it, their number.
    """
    kept, of_kept, changed, of_changed = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore"):
        return kept / of_kept, 1 - changed / of_changed


def overlaps(
    copies: Sequence[Noise], maps: Tensor, context: Context, persistence: float, name: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """What noise does to the ranking of superpixels, copy by copy.

    Args:
        copies: V noisy copies of every image.
        maps: ``[P,N,H,W]`` of P candidates, which are looked at again on every copy.
        context: of the same N images.
        persistence: p of the rank-biased overlap.
        name: of the metric, for what it is told where candidates cannot be had again.

    Yields:
        For each copy the overlap ``[P,N]`` float64 of the rankings of the clean and of the noisy
        image, and ``[N]`` bool, whether the prediction changed.
    """
    again = context.again(name)
    changes = context.once(
        (__name__, "changed predictions", tuple(copies)),
        lambda: changed_predictions(context, copies),
    )
    regions = context.once((__name__, "superpixels"), lambda: Regions.of(context.images))

    def ranks(key: str, images: Tensor | Callable[[], Tensor]) -> Tensor:
        return regions.ranks(again.heatmaps(f"{__name__}: {key}", images, target="predicted"))

    clean = ranks("clean", context.images)
    for noise, changed in zip(copies, changes, strict=True):
        noisy = ranks(str(noise), partial(noise.applied, context))
        yield rank_biased_overlap(clean, noisy, regions.counts, persistence), changed


def changed_predictions(context: Context, copies: Sequence[Noise]) -> Tensor:
    """``[V,N]`` bool: which noisy copies have another prediction than their image.

    Raises:
        OptionError: a callable is explained, not a class.
    """
    if context.classifier.score is not None:
        raise OptionError(
            "metric 'rm' asks whether noise changes the predicted class, but a callable is "
            "explained; explain a class, like target='predicted'"
        )
    clean = context.classifier.predictions(context.images)
    noisy = (context.classifier.predictions(n.applied(context)) for n in copies)
    return torch.stack([predicted != clean for predicted in noisy])


@dataclass(frozen=True)
class Regions:
    """Superpixels of N images.

    Attributes:
        labels: ``[N,H*W]`` (``[N,D*H*W]``) int64, the region of each pixel, from 0.
        counts: ``[N]`` int64, the number of regions of each image.
    """

    labels: Tensor
    counts: Tensor

    @classmethod
    def of(cls, images: Tensor) -> Regions:
        """Cut images ``[N,C,H,W]`` by quickshift (Vedaldi and Soatto, ECCV 2008), as scikit-image
        does by default; volumes ``[N,C,D,H,W]`` by SLIC (Achanta et al., PAMI 2012).

        Each image is scaled to [0, 1]. Three channels are taken for colours; of any other number
        the mean is taken for grey, as of volumes.

        Raises:
            OptionError: scikit-image is not installed.
        """
        (quickshift, slic), regions = segmentation(), []
        for image in images.double().cpu():
            flat = image.ndim == 3
            coloured = flat and len(image) == 3
            colours = image if coloured else image.mean(0).expand(3, *image.shape[1:])
            low, high = colours.min(), colours.max()
            scaled = ((colours - low) / (high - low if high > low else 1.0)).numpy()
            if flat:
                labels = quickshift(scaled.transpose(1, 2, 0), rng=0)
            else:
                labels = slic(scaled[0], SUPERVOXELS, COMPACTNESS, channel_axis=None)
            # Consecutive numbers, in case one is missing.
            regions.append(torch.from_numpy(np.unique(labels, return_inverse=True)[1]).flatten())
        labels = torch.stack(regions).to(images.device)
        return cls(labels, labels.amax(1) + 1)

    def ranks(self, maps: Tensor) -> Tensor:
        """Rank of each region by its mean heat, 0 the hottest; equal ones keep their order.

        Args:
            maps: ``[P,N,H,W]``.

        Returns:
            Tensor[P,N,R] int64, R the largest of ``counts``; what an image lacks comes last.
        """
        P, N = maps.shape[:2]
        most = int(self.counts.max())
        labels = self.labels.expand(P, N, -1)
        sums = maps.new_zeros((P, N, most), dtype=torch.float64)
        sums.scatter_add_(-1, labels, maps.flatten(2).double())
        pixels = torch.zeros_like(sums[0]).scatter_add_(
            -1, self.labels, torch.ones_like(self.labels, dtype=torch.float64)
        )
        # Rounding errors rank nothing.
        heat = (sums / pixels.clamp(min=1)).round(decimals=6).masked_fill(pixels == 0, -torch.inf)
        return heat.argsort(dim=-1, descending=True, stable=True).argsort(-1)


def rank_biased_overlap(
    first: Tensor, second: Tensor, counts: Tensor, persistence: float = 0.9
) -> Tensor:
    """Extrapolated rank-biased overlap of two rankings of the same k items.

    ``X_k / k p^k + (1 - p) / p sum_{d=1}^k X_d / d p^d``, X_d the number of items among the first d
    of both (Webber, Moffat and Zobel, A Similarity Measure for Indefinite Rankings, ACM TOIS 2010,
    extrapolated for lists of equal length); here ``X_k = k``. Equal rankings have 1.

    Args:
        first: ``[..., N, R]`` rank of each item from 0; those that there are come before those that
            there are not.
        second: the same.
        counts: ``[N]`` number k of items of each image, at most R.
        persistence: p.

    Returns:
        Tensor[..., N] float64.
    """
    # An item is in both heads from depth m on, the larger of its ranks, so that it adds
    # p^d / d for d = m..k: a difference of two cumulative sums.
    depth = torch.arange(1, first.shape[-1] + 1, dtype=torch.float64, device=first.device)
    sums = torch.nn.functional.pad((persistence**depth / depth).cumsum(0), (1, 0))
    before = torch.maximum(first, second)
    counts = counts[:, None]
    terms = torch.where(before < counts, sums[counts] - sums[before], 0.0)
    tail = persistence ** counts[:, 0].double()
    return tail + (1 - persistence) / persistence * terms.sum(-1)


def segmentation() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Quickshift and SLIC.

    Raises:
        OptionError: scikit-image is not installed.
    """
    try:
        from skimage.segmentation import quickshift, slic
    except ImportError:
        raise OptionError(
            "metric 'rm' takes superpixels from scikit-image, which is not installed: "
            "pip install 'sycam[superpixels]'"
        ) from None
    return quickshift, slic
