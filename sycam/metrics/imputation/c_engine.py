"""The imputer's compiled engine: ``imputation.c``."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sycam.support.compiling.compiled_c import CLibrary, c_library

C_TYPES = {torch.float32: "float", torch.float64: "double"}
TOGETHER = 4  # colours that are solved together, at most
CACHE = 1_000_000  # bytes of seven fields of all colours, beyond which they are solved one by one


def native_available(
    shape: Sequence[int] = (3, 64, 64), dtype: torch.dtype = torch.float32
) -> bool:
    """Whether the compiled engine can be used here for images of a shape ``[C, H, W]``; where it
    did not come with the package, it is compiled when first asked (a second)."""
    return _function(dtype, _together(shape, dtype)) is not None


def _together(shape: Sequence[int], dtype: torch.dtype) -> int:
    """How many colours are solved at once: one, where there is no library for as many."""
    fits = 7 * dtype.itemsize * math.prod(shape) <= CACHE
    together = shape[0] if fits and shape[0] <= TOGETHER else 1
    return together if imputation_library(dtype, together) else 1


def imputation_library(dtype: torch.dtype = torch.float32, together: int = 3) -> CLibrary | None:
    """``imputation.c`` for a dtype and colours that are solved together, or None."""
    return c_library(__package__, "imputation", f"REAL={C_TYPES[dtype]}", f"COLOURS={together}")


@functools.cache
def _function(dtype: torch.dtype, together: int) -> Callable[..., int] | None:
    if (library := imputation_library(dtype, together)) is None:
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
    steps = _function(images.dtype, _together(shape[1:], images.dtype))(
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
    if steps < 0:
        raise MemoryError("no memory left to impute")
    return filled, steps
