"""The imputer's compiled engine: ``imputation.c``, built where there is a C compiler."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

_C_TYPES = {torch.float32: "float", torch.float64: "double"}
# No -ffast-math: linking with it would change the whole process's floating-point mode.
_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros",
          "-fassociative-math", "-shared", "-fPIC")  # fmt: skip


def native_available(dtype: torch.dtype = torch.float32) -> bool:
    """Whether the compiled engine can be used here; compiles it when first asked (a second)."""
    return _function(dtype) is not None


@functools.cache
def _function(dtype: torch.dtype) -> Callable[..., int] | None:
    """The compiled solver for a dtype, or None where that does not succeed.

    The library lives in a temporary folder only while it is loaded: nothing is cached on disk
    that another process could exchange.
    """
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    text = files("sycam.metrics").joinpath("imputation.c").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source, library = Path(folder, "imputation.c"), Path(folder, "imputation.so")
        source.write_text(text, encoding="utf-8")
        command = [compiler, *_FLAGS, f"-DREAL={_C_TYPES[dtype]}", source, "-o", library, "-lm"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            function = ctypes.CDLL(str(library)).impute
        except (OSError, subprocess.SubprocessError, AttributeError):
            return None
    function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int] * 4
    function.argtypes += [ctypes.c_double] * 3 + [ctypes.c_int]
    function.restype = ctypes.c_int
    return function


def solve_native(
    images: Tensor,
    removed: Tensor,
    tolerance: float,
    contraction: tuple[float, float],
    cycles: int,
) -> Tensor:
    """Fill the removed pixels, one image after the other on each of torch's threads.

    Args:
        images: ``[B, C, H, W]`` float32 or float64, on the CPU.
        removed: ``[B, H, W]`` bool.
        tolerance: of the update in the energy norm.
        contraction: least and most factor by which a cycle is believed to shrink the update.
        cycles: at most.

    Returns:
        ``[B, C, H, W]``, the known pixels bit for bit.
    """
    images, removed = images.contiguous(), removed.contiguous()
    filled = torch.empty_like(images)
    count, colours, height, width = images.shape
    function = _function(images.dtype)
    threads = max(1, min(torch.get_num_threads(), count))
    share = max(1, -(-count // (4 * threads)))

    def work(start: int) -> int:
        end = min(start + share, count)
        fields = (t[start:end].data_ptr() for t in (images, removed, filled))
        return function(
            *fields, end - start, colours, height, width, tolerance, *contraction, cycles
        )

    # ctypes lets go of the interpreter lock, so plain threads run at the same time.
    with ThreadPoolExecutor(threads) as pool:
        if any(pool.map(work, range(0, count, share))):
            raise MemoryError("no memory left to impute")
    return filled
