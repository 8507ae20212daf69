"""3x3 convolutions by minimal filtering beside torch's, each with the rectifier that follows.

    python benchmarks/convolutions.py [--threads 2] [--images 64]

Medians of rounds in turn, microseconds an image, and the largest error against float64.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import nn

from sycam.inference.acceleration import keep_freed_memory
from sycam.inference.winograd import MinimalConvolution

LAYERS = ((16, 16, 32), (32, 32, 16), (64, 64, 8), (48, 48, 8), (64, 64, 56), (128, 128, 28))
ROUNDS = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--images", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    keep_freed_memory()  # as scoring does
    print(f"torch {torch.__version__}, {options.threads} threads, batches of {options.images}")
    print(f"{'layer':>22}{'torch':>9}{'ours':>9}{'ratio':>8}{'torch off':>12}{'ours off':>12}")
    for channels, filters, side in LAYERS:
        plain = nn.Conv2d(channels, filters, 3, padding=1).requires_grad_(False)
        plain.to(memory_format=torch.channels_last)
        ours = MinimalConvolution(plain)
        x = torch.randn(options.images, channels, side, side)
        x = x.contiguous(memory_format=torch.channels_last)
        works = {
            "torch": lambda plain=plain, x=x: plain(x).relu_(),
            "ours": lambda ours=ours, x=x: ours(x, None, True),
        }
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(ROUNDS):
            for name, work in works.items():
                started = time.perf_counter()
                work()
                times[name].append((time.perf_counter() - started) / options.images * 1e6)
        exact = nn.functional.conv2d(x.double(), plain.weight.double(), plain.bias.double(),
                                     padding=1).relu()  # fmt: skip
        off = {name: float((work() - exact).abs().max()) for name, work in works.items()}
        took = {name: statistics.median(found) for name, found in times.items()}
        print(f"{f'{channels} to {filters}, {side}x{side}':>22}{took['torch']:9.1f}"
              f"{took['ours']:9.1f}{took['torch'] / took['ours']:8.2f}{off['torch']:12.1e}"
              f"{off['ours']:12.1e}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
