"""How well heatmaps, cut to masks, agree with true masks: Dice, IoU and HD95 per image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sycam.applications.segmentation.options import MaskOptions
from sycam.applications.segmentation.prediction import masks_of
from sycam.applications.segmentation.segmenter import AME
from sycam.metrics import Context, find_metric
from sycam.metrics.localisation.overlap import THRESHOLDS
from sycam.scoring.statistics import Comparison, Interval, compared, mean_interval
from sycam.support.schema import Figure

DICE, IOU, HD95 = FIGURES = ("dice", "iou", "hd95")
OWN, CAM = KINDS = ("exits", "cam")


@dataclass(frozen=True)
class MethodRow:
    """One kind of heatmap on the images whose mask marks something.

    Attributes:
        method: its title.
        kind: ``"exits"`` of the segmenter's own, ``"cam"`` of a CAM of its classifier.
        dice, iou, hd95: means with 95 % intervals over images; ``hd95`` in pixels, the image's
            diagonal where the mask found is empty.
        best_dice, best_threshold: the mean Dice at the one threshold of 0.05, 0.1, ... 0.95 that
            suits these images best, which true masks alone can tell: what the heatmap holds
            whatever its scale.
        against: Dice of AME-CAM less its own; None for AME-CAM.
        scores: Dice of each image.
    """

    method: str
    kind: str
    dice: Interval
    iou: Interval
    hd95: Interval
    best_dice: Figure
    best_threshold: Figure
    against: Comparison | None
    scores: tuple[Figure, ...]


def rows_of(
    heatmaps: Mapping[str, tuple[str, np.ndarray]],
    logits: np.ndarray,
    masks: np.ndarray,
    how: MaskOptions,
    seed: int,
) -> tuple[MethodRow, ...]:
    """A row per kind of heatmap, AME-CAM first, then the best Dice first.

    Args:
        heatmaps: title to kind and ``[N,H,W]`` in [0, 1]; :data:`AME` among them.
        logits: ``[N]`` of the object.
        masks: bool ``[N,H,W]``, each of which marks something.
        how: threshold and gate.
        seed: of bootstrap and sign flips.
    """
    found = {}
    for title, (_, heat) in heatmaps.items():
        cut = masks_of(heat, logits, how)
        found[title] = overlaps(cut, masks)
    others = [title for title in heatmaps if title != AME]
    differences = [found[AME][DICE] - found[title][DICE] for title in others]
    against = dict(zip(others, compared(differences, seed), strict=True))
    rows = []
    for title, (kind, heat) in heatmaps.items():
        best, threshold = best_threshold(heat, logits, masks, how.gated)
        intervals = {name: mean_interval(found[title][name], seed) for name in FIGURES}
        rows.append(
            MethodRow(
                title, kind, **intervals, best_dice=best, best_threshold=threshold,
                against=against.get(title), scores=tuple(found[title][DICE].tolist()),
            )
        )  # fmt: skip
    return tuple(sorted(rows, key=lambda row: (row.method != AME, -row.dice.mean)))


def overlaps(found: np.ndarray, masks: np.ndarray) -> dict[str, np.ndarray]:
    """By :data:`FIGURES`, float64 ``[N]`` of each image.

    Args:
        found, masks: bool ``[N,H,W]``, as found and as they are.
    """
    maps, truth = torch.from_numpy(found).float()[None], torch.from_numpy(masks)
    context = _context(truth)
    return {name: find_metric(name).score(maps, context)[0].double().numpy() for name in FIGURES}


def best_threshold(
    heat: np.ndarray, logits: np.ndarray, masks: np.ndarray, gated: bool
) -> tuple[float, float]:
    """The best mean Dice over one threshold for all images, and that threshold.

    Args:
        heat, logits, masks: as for :func:`rows_of`.
        gated: see :class:`MaskOptions`.
    """
    means = [
        float(_dice(masks_of(heat, logits, MaskOptions(threshold=t, gated=gated)), masks).mean())
        for t in THRESHOLDS
    ]
    best = int(np.argmax(means))
    return means[best], THRESHOLDS[best]


def _dice(found: np.ndarray, masks: np.ndarray) -> np.ndarray:
    maps = torch.from_numpy(found).float()[None]
    return find_metric(DICE).score(maps, _context(torch.from_numpy(masks)))[0].double().numpy()


def _context(masks: Tensor) -> Context:
    """What metrics of masks look at: these alone."""
    images = torch.zeros(len(masks), 1, *masks.shape[1:])
    nothing = torch.zeros(len(masks))
    return Context(images, nothing.long(), nothing, None, (), masks)  # type: ignore[arg-type]
