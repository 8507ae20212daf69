"""Insertion and deletion: the area under the probability as pixels appear or vanish."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from sycam.metrics.base import Metric, register
from sycam.metrics.context import Context
from sycam.metrics.removal.baselines import BASELINES, baseline_fill, baseline_images, baseline_key
from sycam.metrics.removal.perturbation import Interval, count_of, one_of, removal_probabilities

_OPTIONS = (
    "The area is that of the trapezoid rule over the share of pixels, at `steps` equal steps "
    "(`steps=\"paper\"`: one row of pixels a step). `baseline` is what removed pixels show: "
    "\"zero\" in the input scale, the image's \"mean\" colour or the \"blur\"red image. Tied "
    "pixels are ordered by a wide blur of the heatmap, then by a permutation common to all "
    "candidates; TorchCAM takes ties in raster order, rounds the step up to whole pixels and "
    "starts insertion from zero."
)  # fmt: skip


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
        return area_under(curve, cuts)

    def bound(self, context: Context) -> Tensor:
        """The area where all points but the two ends, which are known, are the best possible."""
        cuts = self._cuts(context.size)
        best = torch.full_like(context.clean, context.extremes[self.higher_is_better])
        points = [best if known is None else known for known in self._known(cuts, context)]
        return area_under(torch.stack(points, -1), cuts)

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


def area_under(probabilities: Tensor, cuts: list[int]) -> Tensor:
    """Trapezoid rule over the fraction of pixels, ``[..., steps + 1]`` to ``[...]``."""
    fractions = torch.tensor(cuts, dtype=torch.float64, device=probabilities.device) / cuts[-1]
    return torch.trapezoid(probabilities.double(), fractions, dim=-1).float()


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
