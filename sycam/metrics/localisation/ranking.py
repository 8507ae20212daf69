"""Whether the hottest pixels are those of the mask: no threshold on the heat is chosen."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from sycam.errors import OptionError
from sycam.metrics.base import RANKING, register
from sycam.metrics.context import Context
from sycam.metrics.localisation.overlap import Localisation, count_true
from sycam.metrics.pixel_order import labelled_order

_TOGETHER = 2**18  # pixels whose curves are measured together
_ARRAS = (
    "Arras et al., CLEVR-XAI: A Benchmark Dataset for the Ground Truth Evaluation of Neural "
    "Network Explanations, Information Fusion 2022"
)


@register
class PointingGame(Localisation):
    """Share of the heatmap's maxima that lie inside the mask."""

    name = "pointing-game"
    summary = "whether the hottest pixel lies inside the mask"
    source = "Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016"
    definition = (
        "1 if the hottest pixel lies inside the mask, else 0; where several pixels share the "
        "maximum, the share of them that lies inside, which is what a fair draw among them scores "
        "on average. tolerance: pixels at most so far from the mask count as inside (the paper "
        "allows 15; 0 by default, as in other implementations). An empty mask scores 0. Quantus "
        "counts a hit if any tied maximum is inside, so that a constant map always hits, and "
        "counts an empty mask as hit too."
    )
    formula = r"\frac{|\{i \in M : L_i = \max_j L_j\}|}{|\{i : L_i = \max_j L_j\}|}"
    traps = (
        "One pixel decides: the rest of the heatmap may be anything, and an expression that "
        "ignores the class wins often where images show one object. Large objects are hit by "
        "chance."
    )
    invariance = RANKING

    def __init__(self, tolerance: float = 0.0):
        """
        Args:
            tolerance: pixels at most so far from the mask count as inside.
        """
        if not 0 <= tolerance < math.inf:
            raise OptionError(
                f"tolerance is a distance in pixels, 0 or more; got {tolerance!r}: "
                "leave it out to ask for the mask itself"
            )
        self.tolerance = tolerance

    @property
    def options(self) -> dict[str, object]:
        return {"tolerance": self.tolerance}

    def score(self, maps: Tensor, context: Context) -> Tensor:
        targets = masks = context.ground_truth
        if self.tolerance:
            targets = context.once(
                (__name__, "widened masks", self.tolerance),
                lambda: _widened(masks, self.tolerance),
            )
        targets = targets.flatten(1)
        scores = []
        for heat in maps.flatten(2):  # a candidate at a time fits into the caches
            hottest = heat == heat.amax(-1, keepdim=True)
            hits = count_true(hottest & targets)
            scores.append(hits / count_true(hottest).clamp(min=1))
        return torch.stack(scores)


def _widened(masks: Tensor, distance: float) -> Tensor:
    """Masks ``[N,H,W]`` with all pixels that are at most so far from them."""
    # The transform of an image without any zero is undefined: an empty mask stays empty.
    near = [
        distance_transform_edt(~mask) <= distance if mask.any() else mask
        for mask in masks.cpu().numpy()
    ]
    return torch.from_numpy(np.stack(near)).to(masks.device)


@register
class EnergyPointingGame(Localisation):
    """Share of the heatmap's sum that lies inside the mask."""

    name = "energy-pointing-game"
    summary = "share of the heatmap's energy inside the mask"
    source = (
        "Wang et al., Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural "
        "Networks, CVPR Workshops 2020"
    )
    definition = (
        "The heat inside the mask over the heat of the whole image; 0 for a map of zeros or an "
        "empty mask. Quantus' AttributionLocalisation is the same but for an epsilon; its weighted "
        "form depends on the size of the batch, so that there is none here."
    )
    formula = r"\frac{\sum_{i \in M} L_i}{\sum_i L_i}"
    traps = (
        "Heat on one pixel of the object is enough for 1: it rewards sparse maps, and powers of a "
        "map (`square`), and does not see how much of the object is found. Large objects score "
        "high by chance."
    )

    def score(self, maps: Tensor, context: Context) -> Tensor:
        return context.shared(
            (__name__, "energy inside"), maps, lambda: _energy_inside(maps, context.ground_truth)
        )


def _energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    inside = masks.flatten(1).to(maps.dtype)
    heats = maps.flatten(2)
    energy = torch.stack([(heat * inside).sum(-1) for heat in heats])
    total = heats.sum(-1)
    return energy / total.where(total > 0, 1)


@register
class RelevanceMassAccuracy(EnergyPointingGame):
    """Share of the positive relevance that lies inside the mask."""

    name = "relevance-mass-accuracy"
    summary = "share of the positive relevance inside the mask"
    source = _ARRAS
    definition = (
        "The positive relevance inside the mask over that of the whole image. Heatmaps are never "
        "negative, so it equals energy-pointing-game; it is listed under the name that the "
        "CLEVR-XAI benchmark gave it. 0 for a map of zeros, where Quantus returns NaN, and for an "
        "empty mask."
    )


