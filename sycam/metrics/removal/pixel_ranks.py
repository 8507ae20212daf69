"""Heatmaps to an order of pixels that removes the same number of pixels for every candidate."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from sycam.support.compiling.compiled_c import CLibrary, c_library

WIDTH = 1 / 8  # sigma of the tie-breaking blur, as a share of the image's shorter side


def relevance_ranks(maps: Tensor, shuffles: Tensor) -> Tensor:
    """Rank of each pixel, 0 the most relevant; every rank is given once.

    Ties are broken by a wide Gaussian blur of the map, then by a permutation that all candidates
    share. A plateau of equal values would otherwise be removed at once, which a search exploits;
    raster order would favour a corner, and a random order would scatter the tied pixels, which
    are then easy to impute.

    Args:
        maps: ``[P,N,H,W]``, or ``[P,N,D,H,W]`` of volumes; what is negative counts as 0.
        shuffles: ``[N,H*W]`` permutations of the pixels.

    Returns:
        Tensor[P,N,H*W] int32.
    """
    if (library := _library_for(maps)) is not None:
        return _ranks_by_c(library, maps, shuffles)
    # One integer key sorts by value first and by blur second.
    key = (_ordered_bits(maps) << 32) | _ordered_bits(_blurred(maps))
    shuffle = shuffles.expand(*maps.shape[:2], -1)
    order = key.gather(-1, shuffle).sort(dim=-1, descending=True, stable=True).indices
    return _placed(shuffle.gather(-1, order))


def ranked_between(ranks: Tensor, rows: Tensor, bounds: Tensor) -> Tensor:
    """Masks of the pixels whose rank lies in an interval.

    Args:
        ranks: ``[R,H*W]`` int32.
        rows: ``[M]`` int64, of which row each mask is.
        bounds: ``[M,2]`` int32, the first rank and the end.

    Returns:
        Tensor[M,H*W] bool.
    """
    if (library := _library_for(ranks)) is not None:
        removed = torch.empty(len(rows), ranks.shape[1], dtype=torch.bool)
        given = ranks.int().contiguous(), rows.long().contiguous(), bounds.int().contiguous()
        _call(library.between, (*given, removed), *removed.shape)
        return removed
    # index_select copies whole rows, several times as fast as indexing by a tensor.
    rank = ranks.index_select(0, rows)
    low, high = bounds.unbind(1)
    return (rank >= low[:, None]) & (rank < high[:, None])


def mask_keys(ranks: Tensor, bounds: Tensor) -> Tensor:
    """A key of each mask of :func:`ranked_between`: equal masks of one image have equal keys.

    Each pixel of each image gets a random 64-bit integer, and so does the image; a mask's key is
    the sum over its pixels, read off cumulative sums in the order of ranks. Two of a billion
    different masks collide with probability under 0.03.

    Args:
        ranks: ``[P,N,H*W]`` int32.
        bounds: ``[P,N,M,2]`` int32.

    Returns:
        Tensor[P,N,M] int64.
    """
    (P, N, pixels), M = ranks.shape, bounds.shape[2]
    generator = torch.Generator().manual_seed(0x5CA3)
    tokens = torch.randint(-(2**63), 2**63 - 1, (N, pixels + 1), generator=generator)
    if (library := _library_for(ranks)) is not None:
        keys = torch.empty(P, N, M, dtype=torch.int64)
        given = ranks.int().contiguous(), tokens, bounds.int().contiguous(), keys
        _call(library.mask_keys, given, P * N, N, M, pixels)
        return keys
    tokens = tokens.to(ranks.device)
    in_order = torch.empty(ranks.shape, dtype=torch.int64, device=ranks.device)
    in_order.scatter_(-1, ranks.long(), tokens[:, :pixels].expand(ranks.shape))
    sums = torch.nn.functional.pad(in_order.cumsum(-1), (1, 0))
    low, high = bounds.long().unbind(-1)
    return sums.gather(-1, high) - sums.gather(-1, low) + tokens[:, pixels:]


def ranks_library() -> CLibrary | None:
    """``pixel_ranks.c``, or None."""
    return c_library(__package__, "pixel_ranks")


def _library_for(tensor: Tensor) -> CLibrary | None:
    return ranks_library() if tensor.device.type == "cpu" else None


def _call(function: Callable[..., int], tensors: tuple[Tensor, ...], *sizes: int) -> None:
    """Run a function of the library on as many threads as torch uses and the first size, what it
    works on one after the other, has work for."""
    threads = max(1, min(torch.get_num_threads(), sizes[0]))
    addresses = [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
    if function(*addresses, *sizes, threads) < 0:
        raise MemoryError("no memory left to rank pixels")


def _ranks_by_c(library: CLibrary, maps: Tensor, shuffles: Tensor) -> Tensor:
    values, start = maps.float().flatten(2).contiguous(), shuffles.int().contiguous()
    P, N, pixels = values.shape
    order, ranks = (torch.empty(values.shape, dtype=torch.int32) for _ in range(2))
    same = torch.empty(values.shape, dtype=torch.bool)
    _call(library.rank, (values, start, order, ranks, same), P * N, N, pixels)
    if same.any():
        seconds = _blurred(maps).float().contiguous()
        _call(library.rank_same, (seconds, same, order, ranks), P * N, pixels)
    return ranks


def _blurred(maps: Tensor) -> Tensor:
    """``[P,N,H*W]``: what orders equal values."""
    # Candidate by candidate, which stays in a CPU's caches; last bits depend on what is blurred
    # together, and are not to depend on the number of candidates.
    parts = maps.split(1) if maps.device.type == "cpu" else [maps]
    sigma = WIDTH * min(maps.shape[-2:])
    return torch.cat([gaussian_blur(part, sigma) for part in parts]).flatten(2)


def _placed(pixels: Tensor) -> Tensor:
    """``[..., H*W]`` int32: the place of each pixel in a list of all."""
    places = torch.arange(pixels.shape[-1], dtype=torch.int32, device=pixels.device)
    ranks = torch.empty(pixels.shape, dtype=torch.int32, device=pixels.device)
    return ranks.scatter_(-1, pixels, places.expand_as(pixels))


def _ordered_bits(values: Tensor) -> Tensor:
    """Integers in the order of the values, as the bits of floats that are not negative are."""
    values = values.flatten(2).float().clamp(min=0).contiguous()
    return values.view(torch.int32).to(torch.int64)


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
