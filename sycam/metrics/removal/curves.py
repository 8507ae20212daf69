"""Insertion and deletion: the area under the probability as pixels appear or vanish."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from sycam.metrics.base import Metric, register
from sycam.metrics.context import Context
from sycam.metrics.removal.baselines import BASELINES, baseline_fill, baseline_images, baseline_key
from sycam.metrics.removal.perturbation import (
    Interval,
    count_of,
    intervals_at,
    one_of,
    ranks_of,
    removal_probabilities,
    removed_between,
)

_OPTIONS = (
    "The area is that of the trapezoid rule over the share of pixels, at `steps` equal steps "
    "(`steps=\"paper\"`: one row of pixels a step). `baseline` is what removed pixels show: "
    "\"zero\" in the input scale, the image's \"mean\" colour or the \"blur\"red image. Tied "
    "pixels are ordered by a wide blur of the heatmap, then by a permutation common to all "
    "candidates; TorchCAM takes ties in raster order, rounds the step up to whole pixels and "
    "starts insertion from zero."
)  # fmt: skip


_LEVELS = 10  # that a curve's points are dealt out to, one after the other


class _Curve(Metric):
    family = "removal"
    rewards_blur = True
    in_units_of_target = True
    source = "Petsiuk et al., RISE: Randomized Input Sampling for Explanation, BMVC 2018"

    def __init__(self, steps: int | str, baseline: str):
        if steps != "paper":
            count_of("steps", steps, " or 'paper'")
        self.steps = steps
        self.baseline = one_of("baseline", baseline, BASELINES)

    @property
    def passes(self) -> int:
        # Without the two ends; of an image with 224 rows.
        return 223 if self.steps == "paper" else self.steps - 1

    @property
    def levels(self) -> int:
        return max(1, min(_LEVELS, self.passes))

    @property
    def options(self) -> dict[str, object]:
        return {"steps": self.steps, "baseline": self.baseline}

    @abstractmethod
    def _interval(self, cut: int, pixels: int) -> Interval:
        """The ranks that are removed where the curve has passed ``cut`` pixels."""

    def score(self, maps: Tensor, context: Context) -> Tensor:
        cuts = self._cuts(context.size)
        curve = torch.empty(*maps.shape[:2], len(cuts), device=maps.device)
        between, intervals = [], []
        for place, known in enumerate(self._known(cuts, context)):
            if known is None:
                between.append(place)
                intervals.append(self._interval(cuts[place], cuts[-1]))
            else:
                curve[..., place] = known
        if between:
            fill, key = baseline_fill(self.baseline, context), baseline_key(self.baseline)
            curve[..., between] = removal_probabilities(maps, intervals, fill, key, context)
        # In double precision, and so as the levels one by one add up to.
        return (curve.double() * area_weights(cuts, maps.device)).sum(-1)

    def score_at(self, maps: Tensor, context: Context, levels: Tensor) -> Tensor:
        cuts = self._cuts(context.size)
        places, weights = self._dealt(cuts, context)
        ends = self._ends(cuts, context)[:, None] / self.levels
        if not places.shape[1]:  # so few pixels that a curve has only its ends
            return ends.expand(len(maps), *levels.shape)
        intervals = [self._interval(cut, cuts[-1]) for cut in cuts]
        bounds = intervals_at(intervals, places[levels].flatten(1), maps)
        fill = baseline_fill(self.baseline, context)
        chances = removed_between(ranks_of(maps, context), bounds, fill, context).double()
        areas = (chances.unflatten(2, (-1, places.shape[1])) * weights[levels]).sum(-1)
        return areas + ends

    def bound(self, context: Context) -> Tensor:
        """The area where all points but the two ends, which are known, are the best possible."""
        return self.bound_at(context).sum(-1).float()

    def bound_at(self, context: Context) -> Tensor:
        cuts = self._cuts(context.size)
        share = self._dealt(cuts, context)[1].sum(1)
        best = torch.where(share > 0, share * context.extremes[self.higher_is_better], share)
        return best + self._ends(cuts, context)[:, None] / self.levels

    def _dealt(self, cuts: list[int], context: Context) -> tuple[Tensor, Tensor]:
        """Which cuts each level holds of those that heatmaps decide, ``[L,k]`` int64, and what
        they weigh in the area; a level that holds fewer than k repeats one at weight 0."""
        open_places = [i for i, known in enumerate(self._known(cuts, context)) if known is None]
        device, width = context.clean.device, -(-len(open_places) // self.levels)
        places = torch.zeros(self.levels, width, dtype=torch.int64, device=device)
        weights = torch.zeros(self.levels, width, dtype=torch.float64, device=device)
        share = area_weights(cuts, device)
        for nth, place in enumerate(open_places):
            row, column = nth % self.levels, nth // self.levels
            places[row, column:] = place
            weights[row, column] = share[place]
        return places, weights

    def _ends(self, cuts: list[int], context: Context) -> Tensor:
        """``[N]`` float64: the part of the area that is the same for all heatmaps."""
        share = area_weights(cuts, context.clean.device)
        known = zip(share, self._known(cuts, context), strict=True)
        parts = [weight * chances.double() for weight, chances in known if chances is not None]
        return torch.stack(parts).sum(0)

    def _known(self, cuts: list[int], context: Context) -> list[Tensor | None]:
        """``[N]`` the probability at each cut where it is the same for all heatmaps: where nothing
        or everything is removed."""
        known: list[Tensor | None] = []
        for cut in cuts:
            first, end = self._interval(cut, cuts[-1])
            if first == end:
                known.append(context.clean)
            else:
                known.append(self._empty(context) if end - first == cuts[-1] else None)
        return known

    def _empty(self, context: Context) -> Tensor:
        """``[N]`` probability of the target where all pixels are removed."""
        return context.once(
            (__name__, "baseline probability", self.baseline),
            lambda: context.classifier.probability(
                baseline_images(self.baseline, context).expand_as(context.images), context.targets
            ),
        )

    def _cuts(self, size: tuple[int, ...]) -> list[int]:
        pixels, steps = math.prod(size), size[-2] if self.steps == "paper" else self.steps
        return [round(pixels * step / steps) for step in range(steps + 1)]


def area_weights(cuts: list[int], device: torch.device) -> Tensor:
    """``[steps+1]`` float64: what each point of a curve weighs in the area under it, by the
    trapezoid rule over the fraction of pixels."""
    fractions = torch.tensor(cuts, dtype=torch.float64, device=device) / cuts[-1]
    half = fractions.diff() / 2
    return torch.nn.functional.pad(half, (0, 1)) + torch.nn.functional.pad(half, (1, 0))


@register
class Deletion(_Curve):
    """Area under the probability while the most relevant pixels are removed, first to last."""

    name = "deletion"
    summary = "area under the probability while the most relevant pixels are removed first"
    definition = (
        "The probability of the class while pixels are removed from the most to the least "
        f"relevant, as the area under its curve. {_OPTIONS}"
    )
    formula = (
        r"\int_0^1 p_c\big(x \text{ with the } t \text{ most relevant pixels removed}\big)\,"
        r"\mathrm{d}t"
    )
    traps = (
        "Removed pixels leave edges that a network was never trained on: scattered pixels drop the "
        "probability fast, whatever they show. It sees only the order of the pixels."
    )
    higher_is_better = False

    def __init__(self, steps: int | str = 20, baseline: str = "zero"):
        """
        Args:
            steps: number of equal steps, or ``"paper"`` for one row of pixels a step.
            baseline: what removed pixels show: ``"zero"``, ``"mean"`` or ``"blur"``.
        """
        super().__init__(steps, baseline)

    def _interval(self, cut: int, pixels: int) -> Interval:
        return 0, cut


@register
class Insertion(_Curve):
    """Area under the probability while the most relevant pixels appear on the baseline."""

    name = "insertion"
    summary = "area under the probability while relevant pixels appear first on a blurred image"
    definition = (
        "The probability of the class while pixels appear from the most to the least relevant, as "
        "the area under its curve; the blur that it starts from has 11x11 pixels and sigma 5 at "
        f"224 pixels and scales with the shorter side. {_OPTIONS}"
    )
    formula = (
        r"\int_0^1 p_c\big(\text{baseline with the } t \text{ most relevant pixels of } x\big)\,"
        r"\mathrm{d}t"
    )
    traps = (
        "From a blurred image the network recognises much before a pixel appears, which favours "
        "maps that sharpen edges, object or not. It sees only the order of the pixels."
    )

    def __init__(self, steps: int | str = 20, baseline: str = "blur"):
        """
        Args:
            steps: number of equal steps, or ``"paper"`` for one row of pixels a step.
            baseline: what is shown before pixels appear: ``"zero"``, ``"mean"`` or ``"blur"``.
        """
        super().__init__(steps, baseline)

    def _interval(self, cut: int, pixels: int) -> Interval:
        return cut, pixels
