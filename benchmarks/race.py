"""What a race saves, and whether it finds what exact mode finds, on kept per-image scores.

    python benchmarks/race.py [NAME ...] [--cache FOLDER] [--images 200] [--orders 20]

Each table of ``benchmarks/score_tables.py`` is searched in the order of cost, as often as asked on
other random orders of its images. Exact mode scores every candidate on all images. Columns: share
of those scores that were needed, for dropping by bounds alone (which is certain), and for the race;
how often the race's leader is exact mode's, or within the tolerance of it; and the largest loss.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from score_tables import DATA, SETTINGS, default_cache, table

from sycam.metrics import Metric, find_metric
from sycam.search import Score, SearchOptions, stages_of
from sycam.search.budget import Budget
from sycam.search.contest import BATCH, BOUND, RACE, Contest
from sycam.search.race import Bounds, Race

DEFAULT = ("demo-road", "cifar10-road", "demo-average-drop", "cifar10-average-drop", "demo-iou")


class KeptScores:
    """A scoreboard of oriented scores that are there already."""

    def __init__(self, metric: Metric, names: tuple[str, ...], scores: np.ndarray):
        self.metric, self.images = metric, scores.shape[1]
        self.stages = stages_of(self.images, metric)
        # oriented() is its own inverse.
        self._scores = dict(zip(names, metric.oriented(scores), strict=True))

    def of(self, name: str, stage: int) -> Score:
        """Scores up to the end of a stage."""
        return Score.of(self.metric, self._scores[name][: self.stages[stage].stop], 0, True)

    def score(self, expressions, stage: int) -> list[Score]:
        """The same of several."""
        return [self.of(str(expression), stage) for expression in expressions]


def searched(board: KeptScores, expressions, known, dropping) -> Contest:
    """A contest of all expressions, in their order, beside the published CAMs."""
    contest = Contest(board, dropping, "argmax", lambda _: True, known=list(known))
    for start in range(0, len(expressions), BATCH):
        contest.enter(expressions[start : start + BATCH])
    return contest


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=list(DEFAULT))
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--orders", type=int, default=20)
    parser.add_argument("--delta", type=float, default=0.05)
    options = parser.parse_args()
    print(
        "| table | formulas | images | by bounds | race | same leader | within tolerance | loss |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in options.names:
        if SETTINGS[name].images != "demo" and not DATA.is_dir():
            print(f"| {name} | no real data at {DATA}; set SYCAM_DATA |")
            continue
        found = table(name, options.cache)
        metric = find_metric(SETTINGS[name].metric)
        tolerance = SearchOptions(Budget(candidates=1)).tolerance_of(metric)
        order = sorted(range(len(found.names)), key=lambda i: found.expressions[i].sort_key())
        expressions = [found.expressions[i] for i in order]
        rng, rows = np.random.default_rng(0), []
        for _ in range(options.orders):
            images = rng.permutation(found.scores.shape[1])[: options.images]
            scores = found.scores[order][:, images]
            board = KeptScores(metric, tuple(map(str, expressions)), scores)
            ends = tuple(stage.stop for stage in board.stages)
            bounds = Bounds(
                np.full(board.images, max(map(metric.oriented, metric.range))),
                min(map(metric.oriented, metric.range)),
            )
            sure = {BOUND: bounds}
            known = found.published_scores[:, images]
            race = Race(options.delta, tolerance, ends)
            raced = searched(board, expressions, known, sure | {RACE: race})
            best = scores.mean(1).max()
            rows.append(
                (
                    searched(board, expressions, known, sure).spent / scores.size,
                    raced.spent / scores.size,
                    best - metric.oriented(raced.leader.mean),
                )
            )
        by_bounds, by_race, loss = np.array(rows).T
        print(
            f"| {name} | {len(expressions)} | {board.images} | {by_bounds.mean():.0%} | "
            f"{by_race.mean():.0%} ({by_race.min():.0%} to {by_race.max():.0%}) | "
            f"{int((loss <= 1e-12).sum())} of {len(loss)} | "
            f"{int((loss <= tolerance).sum())} of {len(loss)} | {loss.max():.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
