"""The imputer's compiled engine: ``imputation.c``, for machines with a C compiler."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import torch
from torch import Tensor

from sycam.metrics.c_code import c_library

C_TYPES = {torch.float32: "float", torch.float64: "double"}


def native_available(dtype: torch.dtype = torch.float32) -> bool:
    """Whether the compiled engine can be used here; compiles it when first asked (a second)."""
    return _function(dtype) is not None


@functools.cache
def _function(dtype: torch.dtype) -> Callable[..., int] | None:
    """The compiled solver for a dtype, or None where there is no compiler."""
    library = c_library("imputation", f"REAL={C_TYPES[dtype]}")
    if library is None:
        return None
    function = library.impute
    function.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_int] * 4
    function.argtypes += [ctypes.c_double] * 3 + [ctypes.c_int] * 2
    function.restype = ctypes.c_int
    return function


def solve_native(
    images: Tensor,
    removed: Tensor,
    rows: Tensor,
    tolerance: float,
    contraction: tuple[float, float],
    cycles: int,
    noise: Tensor | None = None,
) -> tuple[Tensor, int]:
    """Fill the removed pixels, one mask after the other on as many threads as torch uses.

    Args:
        images: ``[N, C, H, W]`` float32 or float64, on the CPU.
        removed: ``[B, H, W]`` bool.
        rows: ``[B]`` int64, which image each mask is of.
        tolerance: of the update in the energy norm.
        contraction: least and most factor by which a cycle is believed to shrink the update.
        cycles: at most.
        noise: like ``images``, added to removed pixels.

    Returns:
        ``[B, C, H, W]``, the known pixels bit for bit, in channels-last memory as networks like it;
        and B, or the place of the first mask found to leave no known pixel.
    """
    images, removed, rows = images.contiguous(), removed.contiguous(), rows.contiguous()
    shape = len(removed), *images.shape[1:]
    filled = torch.empty(shape, dtype=images.dtype, memory_format=torch.channels_last)
    noise = None if noise is None else noise.to(images.dtype).contiguous()
    threads = max(1, min(torch.get_num_threads(), len(removed)))
    found = _function(images.dtype)(
        images.data_ptr(),
        removed.data_ptr(),
        None if noise is None else noise.data_ptr(),
        rows.data_ptr(),
        filled.data_ptr(),
        *shape,
        tolerance,
        *contraction,
        cycles,
        threads,
    )
    if found < 0:
        raise MemoryError("no memory left to impute")
    return filled, found
