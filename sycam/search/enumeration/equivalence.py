"""When two expressions are the same: keys of values, and of heatmaps as a metric sees them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from torch import Tensor

from sycam.heatmaps import upsample
from sycam.metrics import EXACT, RANKING, WEIGHTS

_DROPPED = 13  # of a double's 53 significant bits; 40 are kept
_TINY = 1e-30  # only smaller entries count as zero
_GRID = 2.0**34  # resolution of a scaled heatmap whose least value was subtracted
_PORTRAIT = 16  # cells along a side
_HEAT_DROPPED = 23  # of a double's 53 bits where nothing was: more are kept than float32 has
_HEAT_TINY = 1e-38  # below the least positive float32, nearly


@lru_cache(maxsize=64)
def _tokens(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0xE9)
    return torch.randint(-(2**63), 2**63 - 1, (count,), generator=generator) | 1


def value_keys(values: Tensor) -> Tensor:
    """64-bit keys of values ``[B, ...]`` (float64), each entry to 40 significant bits.

    Equal keys are a conjecture, to be confirmed on other images; different keys stay apart.
    """
    flat = values.flatten(1)
    flat = torch.where(flat.abs() < _TINY, 0.0, flat)
    bits = flat.contiguous().view(torch.int64)
    quantised = (bits + (1 << (_DROPPED - 1))) >> _DROPPED
    return (quantised * _tokens(flat.shape[1])).sum(1)


def fingerprints(values: Tensor) -> Tensor:
    """Four random projections and the norm of values ``[B, ...]``: ``[B,5]`` to confirm keys."""
    flat = values.flatten(1)
    generator = torch.Generator().manual_seed(0xF1)
    directions = torch.randn(flat.shape[1], 4, generator=generator, dtype=torch.float64)
    norm = flat.norm(dim=1, keepdim=True)
    return torch.cat([flat @ directions, norm], 1)


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two fingerprints ``[5]`` agree to nine digits of the norm."""
    return bool((a - b).abs().max() <= 1e-9 * torch.maximum(a[-1], b[-1]))


def heat_keys(sums: Tensor, invariance: str, size: tuple[int, ...], depth: int = 1) -> Tensor:
    """Keys of heatmaps under what a metric cannot see.

    Args:
        sums: ``[B,n,h,w]`` (``[B,n,d*h,w]``) float64, ``sum_k w_k A_k`` before the ReLU; for
            ``weights`` the values of the expressions instead.
        invariance: ``weights``, ``exact``, ``positive-scale`` or ``ranking``.
        size: (H, W) of the image: a ranking is that of the upsampled map, since upsampling does
            not keep the order of the grid.
        depth: of the grid, 1 for images.

    Returns:
        Tensor[B] int64.
    """
    if invariance == WEIGHTS:
        return value_keys(sums)
    positive = sums.clamp(min=0)
    if invariance == EXACT:
        return value_keys(positive)
    low = positive.amin((-2, -1), keepdim=True)
    span = positive.amax((-2, -1), keepdim=True) - low
    scaled = (positive - low) / torch.where(span > 0, span, torch.ones_like(span))
    if invariance == RANKING:
        scaled = upsample(scaled, size, depth)
        whole = _dense_ranks(_rounded(scaled, low).flatten(2))
    else:
        whole = _rounded(scaled, low)
    whole = whole.flatten(1)
    return (whole * _tokens(whole.shape[1])).sum(1)


def portraits(sums: Tensor, grid: tuple[int, int] | None = None) -> np.ndarray:
    """Vectors that are near each other where heatmaps order their places alike.

    Args:
        sums: ``[B,n,h,w]`` float64 before the ReLU.
        grid: on which portraits are compared; the sums' own if None.

    Returns:
        ``[B,F]``: of each image the places' mean ranks by ``relu(sums)``, from 0 to 1, on a grid
        of at most 16 by 16.
    """
    positive = sums.clamp(min=0)
    if grid is not None:
        positive = upsample(positive, grid)
    height, width = positive.shape[-2:]
    sides = min(height, _PORTRAIT), min(width, _PORTRAIT)
    if sides != positive.shape[-2:]:
        positive = F.adaptive_avg_pool2d(positive, sides)
    flat = positive.flatten(2)
    # Differences in the last digits are rounding.
    peak = flat.amax(-1, keepdim=True)
    steps = (flat / torch.where(peak > 0, peak, torch.ones_like(peak)) * _GRID).round()
    ranks = rankdata(steps.numpy(), axis=-1) / steps.shape[-1]
    return ranks.reshape(len(ranks), -1)


def _rounded(scaled: Tensor, low: Tensor) -> Tensor:
    """Integers that differ where heatmaps differ by more than rounding.

    Where the least value is 0, as after most ReLUs, values keep all their digits however small
    they are beside the peak, and ranks tell them apart; a difference has those of the peak only.
    """
    grid = (scaled * _GRID).round().to(torch.int64)
    bits = torch.where(scaled < _HEAT_TINY, 0.0, scaled).contiguous().view(torch.int64)
    relative = (bits + (1 << (_HEAT_DROPPED - 1))) >> _HEAT_DROPPED
    return torch.where(low > 0, grid, relative)


def _dense_ranks(values: Tensor) -> Tensor:
    """Rank of each entry among the distinct values of its row (last dimension)."""
    ordered, order = values.sort(-1)
    steps = torch.zeros_like(ordered)
    steps[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    return torch.empty_like(values).scatter_(-1, order, steps.cumsum(-1))
