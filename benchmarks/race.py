"""What a race saves, and whether it finds what exact mode finds, on kept per-image scores.

    python benchmarks/race.py [NAME ...] [--cache FOLDER] [--images 200] [--orders 20]
    python benchmarks/race.py --kept FILE --metric road:percentiles=30+70 [--max-cost 4] ...
    python benchmarks/race.py [NAME ...] --boundary ...

Each table of ``benchmarks/score_tables.py``, or the scores that ``benchmarks/search.py`` keeps in a
file ``added.jsonl``, is searched in the order of cost, as often as asked on other random orders of
its images; where more images are asked for than there are, they are drawn with replacement. Exact
mode scores every candidate on all images. Columns: share of those scores that were needed, for
dropping by bounds alone (certain), for a race over whole images, for the race over cells (images
by levels, where the metric has levels), and with what the default rule of selection
brings back; how often the race's leader is exact mode's or within the tolerance; the largest
loss; how often the rule's choice is exact mode's; and the share that any method needs which looks
at each candidate's differences to the best alone: ``2 ln(1 / (2.4 delta)) / gap ** 2`` images
(Kaufmann, Cappe and Garivier, JMLR 2016, for normal differences), the gap in standard deviations
and known in advance.

``--boundary`` asks whether the test keeps its level where it is hardest: of the best third of the
formulas pairs are drawn, and one of a pair is moved until it is ahead of the other by the tolerance
exactly, so that dropping it is just wrong. The share that is dropped before all is seen must not
exceed the level of the first leader, a quarter of delta. Peers are the published CAMs and eight
formulas.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from score_tables import DATA, SETTINGS, Table, default_cache, table

from sycam.language import Expression, parse
from sycam.methods import find_method
from sycam.methods.method import ANSWERS, PUBLISHED
from sycam.metrics import Metric, find_metric
from sycam.scoring.blocks import ImageBlock, cell_blocks, image_blocks
from sycam.scoring.scorer import Score
from sycam.search import Candidate, SearchOptions
from sycam.search.budget import Budget
from sycam.search.racing.race import BATCH, BOUND, OUTPERFORMED, Race
from sycam.search.racing.sequential_test import Bounds, SequentialTest
from sycam.search.selection.rules import DEFAULT_RULE
from sycam.search.selection.select import select

LEADERS, CANDIDATES = 6, 10  # of an order, at the boundary
DEFAULT = (
    "demo-road-levels",
    "cifar10-road-levels",
    "demo-average-drop",
    "cifar10-average-drop",
    "demo-iou",
)


def looks(stages: Sequence[ImageBlock], shape: tuple[int, ...]) -> list[np.ndarray]:
    """``[N,L]`` bool: the cells seen at the end of each stage."""
    seen, found = np.zeros(shape, bool), []
    for block in stages:
        np.put_along_axis(seen[block.part], block.which, True, 1)
        found.append(seen.copy())
    return found


class KeptScores:
    """A table ``[C,N,L]`` of oriented scores that are there already.

    Args:
        metric: what they are of.
        names: ``[C]`` expression texts.
        cells: the scores.
        stages: in which they are looked at, of cells or of whole images.
    """

    def __init__(
        self,
        metric: Metric,
        names: tuple[str, ...],
        cells: np.ndarray,
        stages: Sequence[ImageBlock],
    ):
        self.metric, self.images, self.stages = metric, cells.shape[1], tuple(stages)
        if self.stages[-1].levels < 2:
            cells = cells.sum(2, keepdims=True)
        # oriented() is its own inverse.
        self._cells = dict(zip(names, metric.oriented(cells), strict=True))
        self._seen = looks(self.stages, cells.shape[1:])

    def cells(self, name: str, stage: int) -> np.ndarray:
        """``[N,L]`` scores up to the end of a stage, NaN where they are of a later one."""
        return np.where(self._seen[stage], self._cells[name], np.nan)

    def of(self, name: str, stage: int) -> Score:
        """The same by image."""
        seen = self._seen[stage]
        some, levels = seen.any(1), seen.shape[1]
        sums = np.where(seen, self._cells[name], 0.0).sum(1)[some]
        return Score.of(self.metric, sums * levels / seen.sum(1)[some], 0, True)

    def score(self, expressions, stage: int) -> list[Score]:
        """The same of several."""
        return [self.of(str(expression), stage) for expression in expressions]


def searched(board: KeptScores, expressions, known, dropping, lead=None) -> Race:
    """A race of all expressions, in their order, beside the published CAMs; ``lead``, the best of
    these, leads from the start where candidates drop out for a leader, as it does in a search."""
    hold_race = Race(board, dropping, DEFAULT_RULE, lambda _: True, known=list(known))
    if lead is not None and OUTPERFORMED in dropping:
        hold_race.lead_by(lead)
    for start in range(0, len(expressions), BATCH):
        hold_race.enter(expressions[start : start + BATCH])
    return hold_race


def answers(found: Table) -> dict[Expression, int]:
    """Published CAMs that may win, with their places: a search has scored them before it begins."""
    methods = (find_method(name) for name in found.published)
    places = {m.expression: i for i, m in enumerate(methods) if m.kind in ANSWERS and m.expression}
    return {e: i for e, i in places.items() if np.isfinite(found.published_scores[i]).all()}


def chosen(race: Race, rivals: Sequence[Candidate]) -> str:
    """The formula that the default rule chooses, published CAMs among them."""
    choice = select([*rivals, *race.finished], race.metric, lambda _: False, race.rule, race.seed)
    return choice.name


def kept(file: Path, metric: Metric, max_cost: int) -> Table:
    """What ``benchmarks/search.py`` kept: scores of whole lines, of finite candidates."""
    found = {}
    for line in file.read_text().splitlines():
        for one in json.loads(line)["candidates"]:
            if one["finite"] and parse(one["name"]).cost <= max_cost:
                found[one["name"]] = one["scores"]
    scores = metric.oriented(np.array(list(found.values())))
    return Table.of(list(found), scores, (), np.zeros((0, scores.shape[1], 1)))


def bound(scores: np.ndarray, tolerance: float, delta: float) -> float:
    """Share of all scores that plain differences need, see above."""
    gaps = scores[scores.mean(1).argmax()] - scores
    spread = np.maximum(gaps.std(1, ddof=1), 1e-12)
    images = 2 * np.log(1 / (2.4 * delta)) / ((gaps.mean(1) + tolerance) / spread) ** 2
    return float(np.minimum(images, scores.shape[1]).mean() / scores.shape[1])


def replay(name: str, found: Table, metric: Metric, options: argparse.Namespace) -> str:
    """A line of the table."""
    tolerance = SearchOptions(budget=Budget(candidates=1)).tolerance_of(metric)
    order = sorted(range(len(found.names)), key=lambda i: found.expressions[i].sort_key())
    able = answers(found)
    order = [i for i in order if found.expressions[i] not in able]
    expressions = [found.expressions[i] for i in order]
    rng, rows = np.random.default_rng(0), []
    count = found.scores.shape[1]
    best, worst = (f(map(metric.oriented, metric.range)) for f in (max, min))
    for _ in range(options.orders):
        images = rng.permutation(count)[: options.images]
        if options.images > count:
            images = rng.integers(0, count, options.images)
        cells, known = found.cells[order][:, images], found.published_cells[:, images]
        scores, by_stages = cells.sum(2), []
        published = known[list(able.values())]
        names = (*map(str, expressions), *map(str, able))
        for divided in (image_blocks, cell_blocks):
            stages = divided(len(images), metric)
            board = KeptScores(metric, names, np.concatenate([cells, published]), stages)
            rivals = [
                Candidate(str(e), PUBLISHED, e, board.of(str(e), len(stages) - 1)) for e in able
            ]
            lead = max(rivals, key=lambda c: metric.oriented(c.mean), default=None)
            levels = stages[-1].levels
            bounds = np.full((board.images, levels), float(best) / levels)
            sure = {BOUND: Bounds(bounds, worst)}
            test = SequentialTest(options.delta, tolerance, len(stages) - 1, bounds)
            peers = known if levels > 1 else known.sum(2, keepdims=True)
            raced = searched(board, expressions, peers, sure | {OUTPERFORMED: test}, lead)
            by_stages.append(raced.spent / (len(scores) * stages[-1].end))
        raced.settle()
        rows.append(
            (
                searched(board, expressions, peers, sure).spent / (len(scores) * stages[-1].end),
                *by_stages,
                raced.spent / (len(scores) * stages[-1].end),
                max(scores.mean(1).max(), published.sum(2).mean(1).max(initial=-np.inf))
                - metric.oriented(raced.leader.mean),
                chosen(raced, rivals) == chosen(searched(board, expressions, peers, {}), rivals),
                bound(scores, tolerance, options.delta),
            )
        )
    by_bounds, by_images, by_race, settled, loss, same, least = np.array(rows).T
    return (
        f"| {name} | {len(expressions)} | {board.images}{' repeated' * (options.images > count)} "
        f"| {by_bounds.mean():.0%} | {by_images.mean():.0%} "
        f"| {by_race.mean():.0%} ({by_race.min():.0%} to {by_race.max():.0%}) "
        f"| {settled.mean():.0%} | {int((loss <= 1e-12).sum())} of {len(loss)} "
        f"| {int((loss <= tolerance).sum())} of {len(loss)} | {loss.max():.4f} "
        f"| {int(same.sum())} of {len(loss)} | {least.mean():.0%} |"
    )


def boundary(name: str, found: Table, metric: Metric, options: argparse.Namespace) -> str:
    """A line of the table of ``--boundary``."""
    tolerance = SearchOptions(budget=Budget(candidates=1)).tolerance_of(metric)
    rng, wrong = np.random.default_rng(0), []
    best = found.scores.mean(1).argsort()[::-1][: len(found.names) // 3]
    for _ in range(options.orders):
        images = rng.permutation(found.scores.shape[1])[: options.images]
        stages = cell_blocks(len(images), metric)
        whole = found.cells[:, images], found.published_cells[:, images]
        if stages[-1].levels < 2:
            whole = tuple(scores.sum(2, keepdims=True) for scores in whole)
        cells, known = whole
        no_room = np.full(cells.shape[1:], -1e9)  # gains to come play no part
        test = SequentialTest(options.delta, tolerance, len(stages) - 1, no_room)
        seen = looks(stages[:-1], cells.shape[1:])
        for leader in rng.permutation(best)[:LEADERS]:
            peers = rng.permutation(len(cells))[:BATCH]
            peers = peers[cells[peers].sum(2).mean(1).argsort()]
            beside = np.concatenate([known, cells[peers]])
            for one in rng.permutation(best)[:CANDIDATES]:
                if one == leader or one in peers or np.array_equal(cells[one], cells[leader]):
                    continue
                gap = (cells[leader] - cells[one]).sum(1).mean() + tolerance
                moved = cells[one] + gap / cells.shape[2]
                given = (np.where(cells_seen, moved, np.nan) for cells_seen in seen)
                wrong.append(any(test.drops(cells[leader], part, 1, beside) for part in given))
    share, level = float(np.mean(wrong)), options.delta / 4
    error = (share * (1 - share) / len(wrong)) ** 0.5
    return f"| {name} | {len(wrong)} | {level:.3f} | {share:.3f} ± {error:.3f} |"


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=list(DEFAULT))
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--orders", type=int, default=20)
    parser.add_argument("--boundary", action="store_true", help="whether the test keeps its level")
    parser.add_argument("--delta", type=float, default=0.05)
    parser.add_argument("--kept", type=Path, help="scores that benchmarks/search.py kept")
    parser.add_argument("--metric", default="road:percentiles=30+70", help="of the kept scores")
    parser.add_argument("--max-cost", type=int, default=4, help="of the kept scores")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    columns = (
        "table", "formulas", "images", "by bounds", "race over images", "race", "settled",
        "same leader", "within tolerance", "loss", "same choice", "plain differences need",
    )  # fmt: skip
    if options.boundary:
        columns = "table", "pairs", "level", "dropped, though ahead by the tolerance"
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    if options.kept is not None:
        metric = find_metric(options.metric)
        found = kept(options.kept, metric, options.max_cost)
        print(replay(str(options.kept.parent.name), found, metric, options), flush=True)
        return
    for name in options.names:
        if SETTINGS[name].images != "demo" and not DATA.is_dir():
            print(f"| {name} | no real data at {DATA}; set SYCAM_DATA |")
            continue
        found = table(name, options.cache)
        line = boundary if options.boundary else replay
        print(line(name, found, find_metric(SETTINGS[name].metric), options), flush=True)


if __name__ == "__main__":
    main()
