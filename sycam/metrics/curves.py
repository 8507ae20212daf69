"""Insertion and deletion: the area under the probability as pixels appear or vanish."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sycam.errors import OptionError
from sycam.metrics.base import Metric, register
from sycam.metrics.context import Context
from sycam.metrics.perturbation import removal_probabilities


class _Curve(Metric):
    family = "removal"
    source = "Petsiuk et al., RISE: Randomized Input Sampling for Explanation, BMVC 2018"

    def __init__(self, steps: int | str = 20):
        """
        Args:
            steps: number of equal steps, or ``"paper"`` for one row of pixels a step.
        """
        if steps != "paper" and (not isinstance(steps, int) or steps < 1):
            raise OptionError(f"steps must be a positive integer or 'paper', got {steps!r}")
        self.steps = steps

    @property
    def passes(self) -> int:
        return 224 if self.steps == "paper" else self.steps + 1

    @property
    def options(self) -> dict[str, object]:
        return {"steps": self.steps}

    def _cuts(self, size: tuple[int, ...]) -> list[int]:
        pixels, steps = math.prod(size), size[-2] if self.steps == "paper" else self.steps
        return [round(pixels * step / steps) for step in range(steps + 1)]


def area_under(probabilities: Tensor, cuts: list[int]) -> Tensor:
    """Trapezoid rule over the fraction of pixels, ``[..., steps + 1]`` to ``[...]``."""
    fractions = torch.tensor(cuts, dtype=torch.float64, device=probabilities.device) / cuts[-1]
    return torch.trapezoid(probabilities.double(), fractions, dim=-1).float()


@register
class Deletion(_Curve):
    """Area under the probability while the most relevant pixels are set to 0, first to last."""

    name = "deletion"
    summary = "area under the probability while the most relevant pixels are zeroed first"
    higher_is_better = False

    def score(self, maps: Tensor, context: Context) -> Tensor:
        cuts = self._cuts(context.size)

        def fill(images: Tensor, removed: Tensor, _index: Tensor) -> Tensor:
            return images.masked_fill(removed[:, None], 0.0)

        removed = [(0, cut) for cut in cuts]
        return area_under(removal_probabilities(maps, removed, fill, "zero", context), cuts)


@register
class Insertion(_Curve):
    """Area under the probability while the most relevant pixels replace those of a blurred image.

    The blur is an 11x11 Gaussian of sigma 5 at 224 pixels, scaled with the image's shorter side.
    """

    name = "insertion"
    summary = "area under the probability while relevant pixels appear first on a blurred image"

    def score(self, maps: Tensor, context: Context) -> Tensor:
        cuts = self._cuts(context.size)
        blurred = context.once("blurred", lambda: blur_baseline(context.images))

        def fill(images: Tensor, removed: Tensor, index: Tensor) -> Tensor:
            return torch.where(removed[:, None], blurred[index], images)

        shown = [(cut, cuts[-1]) for cut in cuts]
        return area_under(removal_probabilities(maps, shown, fill, "blur", context), cuts)


def blur_baseline(images: Tensor) -> Tensor:
    """Images ``[N,C,H,W]`` (volumes slice by slice) blurred as insertion's starting point; borders
    are reflected."""
    scale = min(images.shape[-2:]) / 224
    radius = max(1, round(5 * scale))
    places = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (places / max(5 * scale, 0.5)) ** 2)
    kernel = kernel / kernel.sum()
    flat = images.flatten(0, -3)[:, None]
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="reflect"), kernel[None, None, None])
    flat = F.conv2d(
        F.pad(flat, (0, 0, radius, radius), mode="reflect"), kernel[None, None, :, None]
    )
    return flat.view_as(images)
