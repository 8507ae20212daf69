"""Weighted sums to heatmaps: ReLU, upsampling to the image, scaling to [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sycam.heatmaps.evaluate import KeptValues, weighted_sums
from sycam.language import Expression

FLAT = 1e-6  # a map whose range is at most this share of its largest |value| says nothing


@dataclass(frozen=True)
class Heatmaps:
    """Heatmaps of P candidates on N images.

    Attributes:
        maps: ``[P,N,H,W]`` in [0, 1].
        degenerate: ``[P,N]`` bool: the map is flat, so that it ranks nothing.
        finite: ``[P]`` bool: no value of the candidate overflowed on any image.
    """

    maps: Tensor
    degenerate: Tensor
    finite: Tensor


def heatmaps(
    expressions: Sequence[Expression],
    leaves: Mapping[str, Tensor],
    size: tuple[int, ...],
    depth: int = 1,
    kept: KeptValues | None = None,
) -> Heatmaps:
    """Heatmaps of P expressions on the N images that ``leaves`` were measured on.

    Args:
        expressions: weights, maps or heats.
        leaves: measurements by leaf name, ``[N,K,d*h,w]`` for a map.
        size: ``(H, W)`` of the images, or ``(D, H, W)`` of volumes.
        depth: of the layer's grid, 1 for images.
        kept: values of earlier batches on the same leaves.
    """
    return from_sums(weighted_sums(expressions, leaves, depth, kept), size, depth)


def from_sums(sums: Tensor, size: tuple[int, ...], depth: int = 1) -> Heatmaps:
    """Heatmaps from weighted sums ``[P,N,d*h,w]`` before the ReLU; what overflowed counts as 0."""
    finite = torch.isfinite(sums).flatten(1).all(1)
    sums = torch.nan_to_num(sums, nan=0.0, posinf=0.0, neginf=0.0)
    return Heatmaps(finish(sums, size, depth), is_degenerate(sums), finite)


def is_degenerate(sums: Tensor) -> Tensor:
    """Whether ``relu(sums)`` [..., h, w] is flat next to the largest |sums| of its image."""
    positive = sums.clamp(min=0)
    span = positive.amax((-2, -1)) - positive.amin((-2, -1))
    return span <= FLAT * sums.abs().amax((-2, -1))


def finish(sums: Tensor, size: tuple[int, ...], depth: int = 1) -> Tensor:
    """``norm01(up(relu(sums)))``: [P,N,h,w] to [P,N,H,W] in [0, 1].

    ``up`` is bilinear with corners not aligned (trilinear for volumes, whose sums are
    ``[P,N,d*h,w]`` and whose maps ``[P,N,D,H,W]``); a degenerate map becomes zeros (upsampling
    would leave rounding errors of a constant, which scaling would blow up to the whole range).
    """
    positive = sums.clamp(min=0)
    positive = torch.where(is_degenerate(sums)[..., None, None], 0, positive)
    maps = upsample(positive, size, depth)
    low, span = _range(maps, len(size))
    # In place: at 224 x 224 fetching fresh memory takes longer than the arithmetic. By a division:
    # scaled by its own reciprocal a tiny range could overflow.
    return maps.sub_(low).div_(span)


def upsample(maps: Tensor, size: tuple[int, ...], depth: int = 1) -> Tensor:
    """``up``: ``[P,N,d*h,w]`` to ``[P,N,*size]``, linear along each side, corners not aligned.

    On a CPU side by side as matrix products, which is several times as fast as
    ``F.interpolate`` and the same to rounding errors.
    """
    grid = maps.unflatten(-2, (depth, -1)) if len(size) == 3 else maps
    if maps.device.type != "cpu":
        mode = "trilinear" if len(size) == 3 else "bilinear"
        return F.interpolate(grid, size, mode=mode, align_corners=False)
    rows, columns = (_interpolation(grid.shape[i], size[i], maps) for i in (-2, -1))
    larger = rows @ (grid @ columns.T)
    if len(size) == 3:
        slices = _interpolation(grid.shape[-3], size[0], maps)
        larger = (slices @ larger.flatten(-2)).unflatten(-1, size[1:])
    return larger


def _interpolation(cells: int, pixels: int, like: Tensor) -> Tensor:
    """``[pixels, cells]``: the weight of each cell in each pixel along one side."""
    cell = torch.eye(cells, dtype=like.dtype, device=like.device)[None]
    return F.interpolate(cell, pixels, mode="linear", align_corners=False)[0].T


def norm01(maps: Tensor, sides: int = 2) -> Tensor:
    """``(t - min) / (max - min)`` over the last two or three dimensions; zeros where flat."""
    low, span = _range(maps, sides)
    return (maps - low).div_(span)


def _range(maps: Tensor, sides: int) -> tuple[Tensor, Tensor]:
    """Each map's minimum and its range, 1 where that is 0."""
    places = tuple(range(-sides, 0))
    low = maps.amin(places, keepdim=True)
    span = maps.amax(places, keepdim=True) - low
    return low, torch.where(span > 0, span, torch.ones_like(span))
