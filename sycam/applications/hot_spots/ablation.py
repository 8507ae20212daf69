"""What the network says without regions, and without the same regions moved elsewhere."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from sycam.applications.hot_spots.options import BLUR, ROAD, AblationOptions
from sycam.applications.hot_spots.regions import hot_regions, shifted
from sycam.metrics import Context, Metric
from sycam.metrics.imputation.impute import impute
from sycam.metrics.removal.baselines import HEAVY_BLUR, baseline_fill, blur_baseline, fill_from
from sycam.metrics.removal.perturbation import Fill

SOURCE = (
    "Mishra et al., Sensing accident-prone features in urban scenes for proactive driving and "
    "accident prevention, arXiv:2202.12788, 2022; shifted regions and filters are ours"
)
PARTS = AREA, REGIONS, DROP, FLIP, SHIFTED_DROP, SHIFTED_FLIP = (
    "area", "regions", "drop", "flip", "shifted drop", "shifted flip",
)  # fmt: skip
_TOGETHER = 64  # perturbed images that are made together
_NOISE = 0.01  # standard deviation, that of ROAD's reference


class Ablation(Metric):
    """What is lost without the regions of a heatmap, and without shifted ones.

    Components per image: the share of it that is removed, how many regions that is, the drop of
    what is explained, whether the prediction changes (NaN for a callable target), and the means of
    both over shifted copies of the regions. An image without regions loses nothing.

    Args:
        how: the regions and their fill.
    """

    name = "ablation"
    summary = "loss of probability without the regions of a heatmap, and without shifted ones"
    source = SOURCE
    family = "removal"
    components = PARTS

    def __init__(self, how: AblationOptions = AblationOptions()):
        self.how = how

    @property
    def passes(self) -> int:
        return 1 + self.how.shifts

    @property
    def needs_masks(self) -> bool:
        return self.how.allowed

    @property
    def options(self) -> dict[str, object]:
        return asdict(self.how)

    def score(self, maps: Tensor, context: Context) -> Tensor:
        """``[P,N,6]``: :data:`PARTS`."""
        regions, counts = hot_regions(maps, context, self.how)
        values = maps.new_zeros(*maps.shape[:2], len(PARTS), dtype=torch.float64)
        values[..., 0], values[..., 1] = regions.flatten(2).double().mean(-1), counts
        before = predictions(context)
        fill = fill_of(self.how, context)
        for p, own in enumerate(regions):
            masks = torch.cat([own[:, None], self.elsewhere(own, context)], 1)  # [N,1+S,H,W]
            index = torch.arange(len(own), device=maps.device).repeat_interleave(self.passes)
            chances, classes = without(masks.flatten(0, 1), index, fill, context)
            drops = (context.clean[index] - chances).double().view(-1, self.passes)
            flips = (classes != before[index]).double().view(-1, self.passes)
            if context.classifier.score is not None:
                flips = torch.full_like(flips, torch.nan)
            empty = counts[p] == 0
            for place, column in ((2, drops), (3, flips)):
                column = torch.where(empty[:, None], torch.zeros_like(column), column)
                values[p, :, place], values[p, :, place + 2] = column[:, 0], column[:, 1:].mean(-1)
        return values

    def elsewhere(self, regions: Tensor, context: Context) -> Tensor:
        """``[N,S,H,W]``: the regions of N images, shifted as each image's content decides."""
        generators = context.generators("shifted regions")
        moved = [
            shifted(own, self.how.shifts, generator)
            for own, generator in zip(regions, generators, strict=True)
        ]
        return torch.stack(moved)

    def reduce(self, values: np.ndarray, fitted: None = None) -> np.ndarray:
        """How much more is lost without the regions than without shifted ones."""
        return (values[..., PARTS.index(DROP)] - values[..., PARTS.index(SHIFTED_DROP)]).mean(-1)


def predictions(context: Context) -> Tensor:
    """``[N]`` the class predicted on each clean image; zeros where a callable is explained."""
    if context.classifier.score is not None:
        return torch.zeros_like(context.targets)
    return context.once(
        (__name__, "predictions"), lambda: context.classifier.predictions(context.images)
    )


def without(masks: Tensor, index: Tensor, fill: Fill, context: Context) -> tuple[Tensor, Tensor]:
    """What the network says without some pixels.

    Args:
        masks: ``[B,H,W]`` bool, the removed pixels.
        index: ``[B]`` int64, of which image.
        fill: replaces them.
        context: of the images.

    Returns:
        ``[B]`` probability of the class that is explained, and ``[B]`` the class predicted.
    """
    chances, classes = [], []
    for part in torch.arange(len(masks), device=masks.device).split(_TOGETHER):
        seen = fill(context.images, masks[part], index[part])
        chance, predicted = context.classifier.answers(seen, context.targets[index[part]])
        chances.append(chance)
        classes.append(predicted)
    return torch.cat(chances), torch.cat(classes)


def fill_of(how: AblationOptions, context: Context) -> Fill:
    """What removed pixels become."""
    if how.fill == BLUR:
        return fill_from(
            context.once((__name__, BLUR), lambda: blur_baseline(context.images, *HEAVY_BLUR))
        )
    if how.fill == ROAD:
        noise = context.once((__name__, "noise"), lambda: context.noise * _NOISE)
        return lambda images, removed, index: impute(
            images, removed, index=index, native=True, noise=noise
        )
    return baseline_fill(how.fill, context)
