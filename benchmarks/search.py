"""Samplers on real scores: the best found against the candidates scored.

    python benchmarks/search.py table --subject NAME --table DIR [--metric road]
    python benchmarks/search.py samplers --subject NAME --table DIR [--seeds 10]
    python benchmarks/search.py beyond --subject demo|busi --metric iou [--max-cost 6]

A table holds the per-image scores of every distinct candidate up to cost 4 of the grammar
`gradient`, computed once (an interrupted table is gone on with; the score journal of a run of
`sycam synthesize --mode exact` serves as well). Samplers then run without the network: each asks
for 8 expressions at a time and is told their means over the search images. What is not in the
table is scored and added. All count the classes scored, never a class twice. The mix of proposals
was set on demo alone, under ROAD; the others confirm it.

Subjects are `demo`, `resnet20` (CIFAR-10) and `busi` (breast ultrasound) at one layer, and of
several `resnet20-layers`, five, and `busi-layers`, four, with the grammar `network`. Their tables
hold the formulas of `gradient` up to cost 3 at each layer, and the products and sums of the 6 that
lead at each with those of each other. Samplers may propose anything up to the cost of such a pair,
and the best is that pair of the table.

`beyond` has no table: the space is larger than anybody scores, so that each proposal is scored when
it is made, and the best is the best that any sampler found. Its metric should be a cheap one.

Optuna's TPE reads all trials for each of a derivation's choices, and half of its proposals are
known classes or have no heatmap, which are trials as well: its time grows with the square of the
candidates. It gets fewer seeds and candidates than the others (`SLOW`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from genetic_programming import GeneticProgramming
from scipy.stats import t
from score_tables import FIVE, FOUR, of_one_layer, pairs_of
from subjects import LAYERS, subject_of

from sycam.data.images import load_images
from sycam.errors import SycamError
from sycam.grammar import Grammar, load_grammar
from sycam.grammar.sampling import TreeSampler
from sycam.language import Expression, parse
from sycam.metrics import Metric, find_metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import divide
from sycam.scoring.scorer import Score, Scorer
from sycam.search import Enumerator, Level
from sycam.search.proposals.guide import Guide, Space
from sycam.search.proposals.proposer import MakeProposer
from sycam.search.selection.select import DEGENERATE_SHARE
from sycam.search.space import PROBE_BYTES

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / os.environ.get("SYCAM_DATA", "../shared/data")
MAX_COST, BATCH, PROBES = 4, 8, 5
IMAGES = {"demo": 64, "resnet20": 32, "busi": 64, "resnet20-layers": 32, "busi-layers": 32}
PLACES = {
    "demo": "auto",
    "resnet20": LAYERS["resnet20"],
    "busi": "bn5_relu",
    "resnet20-layers": list(FIVE),
    "busi-layers": list(FOUR),
}
LEADERS = 6  # formulas of each layer that a table holds the pairs of
SHOWN = (25, 50, 100, 200, 400, 800)
SLOW = {"TPE": (5, 400)}  # seeds and candidates, at most


class Table:
    """Mean scores of all candidates, and what tells them apart.

    Args:
        folder: where scores and probe measurements are kept.
        subject: of ``IMAGES``.
        metric: text of the metric.
    """

    def __init__(self, folder: Path, subject: str, metric: str):
        self.folder, self.subject, self.metric = folder, subject, find_metric(metric)
        folder.mkdir(parents=True, exist_ok=True)
        self.figures: dict[Expression, float | None] = {}
        for file in ("scores.jsonl", "added.jsonl"):
            if (folder / file).exists():
                self._read((folder / file).read_text().splitlines())
        sites, size = self._probe()
        self.grammar = grammar_of(subject).at(list(sites))
        self.space = Enumerator(
            self.grammar,
            next(iter(sites.values())),
            self.metric.invariance,
            size,
            sites=sites if self.grammar.sites else None,
        )
        self.order = self._ordered(sites, size)
        self._portray = cache(self.space.portrait)

    def _ordered(self, sites: dict, size: tuple[int, ...]) -> list[Expression]:
        """All candidates by cost; of several layers those that are a formula at one of them."""
        if not self.grammar.sites:
            return list(expressions(self.space.candidates(MAX_COST)))
        made = of_one_layer(sites, self.metric.invariance, size, MAX_COST)
        return [e for e in dict.fromkeys(self.space.represent_all(made)) if e is not None]

    def fresh(self) -> Space:
        """For another sampler; all share what is known of the space."""
        most = 2 * MAX_COST + 1 if self.grammar.sites else MAX_COST
        return Space(self.grammar, most, self.space.represent, iter(self.order), self._portray)

    @property
    def top(self) -> float:
        """The best figure, of several layers that of a pair."""
        pairs = self.pairs if self.grammar.sites else self.figures
        return max(v for v in map(self.figures.__getitem__, pairs) if v is not None)

    def __str__(self) -> str:
        pairs = f" and {len(self.pairs)} pairs" if self.grammar.sites else ""
        return (
            f"{self.subject}, {self.metric.text}: {len(self.order)} classes up to cost {MAX_COST}"
            f"{pairs}"
        )

    def figure(self, expression: Expression) -> float | None:
        """Mean score, higher is better; None for a candidate that cannot win."""
        if expression not in self.figures:
            self.add([expression])
        return self.figures[expression]

    def fill(self) -> None:
        """Score all that is missing."""
        self._fill(self.order)
        if self.grammar.sites:
            self._fill(self.pairs)

    def _fill(self, wanted: Sequence[Expression]) -> None:
        missing = [e for e in wanted if e not in self.figures]
        if missing:
            self._scorer.prepare(len(missing))
        for start in range(0, len(missing), BATCH):
            self.add(missing[start : start + BATCH])
            print(f"\r{start + BATCH} of {len(missing)}", end="", flush=True)

    @cached_property
    def pairs(self) -> list[Expression]:
        """The classes of products and sums of what leads at two layers."""
        known = [e for e in self.order if self.figures[e] is not None]
        known.sort(key=lambda e: (-self.figures[e], e.sort_key()))
        made = map(self.space.represent, pairs_of(known, self.grammar.sites, LEADERS))
        return [e for e in dict.fromkeys(made) if e is not None and len(e.sites) > 1]

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
                record = json.loads(line.partition("\t")[0])  # a checksum, in earlier journals
            except json.JSONDecodeError:  # cut off by an interruption
                continue
            for entry in record.get("candidates", ()):
                if len(entry["scores"]) != IMAGES[self.subject]:
                    continue  # of some images only
                try:
                    expression = parse(entry["name"])
                except SycamError:
                    continue  # a method that is no expression
                scores = np.array(entry["scores"])
                score = Score.of(self.metric, scores, entry["degenerate"], entry["finite"])
                self.figures[expression] = figure_of(score, self.metric)

    def _probe(self) -> tuple[dict[str, dict[str, torch.Tensor]], tuple[int, ...]]:
        """Leaves on the probe images, of each layer, and the images' size."""
        path = self.folder / "probes.npz"
        names = grammar_of(self.subject).leaves
        if not path.exists():
            layers = self._scorer.evidence.layers
            # As many as a search looks at.
            largest = max(at.activations[0].numel() for at in layers) * 8
            count = max(2, min(PROBES, PROBE_BYTES // largest))
            kept = {f"{at.name} {n}": at.leaves[n][:count].numpy() for at in layers for n in names}
            np.savez(path, size=self._scorer.context.size, **kept)
        sites: dict[str, dict[str, torch.Tensor]] = {}
        with np.load(path) as found:
            for key in found.files[1:]:
                site, name = key.split()
                sites.setdefault(site, {})[name] = torch.from_numpy(found[key])
            return sites, tuple(found["size"].tolist())

    @property
    def _scorer(self) -> Scorer:
        return scorer_of(self.subject, self.metric.text)


class Live:
    """A space without a table: what is asked for is scored, once.

    Args:
        subject: of ``IMAGES``.
        metric: text of the metric.
        max_cost: of the candidates.
    """

    def __init__(self, subject: str, metric: str, max_cost: int):
        self.subject, self.metric, self.max_cost = subject, find_metric(metric), max_cost
        self._scorer = scorer_of(subject, self.metric.text)
        self.figures: dict[Expression, float | None] = {}

    def figure(self, expression: Expression) -> float | None:
        """Mean score, higher is better; None for a candidate that cannot win."""
        if expression not in self.figures:
            (score,) = self._scorer.score([expression])
            self.figures[expression] = figure_of(score, self.metric)
        return self.figures[expression]

    def fresh(self) -> Space:
        """For another sampler, which enumerates as far as it needs to."""
        layer, size = self._scorer.evidence.layers[0], self._scorer.context.size
        grammar = grammar_of(self.subject)
        leaves = {name: layer.leaves[name][:PROBES] for name in grammar.leaves}
        space = Enumerator(grammar, leaves, self.metric.invariance, size)
        stream = expressions(space.candidates(self.max_cost))
        return Space(grammar, self.max_cost, space.represent, stream, space.portrait)

    @property
    def top(self) -> float:
        """The best figure that was found."""
        return max(v for v in self.figures.values() if v is not None)

    def __str__(self) -> str:
        return f"{self.subject}, {self.metric.text}: up to cost {self.max_cost}"


def expressions(stream: Iterator[Expression | Level]) -> Iterator[Expression]:
    """Without what is said of the levels."""
    return (item for item in stream if not isinstance(item, Level))


def figure_of(score: Score, metric: Metric) -> float | None:
    """The mean, higher is better; None for a candidate that cannot win."""
    sound = score.finite and score.degenerate <= DEGENERATE_SHARE * len(score.values)
    return float(metric.oriented(score.mean)) if sound else None


@cache
def scorer_of(subject: str, metric: str) -> Scorer:
    """Scores candidates on a subject's search images."""
    found = find_metric(metric)
    network = subject.removesuffix("-layers")
    files = {"resnet20": "cifar10/test_lossless_500.npz", "busi": "busi/images_128.npz"}
    images = load_images(DATA / files[network]) if network in files else subject
    searched, _ = divide(images, 64, IMAGES[subject], 0, found.needs_masks)
    if network in files:
        sources = {"resnet20": "cifar10.py:resnet20", "busi": "small_cnn.py:busi"}
        source = f"{ROOT / 'benchmarks' / 'networks' / sources[network]}"
        prepared = ExplainedNetwork.prepare(source, PLACES[subject], searched)
    else:
        prepared = subject_of(subject, searched)
    leaves = grammar_of(subject).leaves | found.leaves
    return Scorer(found, *prepared.measure(searched, leaves=leaves))


@cache
def grammar_of(subject: str) -> Grammar:
    """The space of a subject, of no named layers."""
    return load_grammar("network" if isinstance(PLACES[subject], list) else "gradient")


class Ordered:
    """A fixed order of expressions, as a guide that learns nothing."""

    def __init__(self, expressions: Iterator[Expression]):
        self._left = expressions

    def ask(self, count: int) -> list[Expression]:
        """The next ones."""
        return [e for e, _ in zip(self._left, range(count), strict=False)]

    def tell(self, expression: Expression, value: float | None) -> None:
        """Nothing is learnt."""


def uniform(space: Space, seed: int) -> Iterator[Expression]:
    """Derivation trees, each cost and then each tree of it equally likely; each class once."""
    sampler, draw, seen = TreeSampler(space.grammar, space.max_cost), random.Random(seed), set()
    costs = [cost for cost in range(1, space.max_cost + 1) if sampler.count(cost)]
    for _ in range(1_000_000):
        found = space.represent(sampler.draw(draw.choice(costs), draw))
        if found is not None and found not in seen:
            seen.add(found)
            yield found


def guide(space: Space, seed: int, sampler: str | MakeProposer, portrays: bool = False) -> Guide:
    """One of the package's samplers, or proposals of another kind."""
    return Guide(space if portrays else replace(space, portray=None), sampler, seed)


CONTESTANTS: dict[str, Callable[[Space, int], object]] = {
    "ours": partial(guide, sampler="grammar", portrays=True),
    "exact order": lambda space, seed: Ordered(space.stream),
    "random": lambda space, seed: Ordered(uniform(space, seed)),
    "genetic programming": partial(guide, sampler=GeneticProgramming),
    "ours, no surrogate": partial(guide, sampler="grammar"),
    "TPE": partial(guide, sampler="tpe"),
}
"""What is compared: a name, and what makes it from a space and a seed."""


def curve(scores: Table | Live, made, count: int) -> np.ndarray:
    """``[count]``: the best figure after each candidate."""
    best, found = -np.inf, []
    while len(found) < count and (batch := made.ask(min(BATCH, count - len(found)))):
        for expression in batch:
            figure = scores.figure(expression)
            made.tell(expression, figure)
            best = max(best, -np.inf if figure is None else figure)
            found.append(best)
    return np.array(found + [best] * (count - len(found)))


@dataclass(frozen=True)
class Curves:
    """What one sampler found.

    Attributes:
        best: ``[seeds, candidates]`` the best figure after each candidate.
        milliseconds: for a proposal, scores of a :class:`Live` space included.
    """

    best: np.ndarray
    milliseconds: float

    @property
    def half(self) -> np.ndarray:
        """``[candidates]`` half the 95 % interval of the mean over seeds (Student's t)."""
        seeds = len(self.best)
        if seeds < 2:
            return np.full(self.best.shape[1], np.nan)
        return self.best.std(0, ddof=1) * t.ppf(0.975, seeds - 1) / seeds**0.5


def compare(scores: Table | Live, seeds: int, count: int, only: Sequence[str]) -> dict[str, Curves]:
    """Run all, or those named."""
    found = {}
    for name, make in CONTESTANTS.items():
        if only and name not in only:
            continue
        most, reach = SLOW.get(name, (seeds, count))
        most, reach = min(most, seeds), min(reach, count)
        started = time.perf_counter()
        best = [curve(scores, make(scores.fresh(), seed), reach) for seed in range(most)]
        spent = time.perf_counter() - started
        found[name] = Curves(np.stack(best), spent / (most * reach) * 1000)
        print(f"{name}: {most} seeds, {reach} candidates, {spent:.0f} s", flush=True)
    return found


def report(scores: Table | Live, found: Mapping[str, Curves]) -> str:
    """A Markdown table; the best is the table's, or what anybody found."""
    top = scores.top
    shown = [n for n in SHOWN if any(c.best.shape[1] >= n for c in found.values())]
    heads = " | ".join(map(str, shown))
    lines = [
        f"{scores}; the best scores {top:.4f}",
        "",
        f"| best found after | seeds | {heads} | candidates to 99 % | to the best | ms each |",
        "|" + "---|" * (len(shown) + 5),
    ]
    for name, curves in found.items():
        mean, half = curves.best.mean(0), curves.half
        figures = " | ".join(
            f"{mean[n - 1]:.4f} ± {half[n - 1]:.4f}" if n <= len(mean) else "" for n in shown
        )
        goals = (top - 0.01 * abs(top), top - 1e-9)
        reached = " | ".join(needed(curves.best, goal) for goal in goals)
        lines.append(
            f"| {name} | {len(curves.best)} | {figures} | {reached} | {curves.milliseconds:.0f} |"
        )
    return "\n".join(lines)


def draw(scores: Table | Live, found: Mapping[str, Curves], image: Path) -> None:
    """The curves, each with the 95 % interval of its mean."""
    figure, axes = plt.subplots(figsize=(7, 4))
    longest = max(curves.best.shape[1] for curves in found.values())
    for name, curves in found.items():
        mean, half = curves.best.mean(0), curves.half
        steps = np.arange(1, len(mean) + 1)
        (line,) = axes.plot(steps, mean, label=f"{name} ({len(curves.best)} seeds)")
        axes.fill_between(steps, mean - half, mean + half, alpha=0.2, color=line.get_color(),
                          linewidth=0)  # fmt: skip
    top = max(curves.best.max() for curves in found.values())
    low = min(curves.best.mean(0)[:25].max() for curves in found.values())  # after 25 candidates
    axes.set(xscale="log", xlim=(8, longest), xlabel="candidates scored")
    axes.set_ylim(low - 0.3 * (top - low), top + 0.05 * (top - low))
    axes.set_ylabel(f"best mean {scores.metric.text} found")
    axes.legend(fontsize=8)
    axes.set_title(f"{scores.subject}, {PLACES[scores.subject]}", fontsize=10)
    figure.savefig(image, dpi=90, bbox_inches="tight")


def needed(curves: np.ndarray, goal: float) -> str:
    """Median and largest number of candidates to a goal, over seeds."""
    reached = np.where((curves >= goal).any(1), (curves >= goal).argmax(1) + 1.0, np.inf)
    median, most = np.median(reached), reached.max()
    return " to ".join("never" if np.isinf(n) else f"{n:.0f}" for n in (median, most))


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("job", choices=["table", "samplers", "beyond"])
    parser.add_argument("--subject", choices=IMAGES, default="demo")
    parser.add_argument("--metric", default="road")
    parser.add_argument("--table", type=Path, help="folder of the table")
    parser.add_argument("--max-cost", type=int, default=6, help="of `beyond`")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--count", type=int, default=max(SHOWN))
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--image", type=Path, help="benchmarks/JOB_SUBJECT.png if not given")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.job != "beyond" and options.table is None:
        parser.error("--table names the folder of the table")
    only = [name for name in options.only.split(",") if name]
    if unknown := set(only) - CONTESTANTS.keys():
        parser.error(f"--only {', '.join(unknown)}; expected of {', '.join(CONTESTANTS)}")
    if options.job == "beyond":
        scores = Live(options.subject, options.metric, options.max_cost)
    else:
        scores = Table(options.table, options.subject, options.metric)
    if options.job == "table":
        scores.fill()
        return
    print(scores, flush=True)
    found = compare(scores, options.seeds, options.count, only)
    print(f"\n{report(scores, found)}")
    name = "search" if options.job == "samplers" else "beyond"
    draw(scores, found, options.image or ROOT / "benchmarks" / f"{name}_{options.subject}.png")


if __name__ == "__main__":
    main()
