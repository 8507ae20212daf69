"""How well a heatmap, cut at a threshold, covers the object that a mask marks.

No localisation metric needs a forward pass.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sycam.errors import OptionError
from sycam.metrics.base import Metric, register
from sycam.metrics.context import Context
from sycam.metrics.pixel_order import labelled_order

THRESHOLDS = tuple(i / 20 for i in range(1, 20))


class Localisation(Metric):
    """A share that is best at 1, and 0 for every heatmap where the mask is empty."""

    family = "localisation"
    needs_masks = True

    def bound(self, context: Context) -> Tensor:
        return context.ground_truth.flatten(1).any(-1).float()


def checked_threshold(threshold: float) -> float:
    """A threshold on the heat, or OptionError."""
    if not 0 < threshold <= 1:
        raise OptionError(
            f"threshold {threshold!r} is none of a heatmap in [0, 1]: give one above 0 and at "
            "most 1"
        )
    return threshold


class _Overlap(Localisation):
    """What IoU and Dice share: the heatmap cut at one threshold."""

    def __init__(self, threshold: float = 0.5):
        """
        Args:
            threshold: pixels at least so hot are the object.
        """
        self.threshold = checked_threshold(threshold)

    @property
    def options(self) -> dict[str, object]:
        return {"threshold": self.threshold}

    def counts(self, maps: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """``[P,N]`` pixels that are hot and in the mask, ``[P,N]`` hot, ``[N]`` in the mask."""

        def count() -> tuple[Tensor, Tensor, Tensor]:
            masks = context.ground_truth.flatten(1)
            both, hot = [], []
            for heat in maps.flatten(2):  # a candidate at a time fits into the caches
                chosen = heat >= self.threshold
                hot.append(count_true(chosen))
                both.append(count_true(chosen & masks))
            return torch.stack(both), torch.stack(hot), count_true(masks)

        return context.shared((__name__, "overlap", self.threshold), maps, count)


def count_true(chosen: Tensor) -> Tensor:
    """``[B]`` number of true places in each row of ``[B,X]``."""
    if chosen.device.type != "cpu":
        return chosen.sum(-1)
    # A tenth of the time that torch takes.
    return torch.from_numpy(np.count_nonzero(chosen.numpy(), axis=-1))


@register
class IoU(_Overlap):
    """Intersection over union of ``L >= 0.5`` and the mask."""

    name = "iou"
    summary = "intersection over union of the heatmap at 0.5 or more and the mask"
    source = "Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010"
    definition = (
        "Pixels that are both hot and in the mask over pixels that are either. threshold: pixels "
        "at least so hot count as hot (0.5). An empty mask scores 0, whatever the heatmap."
    )
    formula = r"\frac{|\{L \ge t\} \cap M|}{|\{L \ge t\} \cup M|}"
    traps = (
        "The threshold is fixed, so that a power of the heatmap that moves the half height to the "
        "object's border gains although its order of pixels stays the same. A centred blob scores "
        "well on data sets with centred objects."
    )

    def score(self, maps: Tensor, context: Context) -> Tensor:
        both, hot, marked = self.counts(maps, context)
        return both / (hot + marked - both).clamp(min=1)


@register
class Dice(_Overlap):
    """Dice coefficient of ``L >= 0.5`` and the mask."""

    name = "dice"
    summary = "Dice coefficient (F1 of the pixels) of the heatmap at 0.5 or more and the mask"
    source = "Dice, Measures of the Amount of Ecologic Association Between Species, Ecology 1945"
    definition = (
        "Twice the pixels that are both hot and in the mask over the sum of both counts. "
        "threshold: pixels at least so hot count as hot (0.5). An empty mask scores 0, whatever "
        "the heatmap (MONAI: 1 or NaN where the heatmap has no hot pixel either)."
    )
    formula = r"\frac{2 |\{L \ge t\} \cap M|}{|\{L \ge t\}| + |M|}"
    traps = (
        "It ranks the heatmaps of one image as iou does, with the same traps; its mean over images "
        "is kinder to partial overlap."
    )

    def score(self, maps: Tensor, context: Context) -> Tensor:
        both, hot, marked = self.counts(maps, context)
        return 2 * both / (hot + marked).clamp(min=1)


@register
class IoUBestThreshold(Localisation):
    """Mean IoU at the one threshold that suits all images best."""

    name = "iou-best-threshold"
    summary = "mean IoU at the threshold that is best over the search images"
    source = (
        "Choe et al., Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020"
    )
    definition = (
        "The mean over images of iou at one threshold, the same for all images: the best of "
        "thresholds (0.05 to 0.95 by 0.05) on the images that the search saw, used unchanged on "
        "others. Where nothing was fitted, the best on these images. An empty mask scores 0."
    )
    formula = r"\max_t \frac1N \sum_n \frac{|\{L_n \ge t\} \cap M_n|}{|\{L_n \ge t\} \cup M_n|}"
    traps = (
        "The threshold is tuned with masks for each candidate: on the images that tuned it the "
        "figure is optimistic. It does not see how the heat is spread above or below it."
    )

    def __init__(self, thresholds: tuple[float, ...] = THRESHOLDS):
        """
        Args:
            thresholds: to choose from, ascending, above 0 and at most 1.
        """
        self.thresholds = tuple(checked_threshold(t) for t in thresholds)
        if not thresholds or any(np.diff(self.thresholds) <= 0):
            raise OptionError(
                f"thresholds {thresholds!r} are not ascending: give one or more, each above the "
                "one before"
            )
        self.components = tuple(f"iou at {t:g}" for t in self.thresholds)

    @property
    def options(self) -> dict[str, object]:
        return {"thresholds": list(self.thresholds)}

    def score(self, maps: Tensor, context: Context) -> Tensor:
        order = labelled_order(maps, context)
        thresholds = torch.tensor(self.thresholds, dtype=torch.float32, device=maps.device)
        colder = order.colder(thresholds.view(torch.int32))
        both, hot = order.hits(colder), order.pixels - colder
        marked = order.inside[..., -1:]
        return both / (hot + marked - both).clamp(min=1)

    def fit(self, values: np.ndarray) -> int:
        """Index of the threshold with the best mean over ``[N,T]``; the lowest where some tie."""
        return int(values.mean(0).argmax())

    def reduce(self, values: np.ndarray, fitted: int | None = None) -> np.ndarray:
        means = values.mean(-2)
        return means.max(-1) if fitted is None else means[..., fitted]

    def per_image(self, values: np.ndarray, fitted: int | None = None) -> np.ndarray:
        return values[:, self.fit(values) if fitted is None else fitted]
