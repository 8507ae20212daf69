"""Adversarial training with budgets per pixel from CAMs (PART) and from controls, on digits.

    python benchmarks/part.py                            # a table for RESULTS.md
    python benchmarks/part.py --seeds 0 --epochs 10 --arms at grad-cam
    python benchmarks/part.py --arms at at-mma grad-cam grad-cam-mma --attack mma

scikit-learn's digits, 8x8 pixels from 0 to 1: 1,200 to train on, 597 to test on. For each seed
every arm trains the same network from the same weights in the same order. Budgets of the arms:

    at             eps everywhere
    at-mean        everywhere what the pixels of grad-cam's arm have on average, a control
    grad-cam       PART
    synthesised    PART with the formula that a search finds on the network of the arm at, seed 0,
                   with the first 128 training images, under --metric
    random map     PART with a random map per image, a control
    random-weights PART with random weights of the channels, a control

at-mma and grad-cam-mma are at and grad-cam trained by the minimum-margin attack. ``--attack mma``
measures under that attack as well, ``--attack autoattack`` by AutoAttack, on the first --strong
test images.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import sycam
from sycam.applications import PartResult, RobustAccuracy, part, robust_accuracy
from sycam.applications.cams import Given
from sycam.data.images import ImageSet
from sycam.heatmaps import Heatmaps
from sycam.methods.method import CONTROL, Method, from_maps

LAYER, SEARCHED = "4", 128
AT, MEAN, GRAD, OURS, RANDOM, WEIGHTS = USUAL = (
    "at", "at-mean", "grad-cam", "synthesised", "random map", "random-weights",
)  # fmt: skip
BY_MARGIN = "-mma"  # ends the name of an arm that is trained so
ARMS = (*USUAL, f"{AT}{BY_MARGIN}", f"{GRAD}{BY_MARGIN}")


def images(train: int, test: int) -> tuple[ImageSet, ImageSet]:
    """To train on and to test on, in an order of their own."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    pixels = torch.tensor(found.images[order] / 16, dtype=torch.float32)[:, None]
    labels = torch.tensor(found.target[order])
    return (
        ImageSet.from_arrays(pixels[:train], labels[:train], mean=[0], std=[1]),
        ImageSet.from_arrays(
            pixels[1200 : 1200 + test], labels[1200 : 1200 + test], mean=[0], std=[1]
        ),
    )


