"""Milliseconds an image to fill the pixels that ROAD removes: ours beside the alternatives.

``python benchmarks/imputation.py [--sizes 32,64,224] [--heatmaps 4] [--repeats 5] [--threads 1]``

The masks are those of ROAD on smooth random heatmaps (8x8, bilinearly enlarged): nine fractions,
most and least relevant first, on 3-colour images of unit variance with a natural (1/f) spectrum.
Errors are against the sparse factorisation in float64; ratio is its time over the row's. All rows
of a size are measured in turn, round by round, so that other load on the machine meets them alike.
With other load on the cores use one thread: torch's threads wait for each other after every
operation (measured: with two other busy processes on the two cores the torch engine took 1.7 ms
per image at 64x64 on one thread, 17 on two).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sycam.inference.freed_memory import keep_freed_memory
from sycam.metrics.imputation.impute import impute, impute_exact, native_available


def road_masks(heatmaps: int, side: int, seed: int = 0) -> Tensor:
    """``[heatmaps * 18, side, side]`` bool, True where removed."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(heatmaps, 1, 8, 8, generator=generator)
    heat = F.interpolate(coarse, (side, side), mode="bilinear").flatten(1)
    rank = heat.argsort(1).argsort(1).reshape(heatmaps, 1, side, side)
    pixels = side * side
    kept = torch.tensor([-(-q * (pixels - 1) // 100) for q in range(10, 100, 10)])
    kept = kept[None, :, None, None]
    return torch.cat([rank >= kept, rank < pixels - kept], 1).flatten(0, 1)


def natural_images(count: int, side: int, seed: int = 0) -> Tensor:
    """``[count, 3, side, side]``: noise with a 1/f spectrum, zero mean, unit variance."""
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.fft.fftfreq(side).square()
    radius = (frequency[:, None] + frequency).sqrt().clamp_min(1 / side)
    noise = torch.randn(count, 3, side, side, generator=generator)
    images = torch.fft.ifft2(torch.fft.fft2(noise) / radius).real
    images = images - images.mean((2, 3), keepdim=True)
    return images / images.std((2, 3), keepdim=True)


def conjugate_gradients(images: Tensor, removed: Tensor, cycles: int) -> Tensor:
    """The same system without preconditioner, all images at once, from zero."""
    missing = removed.unsqueeze(1).to(images.dtype)

    def neighbour_mean(x: Tensor) -> Tensor:
        total = x
        for dim in (2, 3):
            before, size = total, total.shape[dim] - 1
            total = before * 2
            total.narrow(dim, 1, size).add_(before.narrow(dim, 0, size))
            total.narrow(dim, 0, size).add_(before.narrow(dim, 1, size))
        return total.sub_(x, alpha=4).div_(12)

    diagonal = neighbour_mean(torch.ones_like(images[:1, :1]))

    def apply(x: Tensor) -> Tensor:
        return neighbour_mean(x).neg_().addcmul_(diagonal, x).mul_(missing)

    x = images * (1 - missing)
    residual = -apply(x)
    direction = residual
    square = residual.square().sum((2, 3), keepdim=True)
    for _ in range(cycles):
        product = apply(direction)
        step = square / (direction * product).sum((2, 3), keepdim=True).clamp_min(1e-30)
        x, residual = x + step * direction, residual - step * product
        before, square = square, residual.square().sum((2, 3), keepdim=True)
        direction = residual + square / before.clamp_min(1e-30) * direction
    return x


def measure(side: int, heatmaps: int, repeats: int) -> None:
    removed = road_masks(heatmaps, side)
    images = natural_images(heatmaps, side).repeat_interleave(18, 0)
    # Iterations grow with the width of the holes; this many bring the error to about 1e-2.
    cycles = round(1.2 * side)
    rows: dict[str, Callable[[], Tensor]] = {
        "ours, native": lambda: impute(images, removed, native=True),
        "ours, torch": lambda: impute(images, removed),
        f"conjugate gradients ({cycles})": lambda: conjugate_gradients(images, removed, cycles),
        "sparse factorisation": lambda: impute_exact(images, removed),
    }
    if not native_available():
        del rows["ours, native"]
    exact = impute_exact(images.double(), removed)
    times: dict[str, list[float]] = {name: [] for name in rows}
    results = {}
    for turn in range(repeats + 1):
        for name, fill in rows.items():
            slow = name == "sparse factorisation"
            if slow and turn > 2:
                continue
            start = time.perf_counter()
            results[name] = fill()
            if turn or slow:  # the first turn warms the others up
                times[name].append((time.perf_counter() - start) / len(images) * 1e3)
    reference = statistics.median(times["sparse factorisation"])
    print(f"\n{side}x{side}x3, {len(images)} masks{'ms/image':>24} {'ratio':>8}  rms      99.9 %")
    for name in rows:
        median = statistics.median(times[name])
        error = (results[name] - exact).abs().amax(1)[removed]
        rank = int(0.999 * (error.numel() - 1)) + 1
        print(
            f"{name:<36} {median:>9.3f} {reference / median:>8.1f}  "
            f"{error.square().mean().sqrt():.1e}  {error.kthvalue(rank).values:.1e}"
        )


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="32,64,224")
    parser.add_argument("--heatmaps", type=int, default=4, help="18 masks each (224: a quarter)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    keep_freed_memory()  # as scoring does
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, tolerance 0.01")
    for side in map(int, options.sizes.split(",")):
        heatmaps = options.heatmaps if side < 128 else max(1, options.heatmaps // 4)
        measure(side, heatmaps, options.repeats)


if __name__ == "__main__":
    main()
