"""Fill the removed pixels of many images by the ROAD linear system (Rong et al. 2022).

A missing pixel i is the weighted mean of its neighbours: ``sum_j w_ij (x_j - x_i) = 0`` over the
neighbours inside the image, w = 1/6 for the four nearest and 1/12 for the four diagonal ones,
with the known pixels fixed. On the missing pixels that is a symmetric positive definite system
(a discrete Laplace equation) as soon as one pixel of the image is known. With none known the
system is singular (any constant solves it; the reference implementation returns NaN, or a
constant made of rounding errors), so that is refused.

``impute`` solves all images of a batch by conjugate gradients, preconditioned by one multigrid
cycle and started from averages of ever coarser cells (pull, push). There are three engines: torch
operations, on any device, and (``native=True``) a C function and a CUDA kernel, compiled when first
used. They are many times as fast because an image never leaves the cache, or the block of threads
that works on it; they also improve the start by a cycle on each coarser grid, and weigh the known
cells beside a hole by how much of them is known. The C function takes one step for all colours. To
start from the solution of a smaller mask of the same image would not help: it is 0.3 to 0.5 off
(rms, on images of unit variance), the start above 0.1 to 0.25. ``impute_exact`` factorises one
sparse matrix an image in float64; it is slow and is what everything else is measured against
(``benchmarks/imputation.py``). None adds noise unless it is given.

In the torch engine a batch is a tensor ``[C, h, w, B]``, so that the images, not the pixels, are
the contiguous dimension and every step runs over whole vectors at any image size. A mask
``[1, h, w, B]`` serves all colours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
import torch.nn.functional as F
from torch import Tensor

from sycam.errors import DataError, OptionError
from sycam.metrics.cuda import cuda_available, solve_cuda
from sycam.metrics.native import native_available, solve_native

STENCIL = ((1 / 12, 1 / 6, 1 / 12), (1 / 6, 0.0, 1 / 6), (1 / 12, 1 / 6, 1 / 12))
"""The weights of the eight neighbours, ``([1 2 1] x [1 2 1] - 4 at the centre) / 12``."""

MAX_CYCLES = 60
"""A bound that no item should reach: a cycle reduces the error three- to fourfold."""

CONTRACTION = (0.3, 0.9)
"""What is believed of the measured factor by which a cycle shrinks the update. With that factor
r, an item is finished when its last update times r / (1 - r), the sum of all updates still to
come, is at most the tolerance. Updates are measured in the energy norm: in two dimensions it does
not depend on the size of a hole, only on how much the values in it changed, and bounds nearly
every pixel (checked by the tests). Along a strip it shrinks as ``_aspect`` says."""

THIN = 64
"""The longer side over the shorter from which on the torch engine serves: along a line Jacobi does
not smooth, and at 2x2000 the cycle of the compiled engines, with a larger last grid, fails."""

SINGLE_PRECISION = 2e-4
"""Where the tolerance is a smaller share of the images' largest value, float32 images are solved in
float64: rounding alone reaches 7e-5 of it in the large holes of a 224x224 image, and more where all
values have an offset, as grey values from 0 to 255 have."""

CHUNK_VALUES = {"cpu": 800_000, "other": 64_000_000}
"""Values (C*B*H*W) that the torch engine solves together: on a CPU what stays in the caches,
elsewhere what fills the device."""

MIN_CHUNK = 16
"""Images solved together at least: they are the innermost dimension, so whole vectors."""


def impute(
    images: Tensor,
    removed: Tensor,
    *,
    index: Tensor | None = None,
    tolerance: float = 1e-2,
    native: bool = False,
    noise: Tensor | None = None,
    largest: float | None = None,
) -> Tensor:
    """Fill the removed pixels, within ``tolerance`` of the exact solution.

    What is measured, on ROAD masks of smooth heatmaps and images of unit variance: the 99.9 %
    quantile of the absolute error is below ``tolerance``, its root mean square below a fifth of
    it. It is no proven bound on every pixel. Every item is iterated until it is done, whatever
    else is in the batch. The result is deterministic for one engine, device and thread count.

    Args:
        images: ``[N, C, H, W]`` float32 or float64, H and W at least 2; what it holds at removed
            places is not read.
        removed: ``[B, H, W]`` bool, True where the pixel is missing; at least one pixel of each
            image is known.
        index: ``[B]`` int64, which image each mask is of; each of its own if None.
        tolerance: the error aimed at, in the unit of the images. Float32 images are solved in
            float64 where it is less than 2e-4 of the largest value.
        native: use the compiled engine of the device. The first such call in a process compiles
            for about a second, so it pays from some thousands of images on. Where there is none
            (no C compiler, a device that is neither a CPU nor CUDA), and for images more than 64
            times as long as wide, the torch engine serves; they agree within the tolerance.
        noise: like ``images``, added to the removed pixels once they are filled.
        largest: that value, at most; found among the known pixels if None.

    Returns:
        ``[B, C, H, W]``: the known pixels bit for bit, the removed ones filled.

    Raises:
        DataError: shapes, dtypes or devices do not fit, ``index`` names no image, or an image has
            no known pixel.
        OptionError: the tolerance is not positive.

    Example:
        >>> images = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> removed = torch.zeros(1, 4, 4, dtype=torch.bool)
        >>> removed[0, 1:3, 1:3] = True
        >>> impute(images, removed, tolerance=1e-4)[0, 0, 1, 1:3].round(decimals=2)
        tensor([5., 6.])
    """
    if index is None:
        index = torch.arange(len(removed), device=removed.device)
        _check(images, removed, len(images))
    else:
        _check(images, removed, len(index))
    if not tolerance > 0:
        raise OptionError(f"tolerance must be positive, not {tolerance!r}")
    _check_rows(images, index, noise)
    if largest is None:
        largest = float(images.abs().max()) if len(index) else 0.0
        if not tolerance >= SINGLE_PRECISION * largest:  # it may be a removed pixel's
            largest = _largest(images, removed, index)
    precise = images.dtype == torch.float64 or tolerance < SINGLE_PRECISION * largest
    dtype = torch.float64 if precise else torch.float32
    solve = _compiled(images, dtype) if native else None
    with torch.no_grad():
        if solve is None:
            return _by_torch(images.index_select(0, index), removed, tolerance, dtype, noise, index)
        filled, sound = solve(
            images.to(dtype),
            removed,
            index,
            tolerance * _aspect(images),
            CONTRACTION,
            MAX_CYCLES,
            noise,
        )
        if sound < len(removed):
            raise _nothing_known(removed)
        if dtype == images.dtype:
            return filled
        return torch.where(removed[:, None], filled.to(images), images.index_select(0, index))


def _largest(images: Tensor, removed: Tensor, index: Tensor) -> float:
    """The largest absolute value of a known pixel; 0 where there is none that is finite."""
    found = 0.0
    for part in torch.arange(len(removed), device=images.device).split(MIN_CHUNK):
        known = images.index_select(0, index[part]).masked_fill(removed[part].unsqueeze(1), 0)
        found = max(found, float(known.nan_to_num(0, 0, 0).abs().max()))
    return found


def _compiled(images: Tensor, dtype: torch.dtype) -> Callable[..., tuple[Tensor, int]] | None:
    """The compiled engine for these images, or None where there is none."""
    if max(images.shape[2:]) > THIN * min(images.shape[2:]):
        return None
    if images.device.type == "cpu" and native_available(dtype):
        return solve_native
    if images.device.type == "cuda" and cuda_available(images.device, dtype):
        return solve_cuda
    return None


def _by_torch(
    images: Tensor,
    removed: Tensor,
    tolerance: float,
    dtype: torch.dtype,
    noise: Tensor | None,
    index: Tensor,
) -> Tensor:
    """An image a mask, filled in chunks by the torch engine."""
    _check_known(removed)
    filled = torch.empty_like(images, memory_format=torch.contiguous_format)
    for part in _chunks(images):
        filled[part] = _solve(images[part].to(dtype), removed[part], tolerance)
    if noise is not None:
        filled += noise.to(filled).index_select(0, index)
    return torch.where(removed.unsqueeze(1), filled, images)


def _check(images: Tensor, removed: Tensor, count: int) -> None:
    if images.ndim != 4 or images.dtype not in (torch.float32, torch.float64):
        raise DataError(
            "images to impute must be a float32 or float64 tensor [B, C, H, W], not "
            f"{images.dtype} {list(images.shape)}"
        )
    if min(images.shape[2:]) < 2:
        raise DataError(f"images to impute must be at least 2x2, not {list(images.shape)}")
    expected = (count, *images.shape[2:])
    if removed.dtype != torch.bool or tuple(removed.shape) != expected:
        raise DataError(
            f"removed must be a bool tensor [B, H, W] = {list(expected)}, True where a pixel is "
            f"missing, not {removed.dtype} {list(removed.shape)}"
        )
    if removed.device != images.device:
        raise DataError(f"images are on {images.device}, removed on {removed.device}: use one")


def _check_rows(images: Tensor, index: Tensor, noise: Tensor | None) -> None:
    """The compiled engines read at these places unchecked."""
    if index.dtype != torch.int64 or index.ndim != 1 or index.device != images.device:
        raise DataError(
            f"index must be an int64 tensor [B] on {images.device}, not {index.dtype} "
            f"{list(index.shape)} on {index.device}"
        )
    if bool(((index < 0) | (index >= len(images))).any()):
        raise DataError(f"index must name images 0 to {len(images) - 1}, not {index.tolist()}")
    if noise is not None and (noise.shape != images.shape or noise.device != images.device):
        raise DataError(
            f"noise must be like the images, {list(images.shape)} on {images.device}, not "
            f"{list(noise.shape)} on {noise.device}"
        )


def _check_known(removed: Tensor) -> None:
    if bool(removed.flatten(1).all(1).any()):
        raise _nothing_known(removed)


def _nothing_known(removed: Tensor) -> DataError:
    first = int(removed.flatten(1).all(1).int().argmax())
    return DataError(
        f"image {first} has no known pixel, so nothing determines the removed ones; keep at "
        "least one"
    )


def _chunks(images: Tensor) -> list[slice]:
    """Slices of the batch that are solved together, of nearly equal size."""
    count, *rest = images.shape
    values = CHUNK_VALUES.get(images.device.type, CHUNK_VALUES["other"])
    largest = max(MIN_CHUNK, values // max(1, int(np.prod(rest))))
    parts = max(1, -(-count // largest))
    size = max(1, -(-count // parts))
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


# --- The torch engine --------------------------------------------------------------------------


def _neighbour_mean(x: Tensor) -> Tensor:
    """The weighted sum of the neighbours of every pixel; outside the image counts zero."""
    if x.dtype == torch.float64 and x.device.type == "cpu":
        # torch has no fast depthwise convolution for that; the stencil is separable.
        total = _one_two_one(_one_two_one(x, 1), 2)
        return total.sub_(x, alpha=4).div_(12)
    batch = x.shape[-1]
    weight = x.new_tensor(STENCIL).repeat(batch, 1, 1, 1)
    return _pixels_first(F.conv2d(_images_first(x), weight, padding=1, groups=batch))


def _one_two_one(x: Tensor, dim: int) -> Tensor:
    """``x[i - 1] + 2 x[i] + x[i + 1]`` along one dimension."""
    size = x.shape[dim] - 1
    total = x * 2
    total.narrow(dim, 1, size).add_(x.narrow(dim, 0, size))
    total.narrow(dim, 0, size).add_(x.narrow(dim, 1, size))
    return total


def _images_first(x: Tensor) -> Tensor:
    """``[C, h, w, B]`` seen as ``[C, B, h, w]`` in channels-last memory: no copy."""
    return x.permute(0, 3, 1, 2)


def _pixels_first(x: Tensor) -> Tensor:
    """The inverse of ``_images_first``; copies only if an operation lost the layout."""
    return x.permute(0, 2, 3, 1).contiguous()


def _sum_cells(x: Tensor) -> Tensor:
    """The sums over 2x2 cells, halved sides rounded up."""
    return _pixels_first(F.avg_pool2d(_images_first(x), 2, ceil_mode=True, divisor_override=1))


def _interpolate(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear interpolation between cell centres, to the size of ``like``."""
    fine = F.interpolate(_images_first(x), scale_factor=2, mode="bilinear", align_corners=False)
    return fine.permute(0, 2, 3, 1)[:, : like.shape[1], : like.shape[2]]


