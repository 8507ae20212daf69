"""Two searches on one Optuna storage against one of as many candidates, and against two apart.

    python benchmarks/search.py table --subject demo --table DIR --metric iou
    python benchmarks/shared_storage.py --table DIR [--metric iou] [--seeds 10] [--candidates 400]

Scores are those of a table of `search.py`, so that no network runs. All count the candidates
scored, by both runs where there are two, and a candidate twice that both score. Two runs go on in
step: each asks for 8 expressions before it hears of the 8 that the other is at, as on two machines
that are equally fast. The storage is in memory, or with `--sqlite` a database in a file, which
takes its time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from optuna.storages import BaseStorage, InMemoryStorage
from search import BATCH, SHOWN, Curves, Table, needed

from sycam.language import Expression
from sycam.search.proposals.guide import Guide


class Runs:
    """Searches that go on in step.

    Args:
        table: of scores.
        seeds: of each.
        shared: the storage of all, or None.
    """

    def __init__(self, table: Table, seeds: Sequence[int], shared: str | BaseStorage | None):
        self.table = table
        self.guides = [
            Guide(table.fresh(), "grammar", seed, shared, shared=shared is not None)
            for seed in seeds
        ]
        self.scored: Counter[Expression] = Counter()

    def curve(self, count: int) -> np.ndarray:
        """``[count]``: the best figure after each candidate of any of them."""
        best, found = -np.inf, []
        while len(found) < count:
            asked = [guide.ask(BATCH) for guide in self.guides]
            if not any(asked):
                break
            for guide, batch in zip(self.guides, asked, strict=True):
                for expression in batch:
                    figure = self.table.figure(expression)
                    guide.tell(expression, figure)
                    self.scored[expression] += 1
                    best = max(best, -np.inf if figure is None else figure)
                    found.append(best)
        return np.array((found + [best] * count)[:count])

    @property
    def twice(self) -> float:
        """Share of the candidates that were scored before."""
        return 1 - len(self.scored) / self.scored.total()


def contest(
    table: Table, seeds: int, count: int, sqlite: bool = False
) -> dict[str, tuple[Curves, float]]:
    """The best found, and the share scored twice, by kind of runs."""
    found = {}
    for name, runs, sharing in (
        ("one run", 1, False),
        ("two runs on one storage", 2, True),
        ("two runs apart", 2, False),
    ):
        started, curves, twice = time.perf_counter(), [], []
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                storage: str | BaseStorage | None = None
                if sharing:
                    storage = f"sqlite:///{folder}/study.db" if sqlite else InMemoryStorage()
                made = Runs(table, [seed + 1000 * run for run in range(runs)], storage)
                curves.append(made.curve(count))
                twice.append(made.twice)
        spent = (time.perf_counter() - started) / (seeds * count) * 1000
        found[name] = Curves(np.stack(curves), spent), float(np.mean(twice))
        print(f"{name}: {spent:.1f} ms a candidate", flush=True)
    return found


def report(table: Table, found: dict[str, tuple[Curves, float]]) -> str:
    """A Markdown table."""
    top = table.top
    longest = max(curves.best.shape[1] for curves, _ in found.values())
    shown = [n for n in SHOWN if n <= longest]
    lines = [
        f"{table}; the best scores {top:.4f}",
        "",
        f"| best found after | {' | '.join(map(str, shown))} | candidates to 99 % | to the best "
        "| scored twice | ms each |",
        "|" + "---|" * (len(shown) + 5),
    ]
    for name, (curves, twice) in found.items():
        mean, half = curves.best.mean(0), curves.half
        figures = " | ".join(f"{mean[n - 1]:.4f} ± {half[n - 1]:.4f}" for n in shown)
        goals = (top - 0.01 * abs(top), top - 1e-9)
        reached = " | ".join(needed(curves.best, goal) for goal in goals)
        lines.append(
            f"| {name} | {figures} | {reached} | {twice:.0%} | {curves.milliseconds:.0f} |"
        )
    return "\n".join(lines)


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--subject", default="demo")
    parser.add_argument("--metric", default="iou")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--candidates", type=int, default=400)
    parser.add_argument("--sqlite", action="store_true")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    asked = make_parser().parse_args(arguments)
    table = Table(asked.table, asked.subject, asked.metric)
    print(report(table, contest(table, asked.seeds, asked.candidates, asked.sqlite)))


if __name__ == "__main__":
    main()