@register
class RelevanceRankAccuracy(Localisation):
    """Share of the ``|M|`` hottest pixels that lie inside the mask M."""

    name = "relevance-rank-accuracy"
    summary = "share of the hottest pixels, as many as the mask has, that lie inside it"
    source = _ARRAS
    definition = (
        "Of the K hottest pixels, K the number of pixels in the mask, the share inside the mask; 0 "
        "for an empty mask. Where pixels tie for the last places, each is as likely to get one: "
        "the score is the mean over all ways to break the ties. Quantus lets its sorting algorithm "
        "break them."
    )
    formula = r"\frac{|\mathrm{top}_{|M|}(L) \cap M|}{|M|}"
    traps = (
        "It needs the object's size, which a heatmap does not tell: where the heat ends is not "
        "seen. Large objects score high by chance."
    )
    invariance = RANKING

    def score(self, maps: Tensor, context: Context) -> Tensor:
        order = labelled_order(maps, context)
        wanted = context.ground_truth.flatten(1).sum(-1)[:, None]
        last = (order.pixels - wanted).clamp(max=order.pixels - 1).expand(len(maps), -1, -1)
        heat = order.keys.gather(-1, last) >> 1  # of the last pixel that is still among the K
        first, end = order.colder(heat), order.colder(heat + 1)
        sure = order.hits(end)
        tied = order.hits(first) - sure
        places = wanted - (order.pixels - end)
        hits = sure + tied * places / (end - first)
        return (hits / wanted.clamp(min=1))[..., 0]


@register
class AUC(Localisation):
    """Area under the ROC curve of the heat as a classifier of pixels."""

    name = "auc"
    summary = "area under the ROC curve of the heat as a classifier of pixels"
    source = "Fawcett, An Introduction to ROC Analysis, Pattern Recognition Letters 2006"
    definition = (
        "The probability that a pixel drawn from inside the mask is hotter than one drawn from "
        "outside, a tie counting half: the ROC area, exact, as scikit-learn's roc_auc_score. 0.5 "
        "where the mask is empty or full, where the area is undefined (Quantus returns NaN)."
    )
    formula = (
        r"\frac{1}{|M| |\bar M|} \sum_{i \in M} \sum_{j \notin M} "
        r"\left([L_i > L_j] + \tfrac12 [L_i = L_j]\right)"
    )
    traps = (
        "With small objects most pairs are easy: a wide blob around the object scores near 1. It "
        "weighs all of the background alike and does not see the heat's scale."
    )
    invariance = RANKING

    def score(self, maps: Tensor, context: Context) -> Tensor:
        return _areas(maps, context)[0]

    def bound(self, context: Context) -> Tensor:
        marks = context.ground_truth.flatten(1)
        defined = marks.any(-1) & ~marks.all(-1)
        return torch.where(defined, 1.0, 0.5)


@register
class AveragePrecision(Localisation):
    """Area under the precision-recall curve of the heat as a classifier of pixels."""

    name = "average-precision"
    summary = "area under the precision-recall curve of the heat as a classifier of pixels"
    source = (
        "Choe et al., Evaluating Weakly Supervised Object Localization Methods Right, CVPR 2020"
    )
    definition = (
        "The mean over the mask's pixels of the precision at their heat: the share of the mask "
        "among all pixels at least as hot, ties included, as scikit-learn's "
        "average_precision_score. Per image; the PxAP of the paper pools the pixels of all images. "
        "0 for an empty mask. A constant map scores the mask's share of the image."
    )
    formula = (
        r"\frac{1}{|M|} \sum_{i \in M} \frac{|\{j \in M : L_j \ge L_i\}|}{|\{j : L_j \ge L_i\}|}"
    )
    traps = (
        "Chance is the mask's share of the image, so that images with large objects weigh more in "
        "the mean. It does not see the heat's scale."
    )
    invariance = RANKING

    def score(self, maps: Tensor, context: Context) -> Tensor:
        return _areas(maps, context)[1]


def _areas(maps: Tensor, context: Context) -> tuple[Tensor, Tensor]:
    """ROC area and average precision, each ``[P,N]``."""

    def measure() -> tuple[Tensor, Tensor]:
        order = labelled_order(maps, context)
        # Some maps at a time, so that what is made of them stays in the caches.
        step = max(1, _TOGETHER // order.pixels)
        keys, inside = order.keys.flatten(0, 1), order.inside.flatten(0, 1)
        parts = zip(keys.split(step), inside.split(step), strict=True)
        areas_of_parts = zip(*(_curve_areas(*part) for part in parts), strict=True)
        roc, precision = (
            torch.cat(areas).view(maps.shape[:2]).to(maps.dtype) for areas in areas_of_parts
        )
        return roc, precision

    return context.shared((__name__, "areas"), maps, measure)


def _curve_areas(keys: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of the curves of some heatmaps, each ``[B]`` float64.

    Args:
        keys: ``[B,X]`` of a :class:`~sycam.metrics.pixel_order.LabelledOrder`.
        inside: ``[B,X+1]`` of the same.
    """
    pixels, marked = keys.shape[-1], inside[:, -1:]
    labels = keys & 1
    places = torch.arange(pixels, dtype=torch.int32, device=keys.device)
    new = torch.ones_like(keys, dtype=torch.bool)  # hotter than the pixel before
    torch.gt(keys[:, 1:] ^ keys[:, :-1], 1, out=new[:, 1:])
    # Counts grow along the order, so the largest so far is the one where the tie began.
    colder, inside_colder = (
        (counts * new).cummax(-1).values for counts in (places, inside[:, :-1])
    )
    at_least = (marked - inside_colder) / (pixels - colder)
    precision = (labels * at_least).sum(-1).double() / marked[:, 0].clamp(min=1)
    # Pairs where the pixel inside is hotter; then those where it ties as well, from the rank sum,
    # as the mask's pixels are the last of each tie.
    hotter = (labels * (colder - inside_colder)).sum(-1).double()
    count = marked[:, 0].double()
    no_colder = (labels * places).sum(-1).double() - count * (count - 1) / 2
    pairs = count * (pixels - count)
    return torch.where(pairs > 0, (hotter + no_colder) / (2 * pairs), 0.5), precision
