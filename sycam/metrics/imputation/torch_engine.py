"""The imputer's torch engine: multigrid by torch operations, on any device.

A batch is a tensor ``[C, h, w, B]``, so that the images, not the pixels, are the contiguous
dimension and every step runs over whole vectors at any image size. A mask ``[1, h, w, B]`` serves
all colours. Volumes are the same with one dimension more, ``[C, d, h, w, B]``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

STENCIL = ((1 / 12, 1 / 6, 1 / 12), (1 / 6, 0.0, 1 / 6), (1 / 12, 1 / 6, 1 / 12))
"""The weights of the eight neighbours, ``([1 2 1] x [1 2 1] - 4 at the centre) / 12``; those of the
26 of a voxel likewise, ``([1 2 1] x [1 2 1] x [1 2 1] - 8 at the centre) / 56``."""

CHUNK_VALUES = {"cpu": 800_000, "other": 64_000_000}
"""Values (C*B*H*W) that the torch engine solves together: on a CPU what stays in the caches,
elsewhere what fills the device."""

MIN_CHUNK = 16
"""Images solved together at least: they are the innermost dimension, so whole vectors."""


def solve_torch(
    images: Tensor,
    removed: Tensor,
    tolerance: float,
    contraction: tuple[float, float],
    cycles: int,
    dtype: torch.dtype,
) -> Tensor:
    """Fill the removed pixels, an image a mask, chunk by chunk.

    Args:
        images: ``[B, C, H, W]``, or volumes ``[B, C, D, H, W]``, float32 or float64.
        removed: ``[B, H, W]`` (``[B, D, H, W]``) bool; at least one pixel of each image is known.
        tolerance: of the update in the energy norm.
        contraction: least and most factor by which a cycle is believed to shrink the update.
        cycles: at most.
        dtype: to compute in.

    Returns:
        Like ``images``.
    """
    filled = torch.empty_like(images, memory_format=torch.contiguous_format)
    for part in _chunks(images):
        known = images[part].to(dtype)
        filled[part] = _solve(known, removed[part], tolerance, contraction, cycles)
    return filled


def _chunks(images: Tensor) -> list[slice]:
    """Slices of the batch that are solved together, of nearly equal size."""
    count, *rest = images.shape
    values = CHUNK_VALUES.get(images.device.type, CHUNK_VALUES["other"])
    largest = max(MIN_CHUNK, values // max(1, int(np.prod(rest))))
    parts = max(1, -(-count // largest))
    size = max(1, -(-count // parts))
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _neighbour_mean(x: Tensor) -> Tensor:
    """The weighted sum of the neighbours of every pixel; outside the image counts zero."""
    dims = _space(x)
    if len(dims) == 2 and not (x.dtype == torch.float64 and x.device.type == "cpu"):
        batch = x.shape[-1]
        weight = x.new_tensor(STENCIL).repeat(batch, 1, 1, 1)
        return _pixels_first(F.conv2d(_images_first(x), weight, padding=1, groups=batch))
    # torch has no fast depthwise convolution for that; the stencil is separable.
    total, centre = x, 2 ** len(dims)
    for dim in dims:
        total = _one_two_one(total, dim)
    return total.sub_(x, alpha=centre).div_(4 ** len(dims) - centre)


def _space(x: Tensor) -> range:
    """The dimensions of space: two of images ``[C, h, w, B]``, three of volumes."""
    return range(1, x.ndim - 1)


def _one_two_one(x: Tensor, dim: int) -> Tensor:
    """``x[i - 1] + 2 x[i] + x[i + 1]`` along one dimension."""
    size = x.shape[dim] - 1
    total = x * 2
    total.narrow(dim, 1, size).add_(x.narrow(dim, 0, size))
    total.narrow(dim, 0, size).add_(x.narrow(dim, 1, size))
    return total


def _images_first(x: Tensor) -> Tensor:
    """``[C, h, w, B]`` seen as ``[C, B, h, w]`` in channels-last memory: no copy."""
    return x.movedim(-1, 1)


def _pixels_first(x: Tensor) -> Tensor:
    """The inverse of ``_images_first``; copies only if an operation lost the layout."""
    return x.movedim(1, -1).contiguous()


def _sum_cells(x: Tensor) -> Tensor:
    """The sums over cells of two pixels a side, halved sides rounded up."""
    pool = F.avg_pool2d if len(_space(x)) == 2 else F.avg_pool3d
    cell = [min(2, x.shape[dim]) for dim in _space(x)]
    return _pixels_first(pool(_images_first(x), cell, ceil_mode=True, divisor_override=1))


def _interpolate(x: Tensor, like: Tensor) -> Tensor:
    """Linear interpolation between cell centres, to the size of ``like``."""
    mode = "bilinear" if len(_space(x)) == 2 else "trilinear"
    fine = F.interpolate(_images_first(x), scale_factor=2, mode=mode, align_corners=False)
    return fine.movedim(1, -1)[tuple(map(slice, like.shape[:-1]))]


def _per_item_sum(x: Tensor) -> Tensor:
    """``[C, h, w, B]`` -> ``[C, 1, 1, B]``; rows first, which runs along contiguous memory."""
    for dim in _space(x):
        x = x.sum(dim, keepdim=True)
    return x


def _diagonal(like: Tensor) -> Tensor:
    """``[1, h, w, 1]``: the sum of the weights of the neighbours inside the image."""
    shape = [like.shape[dim] for dim in _space(like)]
    if len(shape) == 3:
        return _neighbour_mean(torch.ones(1, *shape, 1, dtype=torch.float64)).to(like)
    height, width = shape
    ones = np.pad(np.ones((height, width)), 1)
    total = sum(
        STENCIL[i][j] * ones[i : i + height, j : j + width] for i in range(3) for j in range(3)
    )
    return torch.from_numpy(total[None, :, :, None]).to(like)


@dataclass(frozen=True)
class _Level:
    """One grid of the hierarchy: ``missing`` and ``missing / diagonal``, both ``[1, h, w, B]``."""

    missing: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, missing: Tensor) -> _Level:
        return cls(missing, missing / _diagonal(missing))

    def keep(self, items: Tensor) -> _Level:
        return _Level(self.missing[..., items], self.inverse[..., items])


def _hierarchy(missing: Tensor) -> list[_Level]:
    """The grids from fine to coarse; a coarse cell is missing where all its fine ones are."""
    levels = [_Level.of(missing)]
    while min(missing.shape[1:-1]) > 2 or max(missing.shape[1:-1]) > 8:
        missing = (_sum_cells(1 - missing) == 0).to(missing.dtype)
        levels.append(_Level.of(missing))
    return levels


def _first_guess(known: Tensor, levels: list[_Level]) -> Tensor:
    """Fill the holes from the averages of coarser and coarser cells.

    ``known``: ``[C, h, w, B]``, zero where missing.
    """
    values, weight = [known], 1 - levels[0].missing
    for level in levels[1:]:
        values.append(_sum_cells(values[-1]) / _sum_cells(weight).clamp(min=1))
        weight = 1 - level.missing
    mean = _per_item_sum(values[-1]) / _per_item_sum(weight)
    x = torch.addcmul(values[-1], levels[-1].missing, mean)
    for level, value in zip(levels[-2::-1], values[-2::-1], strict=True):
        x = torch.addcmul(value, level.missing, _interpolate(x, value))
        if level is not levels[0]:
            x = torch.addcmul(value, level.inverse, _neighbour_mean(x))
    return x


def _cycle(residual: Tensor, levels: list[_Level]) -> Tensor:
    """One multigrid V-cycle from zero: about the error whose residual is given.

    The stencil's eigenvalues for rough errors lie in [2/3, 4/3], so undamped Jacobi smooths by
    1/3 a sweep. The first sweep from zero is only a product, and leaves the residual
    ``missing * neighbour mean``. Sums over cells carry the residual to a grid of twice the step,
    where the same stencil asks for four times as much; along a line a cell has two members only,
    in space it has eight. (There rough errors are smoothed by 3/7 a sweep.)
    """
    level, coarser = levels[0], levels[1:]
    error = residual * level.inverse
    if coarser:
        rest = _sum_cells(_neighbour_mean(error).mul_(level.missing))
        members = 2 ** sum(side > 1 for side in residual.shape[1:-1])
        if members != 4:
            rest *= 4 / members
        error.addcmul_(level.missing, _interpolate(_cycle(rest, coarser), error))
    for _ in range(1 if coarser else 3):
        error = _neighbour_mean(error).add_(residual).mul_(level.inverse)
    return error


def _solve(
    images: Tensor,
    removed: Tensor,
    tolerance: float,
    contraction: tuple[float, float],
    cycles: int,
) -> Tensor:
    """Conjugate gradients, each colour of each item with its own steps; returns ``images``' shape.

    Finished items keep their value: when half of the batch is finished it is set aside.
    """
    missing = removed.movedim(0, -1).unsqueeze(0).to(images.dtype).contiguous()
    levels = _hierarchy(missing)
    known = images.movedim(0, -1).contiguous().masked_fill_(missing.bool(), 0)
    answer = x = _first_guess(known, levels)
    diagonal = _diagonal(x)
    residual = (_neighbour_mean(x) - diagonal * x).mul_(missing)
    direction, product = torch.zeros_like(x), torch.zeros_like(x)
    energy = x.new_ones(x.shape[0], *(1,) * len(_space(x)), x.shape[-1])
    tiny = torch.finfo(x.dtype).tiny
    active = torch.ones_like(energy, dtype=torch.bool)
    change = torch.zeros_like(energy)
    here = torch.arange(x.shape[-1], device=x.device)
    for _ in range(cycles):
        z = _cycle(residual, levels)
        # The new direction is made conjugate to the last one, whatever the rounding.
        direction = z.addcmul_(direction, _per_item_sum(z * product) / energy, value=-1)
        product = _neighbour_mean(direction).neg_().addcmul_(direction, diagonal)
        product.mul_(levels[0].missing)
        energy = _per_item_sum(direction * product).clamp_(min=tiny)
        gain = _per_item_sum(direction * residual)
        step = gain / energy * active
        x.addcmul_(direction, step)
        residual.addcmul_(product, step, value=-1)
        before, change = change, (gain * step).clamp_(min=0).sqrt_()
        ratio = (change / before.clamp(min=tiny)).clamp_(*contraction)
        active &= change * ratio / (1 - ratio) > tolerance
        items = active.any(0).flatten()
        left = int(items.sum())
        if left == 0:
            break
        if left <= len(items) // 2:
            if x is not answer:
                answer[..., here] = x
            keep = items.nonzero().squeeze(1)
            here = here[keep]
            x, residual, direction, product, energy, active, change = (
                t[..., keep] for t in (x, residual, direction, product, energy, active, change)
            )
            levels = [level.keep(keep) for level in levels]
    if x is not answer:
        answer[..., here] = x
    return answer.movedim(-1, 0)
