"""The CUDA imputer: its kernel run as plain C, one thread a block; on a GPU, the engine itself."""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import pytest
import torch
from holes import road_masks, smooth_images, special_masks

from sycam.metrics.imputation.c_engine import C_TYPES
from sycam.metrics.imputation.cuda_engine import LEVELS, cuda_source, workspace
from sycam.metrics.imputation.impute import CONTRACTION, MAX_CYCLES, impute, impute_exact

ONE_THREAD = """
#include <math.h>
#include <stddef.h>
#define LANES 1
#define __device__
#define __global__
#define __shared__ static
#define __launch_bounds__(n)
#define __forceinline__ inline
#define __noinline__
#define __syncthreads()
#define __shfl_xor_sync(threads, x, lanes) (x)
static struct { int x; } threadIdx, blockIdx, blockDim = {1}, gridDim = {1};
static void atomicMin(int *a, int b) { if (b < *a) *a = b; }
"""


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """The kernel as a C function, by dtype."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        pytest.skip("no C compiler here")
    folder = tmp_path_factory.mktemp("kernel")
    found = {}
    for dtype, name in C_TYPES.items():
        source, library = folder / f"{name}.c", folder / f"{name}.so"
        source.write_text(ONE_THREAD + cuda_source(dtype))
        command = [
            compiler,
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wno-unknown-pragmas",
            "-shared",
            "-fPIC",
        ]
        subprocess.run([*command, source, "-o", library, "-lm"], check=True)
        found[dtype] = ctypes.CDLL(str(library)).impute
        found[dtype].argtypes = [ctypes.c_void_p] * 7 + [ctypes.c_int] * 6
        found[dtype].argtypes += [ctypes.c_double] * 3 + [ctypes.c_int]
    return found


def solve_serial(kernel, images, removed, rows, tolerance, noise=None):
    count, (colours, height, width) = len(removed), images.shape[1:]
    filled = images.new_full((count, colours, height, width), torch.nan)
    sound = torch.tensor([count], dtype=torch.int32)
    room = workspace(height, width, images.dtype)
    # Bytes after the workspace tell whether the kernel needs more than it says.
    memory = torch.zeros(room + 64, dtype=torch.uint8)
    memory[room:] = 171
    held = [images, rows, removed, images if noise is None else noise, filled, sound, memory]
    kernel[images.dtype](*(t.data_ptr() for t in held), room // 16, count, colours, height, width,
                         int(noise is not None), tolerance, *CONTRACTION, MAX_CYCLES)  # fmt: skip
    assert (memory[room:] == 171).all()
    return filled, int(sound)


@pytest.mark.parametrize(("tolerance", "dtype"), [(1e-2, torch.float32), (1e-5, torch.float64)])
@pytest.mark.parametrize(
    ("height", "width"),
    [(8, 8), (9, 8), (33, 47), (64, 64), (17, 100), (16, 4), (2, 128), (300, 7)],
)
def test_the_kernel_agrees_with_the_exact_solution(height, width, tolerance, dtype, serial):
    removed = torch.cat([road_masks(height, width), special_masks(height, width)])
    images = smooth_images(5, 2, height, width).to(dtype)
    rows = torch.arange(len(removed)) % 5
    limit = tolerance * (min(height, width) / max(height, width)) ** 0.5
    filled, sound = solve_serial(serial, images, removed, rows, limit)
    assert sound == len(removed)
    assert torch.equal(filled.where(~removed[:, None], 0), images[rows].where(~removed[:, None], 0))
    error = (filled - impute_exact(images[rows].double(), removed)).abs().amax(1)
    # A strip with one known end, 17x100, is at the limit: 1.05 times it here.
    assert error[removed].quantile(0.999) <= 1.1 * tolerance
    error = error[removed]
    assert error.max() <= 2 * tolerance
    assert error.square().mean().sqrt() <= tolerance / 4


def test_the_kernel_adds_noise_to_removed_pixels_and_names_what_has_no_known_one(serial):
    removed = torch.cat([road_masks(20, 24), special_masks(20, 24)])
    images, noise = smooth_images(3, 3, 20, 24), torch.randn(3, 3, 20, 24)
    rows = torch.arange(len(removed)) % 3
    plain, _ = solve_serial(serial, images, removed, rows, 1e-2)
    noisy, _ = solve_serial(serial, images, removed, rows, 1e-2, noise)
    torch.testing.assert_close(noisy, plain + removed[:, None] * noise[rows])
    removed[[3, 7]] = True
    found, sound = solve_serial(serial, images, removed, rows, 1e-2)
    assert sound == 3
    others = [i for i in range(len(removed)) if i not in (3, 7)]
    assert torch.equal(found[others], plain[others])


def test_an_image_that_is_not_finite_does_not_spoil_the_next(serial):
    removed = road_masks(20, 20)
    images = smooth_images(len(removed), 1, 20, 20)
    rows = torch.arange(len(removed))
    expected, _ = solve_serial(serial, images, removed, rows, 1e-2)
    images[4] = torch.nan
    found, _ = solve_serial(serial, images, removed, rows, 1e-2)
    others = rows != 4
    assert torch.equal(found[others], expected[others])


@pytest.mark.parametrize(("height", "width"), [(2, 2), (5, 3), (64, 1024), (4096, 4096)])
def test_the_kernel_has_room_for_all_its_grids(height, width):
    sides, levels = (height, width), 1
    while min(sides) > 8 or max(sides) > 32:
        sides, levels = tuple(-(-side // 2) for side in sides), levels + 1
    assert levels <= LEVELS
    assert workspace(height, width, torch.float32) < 2**31


@pytest.mark.gpu
@pytest.mark.parametrize("side", [32, 97, 224])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-5])
def test_the_engine_agrees_with_the_exact_solution_on_a_gpu(side, tolerance):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    removed = torch.cat([road_masks(side, side), special_masks(side, side)])
    images = smooth_images(4, 3, side, side)
    index = torch.arange(len(removed)) % 4
    given = images.cuda(), removed.cuda()
    found = impute(*given, index=index.cuda(), tolerance=tolerance, native=True)
    again = impute(*given, index=index.cuda(), tolerance=tolerance, native=True)
    assert torch.equal(found, again)
    error = (found.cpu() - impute_exact(images[index].double(), removed)).abs().amax(1)
    road = error[:18][removed[:18]]
    assert road.quantile(0.999) <= tolerance
    assert road.square().mean().sqrt() <= tolerance / 4
    # Of a single known row the engine stops early: it judges each colour alone.
    assert error.max() <= 2 * tolerance