def network(seed: int) -> nn.Module:
    """Three convolutions, of which the second, at the images' own resolution, is explained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Flatten(), nn.Linear(512, 10),
        ).eval()  # fmt: skip


def random_map(evidence: object, context: object) -> Heatmaps:
    """Uniform numbers at a quarter of the resolution, by each image's content."""
    sides = [max(2, side // 4) for side in context.size]
    drawn = context.drawn("random map", lambda g: torch.rand(*sides, generator=g))
    grown = nn.functional.interpolate(drawn[:, None], context.size, mode="bilinear")
    return from_maps(grown[:, 0])


def synthesised(trained: nn.Module, train: ImageSet, options: argparse.Namespace) -> str:
    """The best formula of a search on a network."""
    with tempfile.TemporaryDirectory() as folder:
        result = sycam.synthesize(
            trained, LAYER, train.subset(range(min(SEARCHED, len(train)))), options.metric,
            budget=options.budget, seed=0, out=folder, report=False, progress=False,
        )  # fmt: skip
    return result.best.expression


def trained(
    arm: str,
    seed: int,
    train: ImageSet,
    options: argparse.Namespace,
    found: dict[tuple[str, int], PartResult],
) -> PartResult:
    """One arm of one seed."""
    eps, low = options.eps, options.eps_low
    cams: dict[str, Given | None] = {
        AT: None, MEAN: None, GRAD: "grad-cam", OURS: options.formula,
        RANDOM: Method("random map", CONTROL, direct=random_map), WEIGHTS: "random-weights",
    }  # fmt: skip
    if arm == MEAN:
        rows = found[GRAD, seed].epochs
        share = float(np.mean([row.marked for row in rows]))
        eps = low + (eps - low) * share
        low = eps
    attack = "mma" if arm.endswith(BY_MARGIN) else "pgd"
    return part(
        network(seed), train, cams[arm.removesuffix(BY_MARGIN)], layer=LAYER, attack=attack,
        eps=eps, eps_low=min(low, eps), step_size=options.eps / 4, objective=options.objective,
        epochs=options.epochs, warm_up=options.epochs // 4, batch=100, learning_rate=0.05,
        seed=seed, progress=False,
    )  # fmt: skip


def shown(values: Sequence[float]) -> str:
    """Mean over seeds, and what each seed gave, in per cent."""
    each = ", ".join(f"{100 * value:.1f}" for value in values)
    return f"{100 * np.mean(values):.1f} ({each})"


def line(
    arm: str, results: Sequence[PartResult], measured: Sequence[RobustAccuracy], seconds: float
) -> str:
    """Of the table."""
    names = [row.attack for row in measured[0].rows]
    cells = [shown([one.accuracy(name) for one in measured]) for name in names]
    marked = np.mean([result.epochs[-1].marked for result in results])
    return f"| {arm} | {marked:.0%} | {' | '.join(cells)} | {seconds:.2f} |"


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arms", nargs="+", default=USUAL, choices=ARMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--eps", type=float, default=0.2)
    parser.add_argument("--eps-low", type=float, default=0.175)
    parser.add_argument("--objective", default="at")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--train", type=int, default=1200)
    parser.add_argument("--test", type=int, default=597)
    parser.add_argument("--metric", default="road", help="of the search")
    parser.add_argument("--budget", default="300", help="of the search, in candidates or time")
    parser.add_argument("--formula", help="in place of a search")
    parser.add_argument("--attack", default="pgd", choices=("pgd", "mma", "autoattack"))
    parser.add_argument("--strong", type=int, default=200)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    options.budget = int(options.budget) if options.budget.isdigit() else options.budget
    train, test = images(options.train, options.test)
    arms = [arm for arm in ARMS if arm in options.arms]
    if MEAN in arms and GRAD not in arms:
        raise SystemExit(f"{MEAN} has the mean budget of {GRAD}: ask for both")
    found: dict[tuple[str, int], PartResult] = {}
    seconds: dict[str, float] = dict.fromkeys(arms, 0.0)
    lines: dict[str, str] = {}
    attacks = ("pgd", "mma") if options.attack == "mma" else ("pgd",)
    for arm in sorted(arms, key=lambda one: one == MEAN):  # it needs what came of GRAD
        if arm == OURS and options.formula is None:
            base = found.get((AT, 0)) or trained(AT, 0, train, options, found)
            options.formula = synthesised(base.module, train, options)
            print(f"synthesised under {options.metric}: {options.formula}", flush=True)
        for seed in options.seeds:
            started = time.process_time()
            found[arm, seed] = trained(arm, seed, train, options, found)
            seconds[arm] += time.process_time() - started
        results = [found[arm, seed] for seed in options.seeds]
        measured = [
            robust_accuracy(r.module, test, attacks, eps=options.eps, progress=False)
            for r in results
        ]
        each = seconds[arm] / options.epochs / len(options.seeds)
        lines[arm] = line(arm, results, measured, each)
        if options.attack == "autoattack":
            few = test.subset(range(min(options.strong, len(test))))
            strong = [
                robust_accuracy(r.module, few, "autoattack", eps=options.eps, progress=False)
                for r in results
            ]
            lines[arm] += f" {shown([one.accuracy('autoattack') for one in strong])} |"
        print(lines[arm], flush=True)
    steps = " | ".join(f"{attack.upper()}-20" for attack in attacks)
    head = f"| arm | full budget | natural | {steps} | CPU seconds an epoch |"
    if options.attack == "autoattack":
        head += f" AutoAttack, {min(options.strong, len(test))} images |"
    print(
        "\n"
        + "\n".join((head, "|---" * head.count(" | ") + "|---|", *(lines[arm] for arm in arms)))
    )


if __name__ == "__main__":
    main()
