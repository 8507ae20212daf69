"""Whether a heatmap explains the image that it leaves: coherency, and what is built on it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sycam.metrics.base import Metric, register
from sycam.metrics.confidence import (
    POSITIVE,
    PROBABILITY,
    AverageDrop,
    Complexity,
    need_values,
)
from sycam.metrics.context import Context
from sycam.metrics.functions import harmonic_mean
from sycam.metrics.removal.perturbation import one_of
from sycam.metrics.removal.road import Road
from sycam.metrics.robustness.correlation import pearson

_ADCC = (
    "Poppi et al., Revisiting the Evaluation of Class Activation Mapping for Explainability, "
    "CVPR Workshops 2021"
)
_REDUCTIONS = ("per-image", "of-means")
_REDUCTION = (
    "`reduction=\"per-image\"` is the mean over images of the harmonic mean, as in the authors' "
    "code; `\"of-means\"` takes the means over images first, as OpenVINO XAI does. 0 where a part "
    "is 0."
)  # fmt: skip


@register
class Coherency(Metric):
    """``(Pearson(L, L of x L) + 1) / 2``."""

    name = "coherency"
    family = "confidence"
    summary = "correlation of the heatmap with that of the image multiplied by it"
    source = _ADCC
    definition = (
        "The Pearson correlation over pixels of the heatmap with the method's heatmap of the image "
        "multiplied by it (in the network's input scale, the same class explained), moved to "
        "[0, 1]; where one of them is constant the correlation counts as 0, so that coherency is "
        "0.5, as in pytorch-grad-cam."
    )
    formula = r"\tfrac{1}{2}\big(\mathrm{Pearson}(L(x),\, L(x \odot L(x))) + 1\big)"
    traps = (
        "A heatmap that does not look at the image, like a centre blob, agrees with itself: its "
        "coherency is 1. One near 1 everywhere leaves the image as it is and agrees as well."
    )
    measurements = 1

    def score(self, maps: Tensor, context: Context) -> Tensor:
        return _coherencies(maps, context, self.name)


def _coherencies(maps: Tensor, context: Context, metric: str) -> Tensor:
    """``[P,N]``, measured once for all metrics of one batch of heatmaps."""
    candidates = context.again(metric)

    def measure() -> Tensor:
        again = candidates.heatmaps_each(context.images * maps[:, :, None])
        return (pearson(maps.flatten(2), again.flatten(2)) + 1) / 2

    return context.shared((__name__, "coherency"), maps, measure)


class _Harmonic(Metric):
    """The harmonic mean of coherency and two more, image by image or of their means."""

    family = "confidence"
    measurements = 1

    def __init__(self, reduction: str):
        self.reduction = one_of("reduction", reduction, _REDUCTIONS)
        if reduction == "of-means":
            self.components = self._names

    _names: tuple[str, ...]
    _needed: str  # of a callable target
    _instead: str

    def check(self, context: Context) -> None:
        """Refuse a callable target whose values cannot be taken for shares."""
        need_values(self.name, context, self._needed, self._instead)

    @abstractmethod
    def _parts(self, maps: Tensor, context: Context) -> Tensor:
        """``[P,N,3]``."""

    @staticmethod
    @abstractmethod
    def _figure(parts: Tensor) -> Tensor:
        """``[..., 3]`` to ``[...]``."""

    def score(self, maps: Tensor, context: Context) -> Tensor:
        parts = self._parts(maps, context)
        return parts if self.components else self._figure(parts)

    def reduce(self, values: np.ndarray, fitted: None = None) -> np.ndarray:
        if not self.components:
            return super().reduce(values, fitted)
        return self._figure(torch.from_numpy(values.mean(-2))).numpy()


@register
class ADCC(_Harmonic):
    """Harmonic mean of coherency, 1 - complexity and 1 - average drop."""

    name = "adcc"
    summary = "harmonic mean of coherency, 1 - complexity and 1 - average drop"
    source = _ADCC
    definition = (
        "The harmonic mean of coherency, 1 minus complexity and 1 minus the average drop relative "
        f"to the clean probability. {_REDUCTION}"
    )
    formula = (
        r"3 \left( \frac{1}{\mathrm{Coherency}} + \frac{1}{1 - \mathrm{Complexity}} + "
        r"\frac{1}{1 - \mathrm{AD}} \right)^{-1}"
    )
    traps = (
        "A heatmap that does not look at the image has coherency 1 and low complexity for nothing; "
        "it needs only to lie where the object usually is. It never removes the object."
    )
    passes = 1
    _names = ("coherency", "complexity", "average_drop")
    _needed, _instead = POSITIVE, "average-drop:kind=absolute beside coherency"

    def __init__(self, reduction: str = "per-image"):
        """
        Args:
            reduction: ``"per-image"``, or ``"of-means"``: the harmonic mean of the means.
        """
        super().__init__(reduction)

    @property
    def options(self) -> dict[str, object]:
        return {"reduction": self.reduction}

    def _parts(self, maps: Tensor, context: Context) -> Tensor:
        coherency = _coherencies(maps, context, self.name)
        others = [part.score(maps, context) for part in (Complexity(), AverageDrop())]
        return torch.stack([coherency, *others], -1)

    @staticmethod
    def _figure(parts: Tensor) -> Tensor:
        coherency, complexity, drop = parts.unbind(-1)
        return harmonic_mean(torch.stack([coherency, 1 - complexity, 1 - drop], -1))


@register
class ARCC(_Harmonic):
    """Harmonic mean of coherency, 1 - complexity and ``clip(2 road, 0, 1)``."""

    name = "arcc"
    summary = "harmonic mean of coherency, 1 - complexity and twice ROAD"
    source = "Domeniconi et al., How to Evaluate and Refine your CAM, arXiv 2605.14641, 2026"
    definition = (
        "The harmonic mean of coherency, 1 minus complexity and twice ROAD, clipped to [0, 1] "
        "(with \"of-means\" twice the mean of ROAD, then clipped). The other options are those of "
        "road, at four percentiles; pytorch-grad-cam's ARCC needs `ties=\"plateau\"`, "
        "`solver=\"exact\"` and `noise=0`, and one target for heatmaps and ROAD, so that it is "
        f"comparable where the probability is explained. {_REDUCTION}"
    )  # fmt: skip
    formula = (
        r"3 \left( \frac{1}{\mathrm{Coherency}} + \frac{1}{1 - \mathrm{Complexity}} + "
        r"\frac{1}{\mathrm{clip}(2\,\mathrm{ROAD}, 0, 1)} \right)^{-1}"
    )
    traps = (
        "Image by image it is 0 wherever ROAD is not positive, however far below, so that a search "
        "ranks by the other images alone. Complexity favours small maps over whole objects."
    )
    _names = ("coherency", "complexity", "road")
    _needed, _instead = PROBABILITY, "road beside coherency"

    def __init__(
        self,
        reduction: str = "per-image",
        percentiles: Sequence[float] = (20, 40, 60, 80),
        noise: float = 0.01,
        tolerance: float = 1e-2,
        solver: str = "multigrid",
        ties: str = "blur",
        imputer: str = "linear",
    ):
        """
        Args:
            reduction: ``"per-image"``, or ``"of-means"``: the harmonic mean of the means.
            percentiles, noise, tolerance, solver, ties, imputer: as for
                :class:`sycam.metrics.Road`.
        """
        super().__init__(reduction)
        self._road = Road(percentiles, noise, tolerance, solver, ties, imputer)

    def check(self, context: Context) -> None:
        super().check(context)
        self._road.check(context)

    @property
    def passes(self) -> int:
        return self._road.passes

    @property
    def options(self) -> dict[str, object]:
        return {"reduction": self.reduction, **self._road.options}

    def _parts(self, maps: Tensor, context: Context) -> Tensor:
        coherency = _coherencies(maps, context, self.name)
        others = [part.score(maps, context) for part in (Complexity(), self._road)]
        return torch.stack([coherency, *others], -1)

    @staticmethod
    def _figure(parts: Tensor) -> Tensor:
        coherency, complexity, road = parts.unbind(-1)
        return harmonic_mean(torch.stack([coherency, 1 - complexity, (2 * road).clamp(0, 1)], -1))
