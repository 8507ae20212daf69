"""The imputer's compiled engine: ``imputation.c``, built where there is a C compiler."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from importlib.resources import files
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

C_TYPES = {torch.float32: "float", torch.float64: "double"}
# No -ffast-math: linking with it would change the whole process's floating-point mode.
_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros",
          "-fassociative-math", "-shared", "-fPIC")  # fmt: skip
# The first that the compiler knows: gcc avoids the widest vectors unless asked; OpenMP finds the
# pool of threads that torch uses, so that no two pools wait actively on the same cores.
_TUNING = (("-fopenmp", "-mprefer-vector-width=512"), ("-fopenmp",), ())
_COMPILERS = ("cc", "gcc", "clang")


def native_available(dtype: torch.dtype = torch.float32) -> bool:
    """Whether the compiled engine can be used here; compiles it when first asked (a second)."""
    return _function(dtype) is not None


@functools.cache
def _function(dtype: torch.dtype) -> Callable[..., int] | None:
    """The compiled solver for a dtype, or None where that does not succeed.

    The library lives in a temporary folder only while it is loaded: nothing is cached on disk
    that another process could exchange.
    """
    text = files("sycam.metrics").joinpath("imputation.c").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source, library = Path(folder, "imputation.c"), Path(folder, "imputation.so")
        source.write_text(text, encoding="utf-8")
        for compiler, tuning in product(filter(None, map(shutil.which, _COMPILERS)), _TUNING):
            flags = (*_FLAGS, *tuning, f"-DREAL={C_TYPES[dtype]}")
            command = [compiler, *flags, source, "-o", library, "-lm"]
            try:
                subprocess.run(command, check=True, capture_output=True, timeout=60)
                function = ctypes.CDLL(str(library)).impute
            except (OSError, subprocess.SubprocessError, AttributeError):
                continue
            function.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_int] * 4
            function.argtypes += [ctypes.c_double] * 3 + [ctypes.c_int] * 2
            function.restype = ctypes.c_int
            return function
    return None


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
