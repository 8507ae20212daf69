"""ROAD: remove pixels by a linear imputation that tells the network nothing of the mask."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import Self

import torch
from torch import Tensor

from sycam.errors import OptionError
from sycam.metrics.base import Metric, register
from sycam.metrics.context import Context
from sycam.metrics.imputation.impute import impute, impute_exact, largest_value
from sycam.metrics.imputation.telea import impute_telea, inpainting
from sycam.metrics.removal.baselines import (
    HEAVY_BLUR,
    baseline_fill,
    blur_baseline,
    fill_from,
)
from sycam.metrics.removal.perturbation import (
    Fill,
    Interval,
    between,
    intervals_at,
    one_of,
    ranks_of,
    removal_probabilities,
    removed_between,
)

PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90)
_TIES = ("blur", "plateau")
_SOLVERS = ("multigrid", "exact")
_IMPUTERS = ("linear", "blur", "telea", "mean")
_OPTIONS = (
    "A missing pixel is the weighted mean of its neighbours (1/6 beside it, 1/12 diagonally), "
    "solved for all missing pixels at once by `solver` to `tolerance`, plus Gaussian `noise`. "
    "The paper defines images; of volumes, where a voxel's 26 neighbours have 1/14 (face), 1/28 "
    "(edge) and 1/56 (corner), equal slices under equal masks are filled as one slice is. "
    "`ties=\"blur\"` orders tied pixels by a wide blur of the heatmap, then by a permutation "
    "common to all candidates, so that all remove the same number of pixels; `ties=\"plateau\"` "
    "removes tied pixels together, as pytorch-grad-cam's strict threshold does, and where that "
    "removes every pixel the image becomes 0 (as its singular system does, but for a few sizes "
    "such as 4x4, where it returns NaN). `imputer` fills removed pixels otherwise than by that "
    "mean: `blur` and `mean` show the blurred image or its mean colour there, so that the network "
    "sees the edge of the mask, and `telea` continues what surrounds them (Telea 2004), slowly."
)  # fmt: skip
_TRAP = (
    "Scattered pixels are imputed almost perfectly, so only connected regions count, and a blurred "
    "heatmap gains whatever it shows (arXiv:2304.13836): blurred published CAMs stand beside a "
    "search. "
    "Under ties=\"plateau\" a binarised map removes much more, or less, than its percentile says "
    "and can gain by that alone."
)  # fmt: skip


class _Removal(Metric):
    """What the ROAD family shares: rank, remove at nine percentiles, impute, forward."""

    source = (
        "Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods, "
        "ICML 2022"
    )
    family = "removal"
    rewards_blur = True
    traps = _TRAP
    range = (-1.0, 1.0)
    in_units_of_target = True
    _sides: tuple[str, ...]

    def __init__(
        self,
        percentiles: Sequence[float] = PERCENTILES,
        noise: float = 0.01,
        tolerance: float = 1e-2,
        solver: str = "multigrid",
        ties: str = "blur",
        imputer: str = "linear",
    ):
        """
        Args:
            percentiles: q between 0 and 100; MoRF keeps the ceil(q (P - 1) / 100) least relevant
                of the P pixels, LeRF as many of the most relevant.
            noise: standard deviation of the noise on imputed pixels, in the input scale.
            tolerance: accuracy of the imputation, in the input scale.
            solver: ``"multigrid"``, or ``"exact"`` for a sparse factorisation a mask.
            ties: ``"blur"`` orders equal pixels; ``"plateau"`` removes them together: MoRF keeps
                ``L < percentile(L, q)``, LeRF ``-L < percentile(-L, q)``.
            imputer: ``"linear"`` by ``solver``; ``"blur"``, the image under a Gaussian of a tenth
                of its side (a volume slice by slice); ``"telea"``, OpenCV's inpainting colour by
                colour, on the CPU, of images only; or ``"mean"`` of the image, colour by colour.
                All with ``noise``.
        """
        self.percentiles = tuple(percentiles) if isinstance(percentiles, Sequence) else ()
        if not self.percentiles or not all(between(q, 0, 100) for q in self.percentiles):
            raise OptionError(f"percentiles must lie between 0 and 100, got {percentiles!r}")
        if noise != 0 and not between(noise, 0, math.inf):
            raise OptionError(f"noise must be 0 or a positive number, got {noise!r}")
        if not between(tolerance, 0, math.inf):
            raise OptionError(f"tolerance must be a positive number, got {tolerance!r}")
        self.noise, self.tolerance = noise, tolerance
        self.solver = one_of("solver", solver, _SOLVERS)
        self.ties = one_of("ties", ties, _TIES)
        self.imputer = one_of("imputer", imputer, _IMPUTERS)

    def check(self, context: Context) -> None:
        if self.imputer == "telea":
            inpainting()
            if len(context.size) > 2:
                raise OptionError(
                    f"imputer 'telea' of metric {self.name!r} fills images, not volumes "
                    "(N,C,D,H,W); choose imputer 'linear', 'blur' or 'mean'"
                )

    def by_another_imputer(self) -> Self:
        """The same with removed pixels blurred; imputed linearly, where this one blurs them."""
        other = copy(self)
        other.imputer = "linear" if self.imputer == "blur" else "blur"
        return other

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
            "ties": self.ties,
            "imputer": self.imputer,
        }

    @property
    def levels(self) -> int:
        return len(self.percentiles)

    def curves(self, maps: Tensor, context: Context) -> dict[str, Tensor]:
        """``p(imputed) - p(clean)`` at each percentile, ``[P,N,M]``, by side (morf, lerf)."""
        find = self._ordered if self.ties == "blur" else self._plateaus
        return self._changes(find(maps, context), context)

    def score(self, maps: Tensor, context: Context) -> Tensor:
        # In double precision, and so as the levels one by one add up to.
        return self._at(self.curves(maps, context)).sum(-1)

    def score_at(self, maps: Tensor, context: Context, levels: Tensor) -> Tensor:
        pixels = math.prod(context.size)
        if self.ties == "blur":
            intervals = self._intervals(pixels)
            bounds = {side: intervals_at(intervals[side], levels, maps) for side in self._sides}
        else:
            # [P,N,M,2] to the levels of each image.
            chosen = levels[None, :, :, None].expand(len(maps), -1, -1, 2)
            bounds = {
                s: b.gather(2, chosen) for s, b in plateau_bounds(maps, self._kept(pixels)).items()
            }
        wanted = torch.cat([bounds[side] for side in self._sides], 2)
        fill, ranks = self._filler(context), ranks_of(maps, context)
        return self._at(self._changes(removed_between(ranks, wanted, fill, context), context))

    @abstractmethod
    def _at(self, changes: dict[str, Tensor]) -> Tensor:
        """What each percentile adds to the score, ``[P,N,M]`` float64, of changes by side."""

    def _changes(self, probabilities: Tensor, context: Context) -> dict[str, Tensor]:
        """Changes ``[P,N,M]`` by side, of probabilities that stand side after side."""
        changes = probabilities - context.clean[:, None]
        return dict(zip(self._sides, changes.chunk(len(self._sides), dim=-1), strict=True))

    def images_without(self, maps: Tensor, context: Context) -> Tensor:
        """The images without their most relevant pixels, at each percentile, ``[P,N,M,C,H,W]``."""
        pixels, fill = math.prod(context.size), self._filler(context)
        ranks = ranks_of(maps, context).unflatten(-1, context.size)
        index = torch.arange(len(context), device=maps.device)
        shown = [
            [fill(context.images, rank < pixels - kept, index) for kept in self._kept(pixels)]
            for rank in ranks
        ]
        return torch.stack([torch.stack(images, 1) for images in shown])

    def _ordered(self, maps: Tensor, context: Context) -> Tensor:
        """Probabilities ``[P,N,M]``, side after side, where every map removes as many pixels."""
        pixels = math.prod(context.size)
        intervals = self._intervals(pixels)
        wanted = [interval for side in self._sides for interval in intervals[side]]
        return removal_probabilities(maps, wanted, self._filler(context), self._key, context)

    def _plateaus(self, maps: Tensor, context: Context) -> Tensor:
        """Probabilities ``[P,N,M]``, side after side, where tied pixels go together."""
        pixels = math.prod(context.size)
        bounds = plateau_bounds(maps, self._kept(pixels))

        def probabilities(side: str) -> Tensor:
            return context.shared(
                (__name__, "plateaus", side, self.percentiles, *self._key),
                maps,
                lambda: removed_between(
                    ranks_of(maps, context), bounds[side], self._filler(context), context
                ),
            )

        return torch.cat([probabilities(side) for side in self._sides], -1)

    def _intervals(self, pixels: int) -> dict[str, list[Interval]]:
        """The ranks that are removed at each percentile, by side."""
        kept = self._kept(pixels)
        return {
            "morf": [(0, pixels - count) for count in kept],
            "lerf": [(count, pixels) for count in kept],
        }

    def _kept(self, pixels: int) -> list[int]:
        return [math.ceil(q * (pixels - 1) / 100) for q in self.percentiles]

    @property
    def _key(self) -> tuple:
        return __name__, self.noise, self.tolerance, self.solver, self.imputer

    def _filler(self, context: Context) -> Fill:
        noise = None
        if self.noise:
            noise = context.once(
                (__name__, "noise", self.noise), lambda: context.noise * self.noise
            )

        solve = self._imputed(context, noise)

        def fill(images: Tensor, removed: Tensor, index: Tensor) -> Tensor:
            if self.ties != "plateau" or self.imputer in ("blur", "mean"):
                return solve(images, removed, index)
            # Without a known pixel there is nothing to fill from.
            empty = removed.flatten(1).all(1)
            known = ~empty.view(-1, *(1,) * (removed.ndim - 1))
            filled = solve(images, removed & known, index)
            filled[empty] = 0.0 if noise is None else noise[index[empty]]
            return filled

        return fill

    def _imputed(self, context: Context, noise: Tensor | None) -> Fill:
        """Fills the removed pixels of images of which one is known, with noise."""
        if self.imputer == "linear" and self.solver == "multigrid":
            largest = context.once((__name__, "largest"), lambda: largest_value(context.images))
            return lambda images, removed, index: impute(
                images,
                removed,
                index=index,
                tolerance=self.tolerance,
                native=True,
                noise=noise,
                largest=largest,
            )
        solve = self._without_noise(context)
        if noise is None:
            return solve
        return lambda images, removed, index: (
            solve(images, removed, index) + removed[:, None] * noise[index]
        )

    def _without_noise(self, context: Context) -> Fill:
        if self.imputer == "mean":
            return baseline_fill("mean", context)
        if self.imputer == "blur":
            return fill_from(
                context.once((__name__, "blur"), lambda: blur_baseline(context.images, *HEAVY_BLUR))
            )
        solve = impute_telea if self.imputer == "telea" else impute_exact
        return lambda images, removed, index: solve(images.index_select(0, index), removed)


def plateau_bounds(maps: Tensor, kept: Sequence[int]) -> dict[str, Tensor]:
    """First rank and end of what a strict threshold removes, ``[P,N,M,2]`` int32 by side.

    MoRF removes the pixels that are not less relevant than the one that ``kept`` pixels are less
    relevant than, ties counted in any order; LeRF the same with the order turned. That is what
    ``L < percentile(L, q)`` keeps, for a percentile that is interpolated without rounding errors.

    Args:
        maps: ``[P,N,H,W]``.
        kept: M numbers of pixels that are kept where there are no ties.
    """
    values = maps.flatten(2).sort(-1).values
    pixels = values.shape[-1]
    index = torch.tensor(kept, device=maps.device)
    least = torch.searchsorted(values, values[..., index].contiguous())
    most = torch.searchsorted(values, values[..., pixels - 1 - index].contiguous(), right=True)
    ends = torch.full_like(least, pixels)
    return {
        "morf": torch.stack([torch.zeros_like(least), ends - least], -1).int(),
        "lerf": torch.stack([ends - most, ends], -1).int(),
    }


@register
class Road(_Removal):
    """``(mean_q LeRF - mean_q MoRF) / 2``."""

    name = "road"
    summary = "removing irrelevant pixels must cost less probability than removing relevant ones"
    definition = (
        "Half the difference between two changes of the probability of the class, averaged over "
        "`percentiles`: where the least and where the most relevant pixels are removed and imputed "
        f"from those that are left. {_OPTIONS}"
    )
    formula = (
        r"\frac{1}{2|Q|} \sum_{q \in Q} \big( p_c(x^{\mathrm{LeRF}}_q) - "
        r"p_c(x^{\mathrm{MoRF}}_q) \big)"
    )
    range = (-0.5, 0.5)
    _sides = ("morf", "lerf")

    def _at(self, changes: dict[str, Tensor]) -> Tensor:
        return (changes["lerf"].double() - changes["morf"].double()) / (2 * self.levels)

    def bound(self, context: Context) -> Tensor:
        """The class is certain without the least relevant pixels, and gone without the most."""
        lowest, highest = context.extremes
        return torch.full_like(context.clean, (highest - lowest) / 2)


@register
class RoadMorf(_Removal):
    """``mean_q MoRF``: the change of probability when the most relevant pixels go first."""

    name = "road-morf"
    summary = "change of probability when the most relevant pixels are removed first"
    definition = (
        "The change of the probability of the class where the most relevant pixels are removed "
        "and imputed from those that are left, averaged over `percentiles`: at q the share q of "
        f"the pixels is kept. {_OPTIONS}"
    )
    formula = r"\frac{1}{|Q|} \sum_{q \in Q} \big( p_c(x^{\mathrm{MoRF}}_q) - p_c(x) \big)"
    higher_is_better = False
    _sides = ("morf",)

    def _at(self, changes: dict[str, Tensor]) -> Tensor:
        return changes["morf"].double() / self.levels

    def bound(self, context: Context) -> Tensor:
        """All of the probability is lost."""
        return context.extremes[0] - context.clean


@register
class RoadLerf(_Removal):
    """``mean_q LeRF``: the change of probability when the least relevant pixels go first."""

    name = "road-lerf"
    summary = "change of probability when the least relevant pixels are removed first"
    definition = (
        "The change of the probability of the class where the least relevant pixels are removed "
        "and imputed from those that are left, averaged over `percentiles`: at q the share q of "
        f"the pixels is kept. {_OPTIONS}"
    )
    formula = r"\frac{1}{|Q|} \sum_{q \in Q} \big( p_c(x^{\mathrm{LeRF}}_q) - p_c(x) \big)"
    _sides = ("lerf",)

    def _at(self, changes: dict[str, Tensor]) -> Tensor:
        return changes["lerf"].double() / self.levels

    def bound(self, context: Context) -> Tensor:
        """The class becomes certain."""
        return context.extremes[1] - context.clean
