"""Fill the removed pixels of many images, or volumes, by the ROAD linear system (Rong et al. 2022).

A missing pixel i is the weighted mean of its neighbours: ``sum_j w_ij (x_j - x_i) = 0`` over the
neighbours inside the image, w = 1/6 for the four nearest and 1/12 for the four diagonal ones,
with the known pixels fixed. On the missing pixels that is a symmetric positive definite system
(a discrete Laplace equation) as soon as one pixel of the image is known. With none known the
system is singular (any constant solves it; the reference implementation returns NaN, or a
constant made of rounding errors), so that is refused.

The paper defines images; volumes are ours. Its weights are those of ``[1 2 1] x [1 2 1]`` without
the centre, so a voxel's 26 neighbours have those of ``[1 2 1] x [1 2 1] x [1 2 1]``: 1/14 for the
six faces, 1/28 for the twelve edges, 1/56 for the eight corners, half as much for each step
sideways, as in the plane. A volume of equal slices under a mask of equal slices is therefore filled
as its slice is. Voxels count as cubes: resample what is sampled otherwise along one axis.

``impute`` solves all images of a batch by conjugate gradients, preconditioned by one multigrid
cycle and started from averages of ever coarser cells (pull, push). There are three engines: torch
operations, on any device, and (``native=True``) a C function and a CUDA kernel, compiled when first
used. They are many times as fast because an image never leaves the cache, or the block of threads
that works on it; they also improve the start by a cycle on each coarser grid, and weigh the known
cells beside a hole by how much of them is known. The C function takes one step for all colours of a
small image. To start from the solution of a smaller mask of the same image would not help: it is
0.3 to 0.5 off (rms, on images of unit variance), the start above 0.1 to 0.25. ``impute_exact``
factorises one sparse matrix an image in float64; it is slow and is what everything else is measured
against (``benchmarks/imputation.py``). None adds noise unless it is given.

For volumes there are the torch engine and the factorisation, whose fill-in grows fast. On one core
and for one mask, the torch engine took 2 ms at 8x12x12 voxels, 50 ms at 32x32x32 and half a second
at 64x64x64; the factorisation 0.4 s at 16x16x16 and 3 s at 24x24x24.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor

from sycam.errors import DataError, OptionError
from sycam.metrics.imputation.c_engine import native_available, solve_native
from sycam.metrics.imputation.cuda_engine import cuda_available, solve_cuda
from sycam.metrics.imputation.torch_engine import MIN_CHUNK, solve_torch

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
    it. It is no proven bound on every pixel; in a volume of which a voxel or two are known errors
    of four times the tolerance were seen. Every item is iterated until it is done, whatever
    else is in the batch. The result is deterministic for one engine, device and thread count.

    Args:
        images: ``[N, C, H, W]`` float32 or float64, or volumes ``[N, C, D, H, W]``, each side at
            least 2; what it holds at removed places is not read.
        removed: ``[B, H, W]`` (``[B, D, H, W]``) bool, True where the pixel is missing; at least
            one pixel of each image is known.
        index: ``[B]`` int64, which image each mask is of; each of its own if None.
        tolerance: the error aimed at, in the unit of the images. Float32 images are solved in
            float64 where it is less than 2e-4 of the largest value.
        native: use the compiled engine of the device. Where it did not come with the package, the
            first such call in a process compiles for about a second, so it pays from some
            thousands of images on. Where there is none (no C compiler either, a device that is
            neither a CPU nor CUDA), and for images more than 64 times as long as wide, and for
            volumes, the torch engine serves; they agree within the tolerance.
        noise: like ``images``, added to the removed pixels once they are filled.
        largest: that value, at most; found among the known pixels if None.

    Returns:
        ``[B, C, H, W]`` (``[B, C, D, H, W]``): the known pixels bit for bit, the removed ones
        filled.

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
        largest = largest_value(images)
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


def _aspect(images: Tensor) -> float:
    """The energy norm of a change by 1 that fades along the longest side, or in a single voxel."""
    *shorter, longest = sorted(images.shape[2:])
    return min(1.0, math.prod(shorter) / longest) ** 0.5


def largest_value(images: Tensor) -> float:
    """The largest absolute value of some images; 0 where there are none."""
    if not images.numel():
        return 0.0
    low, high = images.aminmax()
    return max(-float(low), float(high))


def _largest(images: Tensor, removed: Tensor, index: Tensor) -> float:
    """The largest absolute value of a known pixel; 0 where there is none that is finite."""
    largest = 0.0
    for part in torch.arange(len(removed), device=images.device).split(MIN_CHUNK):
        known = images.index_select(0, index[part]).masked_fill(removed[part].unsqueeze(1), 0)
        largest = max(largest, largest_value(known.nan_to_num(0, 0, 0)))
    return largest


def _compiled(images: Tensor, dtype: torch.dtype) -> Callable[..., tuple[Tensor, int]] | None:
    """The compiled engine for these images, or None where there is none."""
    if images.ndim == 5 or max(images.shape[2:]) > THIN * min(images.shape[2:]):
        return None
    if images.device.type == "cpu" and native_available(images.shape[1:], dtype):
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
    """An image a mask, filled by the torch engine."""
    _check_known(removed)
    filled = solve_torch(
        images, removed, tolerance * _aspect(images), CONTRACTION, MAX_CYCLES, dtype
    )
    if noise is not None:
        filled += noise.to(filled).index_select(0, index)
    return torch.where(removed.unsqueeze(1), filled, images)


def _check(images: Tensor, removed: Tensor, count: int) -> None:
    if images.ndim not in (4, 5) or images.dtype not in (torch.float32, torch.float64):
        raise DataError(
            "images to impute must be a float32 or float64 tensor [B, C, H, W] or, of volumes, "
            f"[B, C, D, H, W], not {images.dtype} {list(images.shape)}"
        )
    if min(images.shape[2:]) < 2:
        raise DataError(
            f"images to impute must be at least 2x2, volumes 2x2x2, not {list(images.shape)}"
        )
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


def impute_exact(images: Tensor, removed: Tensor) -> Tensor:
    """Fill the removed pixels by one sparse factorisation an image, in float64 on the CPU.

    Args:
        images: ``[B, C, H, W]`` float, or volumes ``[B, C, D, H, W]``; what it holds at removed
            places is not read.
        removed: ``[B, H, W]`` (``[B, D, H, W]``) bool, True where the pixel is missing; at least
            one pixel of each image is known.

    Returns:
        Like the images, in their dtype and on their device.

    Raises:
        DataError: as ``impute``.
    """
    _check(images, removed, len(images))
    _check_known(removed)
    count, colours = images.shape[:2]
    laplacian = _laplacian(images.shape[2:])
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


def _laplacian(shape: Sequence[int]) -> scipy.sparse.csr_matrix:
    """Row i: the sum of the weights of i's neighbours inside the image, minus those weights."""
    centre = 2 ** len(shape)
    # Per axis [1 2 1], which ends at the border: their product holds each pixel's neighbours.
    axes = [scipy.sparse.diags([1.0, 2.0, 1.0], [-1, 0, 1], shape=(n, n)) for n in shape]
    weights = functools.reduce(scipy.sparse.kron, axes)
    weights -= centre * scipy.sparse.eye(math.prod(shape))
    adjacency = weights.tocsr() / (4 ** len(shape) - centre)
    degrees = np.asarray(adjacency.sum(1)).ravel()
    return (scipy.sparse.diags(degrees) - adjacency).tocsr()
