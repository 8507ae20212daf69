"""Heatmaps to the connected regions that they mark, and regions moved elsewhere."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from sycam.applications.hot_spots.options import AblationOptions
from sycam.metrics import Context
from sycam.metrics.removal.perturbation import ranks_of

_APART = 0.25  # share of all shifts, those that leave the regions furthest, that may be drawn


def hot_regions(maps: Tensor, context: Context, how: AblationOptions) -> tuple[Tensor, Tensor]:
    """The regions of heatmaps: hot pixels, within the masks where that is asked, without the
    connected regions that are too small or too many.

    Pixels that touch by a side or a corner are connected.

    Args:
        maps: ``[P,N,H,W]`` in [0, 1], or ``[P,N,D,H,W]``; a degenerate one has no region.
        context: of the same N images.
        how: the threshold and filters.

    Returns:
        ``[P,N,H,W]`` bool, and ``[P,N]`` int64, how many regions there are.
    """
    hot = _hot(maps, context, how)
    if how.allowed:
        hot = hot & context.ground_truth
    regions, counts = np.zeros(hot.shape, bool), np.zeros(hot.shape[:2], np.int64)
    marked, heat = hot.cpu().numpy(), maps.cpu().numpy()
    for place in np.ndindex(counts.shape):
        regions[place], counts[place] = _filtered(marked[place], heat[place], how)
    return torch.from_numpy(regions).to(maps.device), torch.from_numpy(counts).to(maps.device)


def _hot(maps: Tensor, context: Context, how: AblationOptions) -> Tensor:
    if how.top is None:
        hot = maps >= how.threshold
    else:
        pixels = math.prod(context.size)
        count = min(max(1, round(how.top / 100 * pixels)), pixels - 1)
        hot = (ranks_of(maps, context) < count).view(maps.shape)
    if context.degenerate is None:
        return hot
    return hot & ~context.degenerate[(..., *(None,) * (maps.ndim - 2))]


def _filtered(hot: np.ndarray, heat: np.ndarray, how: AblationOptions) -> tuple[np.ndarray, int]:
    """Of one image the regions that are kept, and their number."""
    labels, count = ndimage.label(hot, np.ones((3,) * hot.ndim))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    kept = 1 + np.flatnonzero(100 * sizes >= how.smallest * hot.size)
    if how.most is not None and len(kept) > how.most:
        total = ndimage.sum_labels(heat, labels, kept)
        kept = kept[np.argsort(-total, kind="stable")[: how.most]]
    return np.isin(labels, kept), len(kept)


def shifted(region: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Copies of an image's regions, moved elsewhere as one.

    They are moved by whole pixels; what leaves the image at an edge enters at the opposite one, so
    that each copy has exactly as many pixels. Drawn are shifts of the quarter that covers the
    regions themselves least: of regions that are small enough, such as leave them altogether.

    Args:
        region: ``[H,W]`` or ``[D,H,W]`` bool.
        count: of copies.
        generator: on the CPU, of the image.

    Returns:
        ``[count,H,W]`` bool; nothing where there is no region.
    """
    spectrum = torch.fft.rfftn(region.double().cpu())
    covered = torch.fft.irfftn(spectrum.abs().square(), region.shape).round().flatten()
    least = covered.sort().values[math.ceil(_APART * len(covered)) - 1]
    shifts = (covered <= least).nonzero()[:, 0]
    drawn = torch.rand(count, generator=generator, dtype=torch.float64)
    chosen = shifts[(drawn * len(shifts)).long()]
    moves = torch.stack(torch.unravel_index(chosen, region.shape), -1).tolist()
    return torch.stack([region.roll(move, tuple(range(region.ndim))) for move in moves])
