"""What ROAD scoring costs: bare forward passes, ours, and pytorch-grad-cam's, in one run.

    python benchmarks/scoring.py [--network demo|FILE.py:FACTORY] [--layer NAME] [--images ...]

All three score the same heatmaps of the same images. Bare forward passes are those of the same
number of perturbed images, with the network eager and in the faster of its two memory layouts.
pytorch-grad-cam's ROADCombined (percentiles 10 to 90) sees fewer images, scaled to the same number.
Medians of repeated runs, side by side.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from pathlib import Path

import torch

from sycam.data.images import load_images
from sycam.inputs import demo_images
from sycam.kernels import heatmaps
from sycam.methods import find_method
from sycam.metrics import Road
from sycam.search import Scorer
from sycam.subject import Subject

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

FORMULAS = ("mean(G)", "G", "relu(G)", "sum(G * A) / sum(A)", "mean(relu(G)) * max(A)", "max(G)",
            "abs(G)", "topmean(A)")  # fmt: skip


def seconds(work, repeats: int) -> float:
    """Median wall-clock time of ``work``."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def bare_forward(subject: Subject, images: torch.Tensor, passes: int, batch: int) -> float:
    """Seconds for ``passes`` forward passes, in the faster memory layout."""
    network = subject.network.eval()
    block = images[torch.arange(batch) % len(images)]
    rounds = max(1, min(20, passes // batch))
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        pixels = block.contiguous(memory_format=layout)
        network = network.to(memory_format=layout)

        def work(network=network, pixels=pixels) -> None:
            with torch.inference_mode():
                for _ in range(rounds):
                    network(pixels)

        found.append(seconds(work, 3) / (rounds * batch) * passes)
    return min(found)


def peer(
    subject: Subject, images: torch.Tensor, maps: torch.Tensor, targets: torch.Tensor
) -> float:
    """Seconds of pytorch-grad-cam's ROADCombined on these maps."""
    from torchvision_ops import import_torchvision

    import_torchvision()  # grad-cam needs it, whose compiled operators may not load
    from pytorch_grad_cam.metrics.road import ROADCombined
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    metric = ROADCombined(percentiles=list(range(10, 100, 10)))
    wanted = [ClassifierOutputSoftmaxTarget(int(t)) for t in targets]
    started = time.perf_counter()
    metric(images, maps.numpy(), wanted, subject.network)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="demo")
    parser.add_argument("--layer", default="auto")
    parser.add_argument("--images", default="demo")
    parser.add_argument("--size", type=int)
    parser.add_argument("--count", type=int, default=32, help="images that ours scores")
    parser.add_argument("--peer-count", type=int, default=4, help="images that the peer scores")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.images == "demo":
        found = demo_images("heldout", options.count, 0)
    else:
        found = load_images(options.images, size=options.size)
        found = found.subset(range(min(options.count, len(found))))
    subject = Subject.prepare(options.network, options.layer, found)
    evidence, context = subject.measure(found)
    expressions = [find_method(text).expression for text in FORMULAS]
    scorer = Scorer(Road(), evidence, context)
    before = subject.classifier.passes
    scorer.score(expressions)
    passes = subject.classifier.passes - before

    forward = bare_forward(subject, context.images, passes, subject.classifier.batch)
    ours = seconds(lambda: scorer.score(expressions), options.repeats)
    maps = heatmaps(expressions[:1], evidence.leaves, context.size).maps[0]
    few = slice(0, options.peer_count)
    theirs = peer(subject, context.images[few], maps[few], context.targets[few])
    theirs *= len(found) / options.peer_count * len(expressions)

    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, "
          f"torch {torch.__version__}, {subject.classifier.device}")  # fmt: skip
    print(f"network {subject.name}, layer {subject.layer.name}, images "
          f"{tuple(found.images.shape[1:])}")  # fmt: skip
    print(f"{len(expressions)} candidates x {len(found)} images = {passes} perturbed images\n")
    print(f"{'':34}{'seconds':>10}{'ms/image':>10}{'ratio':>10}")
    for name, value in (
        ("bare forward passes", forward),
        ("SyCAM, ROAD", ours),
        (f"pytorch-grad-cam, ROAD (scaled x{len(found) // options.peer_count * 8})", theirs),
    ):
        print(f"{name:34}{value:10.2f}{value / passes * 1e3:10.3f}{value / forward:10.2f}")
    print(f"\nSyCAM takes {ours / forward:.2f} times the bare forward passes; "
          f"pytorch-grad-cam takes {theirs / ours:.0f} times as long as SyCAM.")  # fmt: skip


if __name__ == "__main__":
    main()