def _per_item_sum(x: Tensor) -> Tensor:
    """``[C, h, w, B]`` -> ``[C, 1, 1, B]``; rows first, which runs along contiguous memory."""
    return x.sum(1, keepdim=True).sum(2, keepdim=True)


def _diagonal(like: Tensor) -> Tensor:
    """``[1, h, w, 1]``: the sum of the weights of the neighbours inside the image."""
    height, width = like.shape[1:3]
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
    while min(missing.shape[1:3]) > 2 or max(missing.shape[1:3]) > 8:
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
    where the same stencil asks for four times as much; along a line a cell has two members only.
    """
    level, coarser = levels[0], levels[1:]
    error = residual * level.inverse
    if coarser:
        rest = _sum_cells(_neighbour_mean(error).mul_(level.missing))
        if min(residual.shape[1:3]) == 1:
            rest *= 2
        error.addcmul_(level.missing, _interpolate(_cycle(rest, coarser), error))
    for _ in range(1 if coarser else 3):
        error = _neighbour_mean(error).add_(residual).mul_(level.inverse)
    return error


def _aspect(images: Tensor) -> float:
    """The energy norm of a change by 1 that fades along the longer side of the image."""
    shorter, longer = sorted(images.shape[2:])
    return (shorter / longer) ** 0.5


def _solve(images: Tensor, removed: Tensor, tolerance: float) -> Tensor:
    """Conjugate gradients, each colour of each item with its own steps; returns ``images``' shape.

    Finished items keep their value: when half of the batch is finished it is set aside.
    """
    missing = removed.permute(1, 2, 0).unsqueeze(0).to(images.dtype).contiguous()
    levels = _hierarchy(missing)
    known = images.permute(1, 2, 3, 0).contiguous().masked_fill_(missing.bool(), 0)
    answer = x = _first_guess(known, levels)
    diagonal = _diagonal(x)
    residual = (_neighbour_mean(x) - diagonal * x).mul_(missing)
    direction, product = torch.zeros_like(x), torch.zeros_like(x)
    energy = x.new_ones(x.shape[0], 1, 1, x.shape[3])
    tiny, limit = torch.finfo(x.dtype).tiny, tolerance * _aspect(images)
    active = torch.ones_like(energy, dtype=torch.bool)
    change = torch.zeros_like(energy)
    here = torch.arange(x.shape[3], device=x.device)
    for _ in range(MAX_CYCLES):
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
        ratio = (change / before.clamp(min=tiny)).clamp_(*CONTRACTION)
        active &= change * ratio / (1 - ratio) > limit
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
    return answer.permute(3, 0, 1, 2)


# --- The reference -----------------------------------------------------------------------------


def impute_exact(images: Tensor, removed: Tensor) -> Tensor:
    """Fill the removed pixels by one sparse factorisation an image, in float64 on the CPU.

    Args:
        images: ``[B, C, H, W]`` float; what it holds at removed places is not read.
        removed: ``[B, H, W]`` bool, True where the pixel is missing; at least one pixel of each
            image is known.

    Returns:
        ``[B, C, H, W]`` in the dtype and on the device of the images.

    Raises:
        DataError: as ``impute``.
    """
    _check(images, removed, len(images))
    _check_known(removed)
    count, colours, height, width = images.shape
    laplacian = _laplacian(height, width)
    filled = images.clone(memory_format=torch.contiguous_format)
    for item in range(count):
        mask = removed[item].flatten()
        missing = mask.cpu().numpy()
        if not missing.any():
            continue
        flat = images[item].reshape(colours, -1)
        known = flat[:, ~mask].cpu().double().numpy()
        rows = laplacian[missing]
        # The matrix is symmetric: an ordering for that halves the fill-in.
        factors = scipy.sparse.linalg.splu(
            rows[:, missing].tocsc(),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        solution = factors.solve(-(rows[:, ~missing] @ known.T)).T
        filled[item].reshape(colours, -1)[:, mask] = torch.from_numpy(solution).to(images)
    return filled


def _laplacian(height: int, width: int) -> scipy.sparse.csr_matrix:
    """Row i: the sum of the weights of i's neighbours inside the image, minus those weights."""
    index = np.arange(height * width).reshape(height, width)
    pairs: list[tuple[np.ndarray, np.ndarray, float]] = []
    for down, right, weight in ((0, 1, 1 / 6), (1, 0, 1 / 6), (1, 1, 1 / 12), (1, -1, 1 / 12)):
        here = index[: height - down, max(0, -right) : width - max(0, right)].ravel()
        there = index[down:, max(0, right) : width - max(0, -right)].ravel()
        pairs += [(here, there, weight), (there, here, weight)]
    rows, columns = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
    weights = np.concatenate([np.full(len(pair[0]), pair[2]) for pair in pairs])
    size = height * width
    adjacency = scipy.sparse.csr_matrix((weights, (rows, columns)), shape=(size, size))
    degrees = np.asarray(adjacency.sum(1)).ravel()
    return (scipy.sparse.diags(degrees) - adjacency).tocsr()
