"""ROAD: remove pixels by a linear imputation that tells the network nothing of the mask."""

from __future__ import annotations

import math

from torch import Tensor

from sycam.errors import OptionError
from sycam.metrics.base import Metric, register
from sycam.metrics.context import Context
from sycam.metrics.imputation import impute, impute_exact
from sycam.metrics.perturbation import removal_probabilities

PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90)


class _Removal(Metric):
    """What the ROAD family shares: rank, remove at nine percentiles, impute, forward."""

    source = (
        "Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods, "
        "ICML 2022"
    )
    family = "removal"
    volumes = False  # the imputer's weights are those of a pixel's eight neighbours
    _sides: tuple[str, ...]

    def __init__(
        self,
        percentiles: tuple[int, ...] = PERCENTILES,
        noise: float = 0.01,
        tolerance: float = 1e-2,
        solver: str = "multigrid",
    ):
        """
        Args:
            percentiles: q in 1..99; MoRF keeps the ceil(q (P - 1) / 100) least relevant of the P
                pixels, LeRF as many of the most relevant.
            noise: standard deviation of the noise on imputed pixels, in the input scale.
            tolerance: accuracy of the imputation, in the input scale.
            solver: ``"multigrid"``, or ``"exact"`` for a sparse factorisation a mask.
        """
        if not percentiles or not all(0 < q < 100 for q in percentiles):
            raise OptionError(f"percentiles must lie between 0 and 100, got {percentiles}")
        if solver not in ("multigrid", "exact"):
            raise OptionError(f"solver {solver!r} is not known; expected 'multigrid' or 'exact'")
        self.percentiles = tuple(percentiles)
        self.noise, self.tolerance, self.solver = noise, tolerance, solver

    @property
    def passes(self) -> int:
        return len(self.percentiles) * len(self._sides)

    @property
    def options(self) -> dict[str, object]:
        return {
            "percentiles": list(self.percentiles),
            "noise": self.noise,
            "tolerance": self.tolerance,
            "solver": self.solver,
        }

    def curves(self, maps: Tensor, context: Context) -> dict[str, Tensor]:
        """``p(imputed) - p(clean)`` at each percentile, ``[P,N,M]``, by side (morf, lerf)."""
        pixels = maps.shape[-1] * maps.shape[-2]
        kept = [math.ceil(q * (pixels - 1) / 100) for q in self.percentiles]
        intervals = {
            "morf": [(0, pixels - count) for count in kept],
            "lerf": [(count, pixels) for count in kept],
        }
        wanted = [interval for side in self._sides for interval in intervals[side]]

        def fill(images: Tensor, removed: Tensor, index: Tensor) -> Tensor:
            if self.solver == "exact":
                filled = impute_exact(images, removed)
            else:
                filled = impute(images, removed, tolerance=self.tolerance, native=True)
            if self.noise:
                places = removed[:, None].to(filled.dtype)
                filled.addcmul_(context.noise[index], places, value=self.noise)
            return filled

        key = ("road", self.noise, self.tolerance, self.solver)
        found = removal_probabilities(maps, wanted, fill, key, context)
        drops = found - context.clean[:, None]
        parts = drops.split(len(kept), dim=-1)
        return dict(zip(self._sides, parts, strict=True))


@register
class Road(_Removal):
    """``(mean_q LeRF - mean_q MoRF) / 2``."""

    name = "road"
    summary = "removing irrelevant pixels must cost less probability than removing relevant ones"
    range = (-0.5, 0.5)
    _sides = ("morf", "lerf")

    def score(self, maps: Tensor, context: Context) -> Tensor:
        curves = self.curves(maps, context)
        return (curves["lerf"].mean(-1) - curves["morf"].mean(-1)) / 2


@register
class RoadMorf(_Removal):
    """``mean_q MoRF``: the change of probability when the most relevant pixels go first."""

    name = "road-morf"
    summary = "change of probability when the most relevant pixels are removed first"
    higher_is_better = False
    range = (-1.0, 1.0)
    _sides = ("morf",)

    def score(self, maps: Tensor, context: Context) -> Tensor:
        return self.curves(maps, context)["morf"].mean(-1)


@register
class RoadLerf(_Removal):
    """``mean_q LeRF``: the change of probability when the least relevant pixels go first."""

    name = "road-lerf"
    summary = "change of probability when the least relevant pixels are removed first"
    range = (-1.0, 1.0)
    _sides = ("lerf",)

    def score(self, maps: Tensor, context: Context) -> Tensor:
        return self.curves(maps, context)["lerf"].mean(-1)
