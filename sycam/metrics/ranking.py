"""Heatmaps to an order of pixels that removes the same number of pixels for every candidate."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

WIDTH = 1 / 8  # sigma of the tie-breaking blur, as a share of the image's shorter side


def relevance_ranks(maps: Tensor, shuffles: Tensor) -> Tensor:
    """Rank of each pixel, 0 the most relevant; every rank is given once.

    Ties are broken by a wide Gaussian blur of the map, then by a permutation that all candidates
    share. A plateau of equal values would otherwise be removed at once, which a search exploits;
    raster order would favour a corner, and a random order would scatter the tied pixels, which
    are then easy to impute.

    Args:
        maps: ``[P,N,H,W]``, or ``[P,N,D,H,W]`` of volumes.
        shuffles: ``[N,H*W]`` permutations of the pixels.

    Returns:
        Tensor[P,N,H*W] int32.
    """
    blurred = gaussian_blur(maps, WIDTH * min(maps.shape[-2:])).flatten(2)
    # One integer key sorts by value first and by blur second: the bits of non-negative floats
    # are ordered as the floats are.
    key = (_ordered_bits(maps.flatten(2)) << 32) | _ordered_bits(blurred)
    shuffle = shuffles.expand(*maps.shape[:2], -1)
    order = key.gather(-1, shuffle).sort(dim=-1, descending=True, stable=True).indices
    pixels = shuffle.gather(-1, order)
    places = torch.arange(pixels.shape[-1], dtype=torch.int32, device=maps.device)
    ranks = torch.empty(pixels.shape, dtype=torch.int32, device=maps.device)
    return ranks.scatter_(-1, pixels, places.expand_as(pixels))


def _ordered_bits(values: Tensor) -> Tensor:
    return values.float().clamp(min=0).contiguous().view(torch.int32).to(torch.int64)


def gaussian_blur(maps: Tensor, sigma: float) -> Tensor:
    """Blur each side of maps ``[P,N,H,W]`` or ``[P,N,D,H,W]``; near the border the weights of what
    is inside sum to 1."""
    if maps.ndim == 5:
        slices = _blur_matrix(maps.shape[2], sigma).to(maps)
        maps = torch.einsum("ed,pndhw->pnehw", slices, maps)
    rows = _blur_matrix(maps.shape[-2], sigma).to(maps)
    columns = _blur_matrix(maps.shape[-1], sigma).to(maps)
    return rows @ maps @ columns.T


@lru_cache(maxsize=32)
def _blur_matrix(size: int, sigma: float) -> Tensor:
    places = torch.arange(size, dtype=torch.float64)
    weights = torch.exp(-0.5 * ((places[:, None] - places[None, :]) / sigma) ** 2)
    return weights / weights.sum(1, keepdim=True)
