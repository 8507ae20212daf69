"""The imputer's CUDA engine: ``imputation.cu``, compiled by torch when it is first used."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.resources import files

import torch
from torch import Tensor

from sycam.metrics.imputation.c_engine import C_TYPES

LEVELS = 16  # grids that the kernel holds, at most; each halves the sides
COARSEST, LONGEST = 8, 32  # cells along the shorter and the longer side of the last grid, at most
STRIP = 4  # cells that a thread works on at once
THREADS = ((48 * 48, 128), (128 * 128, 256))  # of a block, by the pixels below which it suffices
MOST_THREADS = 512
RESIDENT = 1024  # threads a multiprocessor holds, as each takes 64 registers
KEPT = {torch.float32: 2, torch.float64: 8}  # bytes a cell of all fields but the values
TESTED = (2, 11)  # of torch; early launchers hand a kernel its doubles as floats
SHARE = 1 / 8  # of the GPU's memory for the workspaces of all blocks


def cuda_source(dtype: torch.dtype = torch.float32) -> str:
    """The kernel's text for float32 or float64."""
    text = files(__package__).joinpath("imputation.cu").read_text(encoding="utf-8")
    halves = "#define HALVES\n" if KEPT[dtype] == 2 else ""
    return f"#define REAL {C_TYPES[dtype]}\n{halves}{text}"


def cuda_available(device: torch.device, dtype: torch.dtype = torch.float32) -> bool:
    """Whether the engine can be used on a device; compiles it when first asked (a second)."""
    return torch.cuda.is_available() and _kernel(dtype, device) is not None


@functools.cache
def _kernel(dtype: torch.dtype, device: torch.device) -> Callable[..., None] | None:
    """The kernel compiled for a dtype and loaded on a device, or None where torch cannot do it."""
    if torch.__version__ < TESTED:
        return None
    try:
        # Not public, but the one way to a kernel without a CUDA toolkit on the machine; torch
        # operations serve where it is missing or changed.
        with torch.cuda.device(device):
            return torch.cuda._compile_kernel(cuda_source(dtype), "impute")
    except Exception:  # whatever the compiler or the driver says
        return None


def workspace(height: int, width: int, dtype: torch.dtype) -> int:
    """Bytes that a block of threads needs: the fields of all grids, as the kernel lays them out.

    A multiple of 16.
    """
    size, level = 0, 0
    while True:
        strips, row = 2 * -(-height // (2 * STRIP)), width + 2
        places = row * (strips * STRIP + 2)
        cell = dtype.itemsize + (4 if level else 5) * KEPT[dtype]
        size += places * cell + -(-strips * row // 16) * 16
        small = min(height, width) <= COARSEST and max(height, width) <= LONGEST and level
        if small or level == LEVELS - 1:
            return -(-size // 16) * 16
        height, width, level = (height + 1) // 2, (width + 1) // 2, level + 1


def solve_cuda(
    images: Tensor,
    removed: Tensor,
    rows: Tensor,
    tolerance: float,
    contraction: tuple[float, float],
    cycles: int,
    noise: Tensor | None = None,
) -> tuple[Tensor, int]:
    """Fill the removed pixels, a block of threads for each colour of each image.

    Args:
        images: ``[N, C, H, W]`` float32 or float64, on a CUDA device.
        removed: ``[B, H, W]`` bool.
        rows: ``[B]`` int64, which image each mask is of.
        tolerance: of the update in the energy norm.
        contraction: least and most factor by which a cycle is believed to shrink the update.
        cycles: at most.
        noise: like ``images``, added to removed pixels.

    Returns:
        ``[B, C, H, W]``, the known pixels bit for bit; and B, or the place of the first mask found
        to leave no known pixel.
    """
    images, removed, rows = images.contiguous(), removed.contiguous(), rows.contiguous()
    noise = images if noise is None else noise.to(images.dtype).contiguous()
    count, (colours, height, width) = len(removed), images.shape[1:]
    filled = images.new_empty(count, colours, height, width)
    sound = torch.full((1,), count, dtype=torch.int32, device=images.device)
    pixels = height * width
    threads = next((few for limit, few in THREADS if pixels < limit), MOST_THREADS)
    with torch.cuda.device(images.device):
        device = torch.cuda.get_device_properties(images.device)
        room = workspace(height, width, images.dtype)
        resident = device.multi_processor_count * RESIDENT // threads
        # Large images would fill the memory; a block takes one after the other.
        fits = int(device.total_memory * SHARE) // room
        blocks = max(1, min(count * colours, resident, fits))
        memory = torch.zeros(blocks * room, dtype=torch.uint8, device=images.device)
        _kernel(images.dtype, images.device)(
            grid=(blocks, 1, 1),
            block=(threads, 1, 1),
            args=[
                images,
                rows,
                removed,
                noise,
                filled,
                sound,
                memory,
                room // 16,
                count,
                colours,
                height,
                width,
                int(noise is not images),
                float(tolerance),
                *map(float, contraction),
                cycles,
            ],
        )
    return filled, int(sound)
