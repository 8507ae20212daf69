"""How far the heatmap's border lies from the mask's, in pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree
from torch import Tensor

from sycam.errors import OptionError
from sycam.metrics.base import Metric, register
from sycam.metrics.context import Context
from sycam.metrics.localisation.overlap import checked_threshold


@register
class HD95(Metric):
    """95th percentile of the Hausdorff distance between the borders of ``L >= 0.5`` and mask."""

    name = "hd95"
    family = "localisation"
    summary = "95th percentile of the distances between the heatmap's and the mask's borders"
    source = (
        "Taha and Hanbury, Metrics for Evaluating 3D Medical Image Segmentation, BMC Medical "
        "Imaging 2015"
    )
    definition = (
        "Distances in pixels from each border pixel of {L >= threshold} (0.5) to the nearest of "
        "the mask, and back; the larger of the two 95th percentiles (percentile), as MONAI, while "
        "medpy pools both sets of distances first. Border pixels are those with a neighbour by "
        "face outside the region, or at the edge of the image. Both empty: 0; one empty: the "
        "image's diagonal."
    )
    formula = (
        r"\max\left(Q_{95}\{d(a, \partial M) : a \in \partial H\}, "
        r"Q_{95}\{d(b, \partial H) : b \in \partial M\}\right), \quad H = \{L \ge t\}"
    )
    traps = (
        "Five in a hundred border pixels may lie anywhere, so that small islands of heat cost "
        "nothing. It is in pixels: figures compare only among images of one size."
    )
    higher_is_better = False
    range = (0.0, math.inf)
    needs_masks = True

    def __init__(self, threshold: float = 0.5, percentile: float = 95):
        """
        Args:
            threshold: pixels at least so hot are the object.
            percentile: of the distances; 100 is the Hausdorff distance.
        """
        if not 0 < percentile <= 100:
            raise OptionError(
                f"percentile {percentile!r} is none: give a number above 0 and at most 100, which "
                "is the Hausdorff distance itself"
            )
        self.threshold, self.percentile = checked_threshold(threshold), percentile

    @property
    def options(self) -> dict[str, object]:
        return {"threshold": self.threshold, "percentile": self.percentile}

    def score(self, maps: Tensor, context: Context) -> Tensor:
        masks = context.once((__name__, "mask surfaces"), lambda: _surfaces(context.ground_truth))
        diagonal = math.hypot(*context.size)
        distances = [
            [
                self._distance(heat, mask, diagonal)
                for heat, mask in zip(_borders(one >= self.threshold), masks, strict=True)
            ]
            for one in maps
        ]
        return torch.tensor(distances, dtype=maps.dtype, device=maps.device)

    def _distance(self, heat: np.ndarray, mask: _Surface, diagonal: float) -> float:
        if not len(heat) or not len(mask.places):
            return diagonal if len(heat) or len(mask.places) else 0.0
        there = mask.distances[tuple(heat.T)]
        # A heatmap's border is searched once only, so a tree is faster than its own transform.
        back, _ = KDTree(heat, compact_nodes=False, balanced_tree=False).query(mask.places)
        return max(np.percentile(d, self.percentile) for d in (there, back))


@dataclass(frozen=True)
class _Surface:
    """A mask's border.

    Attributes:
        places: ``[B,2]`` or ``[B,3]`` its pixels.
        distances: ``[H,W]`` or ``[D,H,W]`` of each pixel to the nearest of them.
    """

    places: np.ndarray
    distances: np.ndarray


def _surfaces(masks: Tensor) -> list[_Surface]:
    return [
        _Surface(np.argwhere(on), distance_transform_edt(~on)) for on in border(masks).cpu().numpy()
    ]


def _borders(regions: Tensor) -> list[np.ndarray]:
    """The border's pixels of each of ``[N,H,W]``, ``[B,2]``; or of volumes, ``[B,3]``."""
    return [np.argwhere(on) for on in border(regions).cpu().numpy()]


def border(regions: Tensor) -> Tensor:
    """The pixels of regions ``[N,H,W]`` or ``[N,D,H,W]`` that have a neighbour by face outside;
    what lies beyond the image is outside."""
    inner = regions.clone()
    for side in range(1, regions.ndim):
        length = regions.shape[side] - 1
        # Each place with the one before and the one after it along this side.
        inner.narrow(side, 1, length).logical_and_(regions.narrow(side, 0, length))
        inner.narrow(side, 0, length).logical_and_(regions.narrow(side, 1, length))
        inner.select(side, 0).fill_(False)
        inner.select(side, -1).fill_(False)
    return regions & ~inner
