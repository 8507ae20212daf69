"""Samplers on tables of real ROAD scores: the best found against the candidates scored.

    python benchmarks/search.py table --subject demo|resnet20 --table DIR
    python benchmarks/search.py samplers --subject demo|resnet20 --table DIR [--seeds 10]

A table holds the per-image scores of every distinct candidate up to cost 4 of the grammar
`gradient`, computed once (an interrupted table is gone on with; the score journal of a run of
`sycam synthesize --mode exact` serves as well). Samplers then run without the network: each asks
for 8 expressions at a time and is told their means over the search images. What is not in the
table is scored and added. All count the classes scored, never a class twice. The mix of proposals
was set on demo alone; resnet20 (CIFAR-10, layer2) confirms it.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import t
from subjects import LAYERS, subject_of

from sycam.data.images import load_images
from sycam.errors import SycamError
from sycam.inputs import divide
from sycam.language import Expression, load_grammar, parse
from sycam.language.sampling import TreeSampler
from sycam.metrics import Road
from sycam.search import Enumerator, Level, Scorer
from sycam.search.guided import Guide
from sycam.search.selection import DEGENERATE_SHARE

ROOT = Path(__file__).resolve().parents[1]
MAX_COST, BATCH, PROBES = 4, 8, 5
IMAGES = {"demo": 64, "resnet20": 32}
SHOWN = (25, 50, 100, 200, 400, 800)
GRAMMAR = load_grammar("gradient")


class Table:
    """Mean scores by expression, and what tells expressions apart.

    Args:
        folder: where scores and probe measurements are kept.
        subject: ``demo`` or ``resnet20``.
    """

    def __init__(self, folder: Path, subject: str):
        self.folder, self.subject = folder, subject
        folder.mkdir(parents=True, exist_ok=True)
        self.figures: dict[Expression, float | None] = {}
        for file in ("scores.jsonl", "added.jsonl"):
            if (folder / file).exists():
                self._read((folder / file).read_text().splitlines())
        self.space = Enumerator(GRAMMAR, *self._probe())
        items = self.space.candidates(MAX_COST)
        self.order = [item for item in items if not isinstance(item, Level)]
        self.portray = cache(self.space.portrait)

    def figure(self, expression: Expression) -> float | None:
        """Mean score; None for a candidate that cannot win."""
        if expression not in self.figures:
            self.add([expression])
        return self.figures[expression]

    def fill(self) -> None:
        """Score all that is missing."""
        missing = [e for e in self.order if e not in self.figures]
        for start in range(0, len(missing), BATCH):
            self.add(missing[start : start + BATCH])
            print(f"\r{start + BATCH} of {len(missing)}", end="", flush=True)

    def add(self, expressions: Sequence[Expression]) -> None:
        """Score expressions and keep the scores."""
        entries = [
            {"name": str(e), "scores": s.values.tolist(), "degenerate": s.degenerate,
             "finite": s.finite}
            for e, s in zip(expressions, self._scorer.score(expressions), strict=True)
        ]  # fmt: skip
        line = json.dumps({"candidates": entries})
        with open(self.folder / "added.jsonl", "a") as file:
            file.write(line + "\n")
        self._read([line])

    def _read(self, lines: Sequence[str]) -> None:
        for line in lines:
            try:
                record = json.loads(line.partition("\t")[0])
            except json.JSONDecodeError:  # cut off by an interruption
                continue
            for entry in record.get("candidates", ()):
                if len(entry["scores"]) != IMAGES[self.subject]:
                    continue  # of some images only
                try:
                    expression = parse(entry["name"])
                except SycamError:
                    continue  # a method that is no expression
                allowed = DEGENERATE_SHARE * len(entry["scores"])
                sound = entry["finite"] and entry["degenerate"] <= allowed
                self.figures[expression] = float(np.mean(entry["scores"])) if sound else None

    def _probe(self) -> tuple[dict[str, torch.Tensor], str, tuple[int, ...]]:
        path = self.folder / "probe.npz"
        if not path.exists():
            layer = self._scorer.evidence.layers[0]
            leaves = {name: layer.leaves[name][:PROBES].numpy() for name in GRAMMAR.leaves}
            np.savez(path, size=self._scorer.context.size, **leaves)
        with np.load(path) as found:
            leaves = {name: torch.from_numpy(found[name]) for name in GRAMMAR.leaves}
            return leaves, Road.invariance, tuple(found["size"].tolist())

    @property
    def _scorer(self) -> Scorer:
        return _scorer(self.subject)


@cache
def _scorer(subject: str) -> Scorer:
    count, images = IMAGES[subject], subject
    if subject == "resnet20":
        images = load_images(ROOT / "../shared/data/cifar10/test_lossless_500.npz")
    searched, _ = divide(images, 64, count, 0, False)
    return Scorer(Road(), *subject_of(subject, searched).measure(searched))


class Ordered:
    """A fixed order of expressions, as a guide that learns nothing."""

    def __init__(self, expressions: Iterator[Expression]):
        self._left = expressions

    def ask(self, count: int) -> list[Expression]:
        """The next ones."""
        return [e for e, _ in zip(self._left, range(count), strict=False)]

    def tell(self, expression: Expression, value: float | None) -> None:
        """Nothing is learnt."""


def uniform(table: Table, seed: int) -> Iterator[Expression]:
    """Derivation trees, each cost and then each tree of it equally likely; each class once."""
    sampler, draw, seen = TreeSampler(GRAMMAR, MAX_COST), random.Random(seed), set()
    costs = [cost for cost in range(1, MAX_COST + 1) if sampler.count(cost)]
    for _ in range(1_000_000):
        found = table.space.represent(sampler.draw(draw.choice(costs), draw))
        if found is not None and found not in seen:
            seen.add(found)
            yield found


def contestants(table: Table) -> dict[str, Callable[[int], object]]:
    """What is compared: a name, and what makes it from a seed."""

    def guide(sampler: str, seed: int, **options) -> Guide:
        return Guide(GRAMMAR, sampler, seed, MAX_COST, represent=table.space.represent,
                     stream=iter(table.order), **options)  # fmt: skip

    return {
        "ours": lambda seed: guide("grammar", seed, portray=table.portray),
        "exact order": lambda seed: Ordered(iter(table.order)),
        "random": lambda seed: Ordered(uniform(table, seed)),
        "genetic programming": lambda seed: guide("evolution", seed),
        "ours, no surrogate": lambda seed: guide("grammar", seed),
        "TPE": lambda seed: guide("tpe", seed),
    }


def curve(table: Table, made, count: int) -> np.ndarray:
    """``[count]``: the best figure after each candidate."""
    best, found = -np.inf, []
    while len(found) < count and (batch := made.ask(min(BATCH, count - len(found)))):
        for expression in batch:
            figure = table.figure(expression)
            made.tell(expression, figure)
            best = max(best, -np.inf if figure is None else figure)
            found.append(best)
    return np.array(found + [best] * (count - len(found)))


def compare(table: Table, seeds: int, count: int, only: Sequence[str], image: Path) -> None:
    """Run all, print the figures, draw the curves with 95 % intervals of the mean over seeds."""
    top = max(v for e in table.order if (v := table.figures.get(e)) is not None)
    print(f"{table.subject}: {len(table.order)} classes, the best scores {top:.4f}\n")
    shown = [n for n in SHOWN if n <= count]
    heads = " | ".join(map(str, shown))
    print(f"| best found after | {heads} | candidates to 99 % | to the best | ms each |")
    print("|" + "---|" * (len(shown) + 4))
    figure, axes = plt.subplots(figsize=(7, 4))
    for name, make in contestants(table).items():
        if only and name not in only:
            continue
        started = time.perf_counter()
        curves = np.stack([curve(table, make(seed), count) for seed in range(seeds)])
        spent = (time.perf_counter() - started) / curves.size * 1000
        mean, half = curves.mean(0), curves.std(0, ddof=1) * t.ppf(0.975, seeds - 1) / seeds**0.5
        figures = " | ".join(f"{mean[n - 1]:.4f} ± {half[n - 1]:.4f}" for n in shown)
        reached = " | ".join(_needed(curves, goal) for goal in (0.99 * top, top - 1e-12))
        print(f"| {name} | {figures} | {reached} | {spent:.0f} |", flush=True)
        (line,) = axes.plot(np.arange(1, count + 1), mean, label=name)
        axes.fill_between(np.arange(1, count + 1), mean - half, mean + half, alpha=0.2,
                          color=line.get_color(), linewidth=0)  # fmt: skip
        axes.set(xscale="log", xlabel="candidates scored", ylabel="best mean ROAD found",
                 xlim=(8, count), ylim=(0.9 * top, 1.005 * top))  # fmt: skip
        axes.legend(fontsize=8)
        axes.set_title(f"{table.subject}, {LAYERS[table.subject]}: {seeds} seeds", fontsize=10)
        figure.savefig(image, dpi=90, bbox_inches="tight")


def _needed(curves: np.ndarray, goal: float) -> str:
    """Median and largest number of candidates to a goal, over seeds."""
    reached = np.where((curves >= goal).any(1), (curves >= goal).argmax(1) + 1.0, np.inf)
    median, most = np.median(reached), reached.max()
    return " to ".join("never" if np.isinf(n) else f"{n:.0f}" for n in (median, most))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=["table", "samplers"])
    parser.add_argument("--subject", choices=IMAGES, default="demo")
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--count", type=int, default=max(SHOWN))
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--image", type=Path, help="benchmarks/search_SUBJECT.png if not given")
    options = parser.parse_args()
    table = Table(options.table, options.subject)
    if options.job == "table":
        table.fill()
        return
    image = options.image or ROOT / "benchmarks" / f"search_{options.subject}.png"
    only = [name for name in options.only.split(",") if name]
    compare(table, options.seeds, options.count, only, image)


if __name__ == "__main__":
    main()
