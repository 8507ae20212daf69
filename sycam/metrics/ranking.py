"""Heatmaps to an order of pixels that removes the same number of pixels for every candidate."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

WIDTH = 1 / 8  # sigma of the tie-breaking blur, as a share of the image's shorter side
_SHIFT = 33  # bits of a key that hold a place
_PLACES = 2**_SHIFT - 1
_FITS = 2**30  # above the bits of all floats under 2


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
    if maps.device.type == "cpu" and float(maps.max()) < 2:
        places = _placed(shuffles)
        # Candidate by candidate, which stays in the caches.
        return torch.stack([_ranks_by_keys(one, shuffles, places) for one in maps])
    values = _ordered_bits(maps.flatten(2))
    blurred = gaussian_blur(maps, WIDTH * min(maps.shape[-2:])).flatten(2)
    # One integer key sorts by value first and by blur second.
    key = (values << 32) | _ordered_bits(blurred)
    shuffle = shuffles.expand(*maps.shape[:2], -1)
    order = key.gather(-1, shuffle).sort(dim=-1, descending=True, stable=True).indices
    return _placed(shuffle.gather(-1, order))


def _ranks_by_keys(maps: Tensor, shuffles: Tensor, places: Tensor) -> Tensor:
    """Ranks ``[N,H*W]`` of one candidate by sorting keys that end in the pixels' places: numpy
    sorts integers several times as fast as torch sorts with indices.

    Args:
        maps: ``[N,H,W]`` of values under 2.
        shuffles, places: ``[N,H*W]``, permutations and their inverses.
    """
    values = _ordered_bits(maps.flatten(1))
    ordered = _sorted(values, places)
    pixels = shuffles.gather(-1, ordered & _PLACES)
    ordered >>= _SHIFT
    tied = (ordered[:, 1:] == ordered[:, :-1]).any(-1)
    if tied.any():
        blurred = gaussian_blur(maps[None], WIDTH * min(maps.shape[-2:]))[0].flatten(1)[tied]
        ordered = _sorted(_ordered_bits(blurred), places[tied])
        seconds = shuffles[tied].gather(-1, ordered.bitwise_and_(_PLACES))
        ordered = _sorted(values[tied], _placed(seconds))
        pixels[tied] = seconds.gather(-1, ordered.bitwise_and_(_PLACES))
    return _placed(pixels)


def _sorted(values: Tensor, places: Tensor) -> Tensor:
    """Keys in descending order of values, ascending places where these are equal."""
    keys = (_FITS - 1 - values).bitwise_left_shift_(_SHIFT).bitwise_or_(places)
    keys.numpy().sort(-1)
    return keys


def _placed(pixels: Tensor) -> Tensor:
    """``[..., H*W]`` int32: the place of each pixel in a list of all."""
    places = torch.arange(pixels.shape[-1], dtype=torch.int32, device=pixels.device)
    ranks = torch.empty(pixels.shape, dtype=torch.int32, device=pixels.device)
    return ranks.scatter_(-1, pixels, places.expand_as(pixels))


def _ordered_bits(values: Tensor) -> Tensor:
    """Integers in the order of the values, as the bits of floats that are not negative are."""
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
