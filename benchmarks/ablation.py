"""What each part of the search saves: equivalence, race and guide taken away, one by one.

    python benchmarks/ablation.py [NAME ...] [--seeds 3] [--variants values,race] [--out FILE.json]

Each variant searches the same task (network, images, metric, grammar `gradient`): first until it
has found the *goal*, the best score that exact mode finds with equivalence by values up to the cost
bound, then to its end. Counted are candidates that entered, forward passes on perturbed images
(those of published CAMs and controls included) and seconds; then the winner by the default rule, on
images that no search has seen.

Exact variants differ in what counts as one formula: nothing (each distinct expression is scored),
equal values, equal scores (the paper's oracle), or both. Race and guide merge by values and get as
many candidates as the exact variant by values has: the race goes through the same space in the same
order, the guide proposes beyond the cost bound from the second cost on. The default rule of
selection brings back what the race has dropped but might prefer; under argmax nothing is brought
back. With a delta of 1e-12 nothing is dropped by the race. Constants are not tuned. Seconds count
what the second go makes again, mostly proposals.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from transfer import SUBJECTS

from sycam.data.images import choose
from sycam.errors import unknown_name
from sycam.methods import find_method
from sycam.methods.method import RIVALS
from sycam.problem.images import with_masks
from sycam.problem.options import DataOptions
from sycam.problem.problem import Problem
from sycam.problem.request import GRADIENT, Request
from sycam.scoring.scorer import Scorer
from sycam.search import Budget, SearchOptions
from sycam.search.run import SearchResult, run_search

ALL = 10**6  # candidates: a budget that the cost bound ends
NEAR = 1e-9  # scores of one heatmap, written in two ways, differ by less


@dataclass(frozen=True)
class Setting:
    """What is searched.

    Attributes:
        subject: of :data:`transfer.SUBJECTS`.
        metric: its text.
        max_cost: of exact variants and of the race.
        search_images, heldout_images: how many.
    """

    subject: str
    metric: str
    max_cost: int
    search_images: int = 64
    heldout_images: int = 128


# Two of ROAD's nine percentiles: the whole of it would take five times as long.
ROAD = "road:percentiles=30+70"
SETTINGS = {
    "demo-road": Setting("demo", ROAD, 3),
    "resnet20-road": Setting("resnet20-layer2", ROAD, 3),
    "demo-average-drop": Setting("demo", "average-drop", 3),
    "resnet20-average-drop": Setting("resnet20-layer2", "average-drop", 3),
    "demo-iou-cost-4": Setting("demo", "iou", 4),
    "busi-iou-cost-4": Setting("busi", "iou", 4, 50, 50),
}
EXACT = {"constants": False, "mode": "exact"}
BOUNDED = {"constants": False, "equivalence": "values"}  # by the number of candidates
REFERENCE = "values"
VARIANTS: dict[str, tuple[str, dict]] = {
    "none": ("exact, no equivalence", EXACT | {"equivalence": "none"}),
    REFERENCE: ("exact, by values", EXACT | {"equivalence": "values"}),
    "metric": ("exact, by metric", EXACT | {"equivalence": "metric"}),
    "both": ("exact, by both", EXACT | {"equivalence": "both"}),
    "race": ("race, by values", BOUNDED | {"mode": "race"}),
    "race-argmax": ("race, rule argmax", BOUNDED | {"mode": "race", "rule": "argmax"}),
    "guided": ("race and guide", BOUNDED | {"mode": "guided"}),
    "guide": ("guide without race", BOUNDED | {"mode": "guided", "delta": 1e-12}),
}
"""A short name to what it is, and its options."""


@dataclass(frozen=True)
class Spent:
    """What a search took.

    Attributes:
        candidates: that entered.
        passes: forward passes on perturbed images.
        seconds: of the search.
    """

    candidates: int
    passes: int
    seconds: float


@dataclass(frozen=True)
class Measured:
    """One variant on one task.

    Attributes:
        setting, variant, seed: which.
        to_goal: until the goal was reached; None if it was not.
        whole: until the search ended.
        best: the highest score on the search images, in the metric's direction.
        goal: the score to be reached.
        winner: by the rule of selection; empty for none.
        heldout: its figure on images that no search has seen.
        published: the best published CAM's or baseline's there.
    """

    setting: str
    variant: str
    seed: int
    to_goal: Spent | None
    whole: Spent
    best: float
    goal: float
    winner: str
    heldout: float
    published: float


def task_of(setting: Setting, seed: int) -> Problem:
    """Network and images of a setting."""
    subject = SUBJECTS[setting.subject]
    images = (subject.search or subject.load)()
    heldout: object = setting.heldout_images
    if subject.search is not None and not isinstance(images, str):
        heldout = choose(subject.load(), setting.heldout_images, seed)
    data = DataOptions(search_images=setting.search_images, heldout=heldout)
    return Problem.of(
        Request(
            subject.source, subject.layer, images, setting.metric, GRADIENT, data=data, seed=seed
        )
    )


def spent(found: Sequence[SearchResult]) -> Spent:
    """By gos of one search, the later going on where the earlier ended."""
    last = found[-1].outcome
    return Spent(
        sum(last.phases.values()),
        sum(one.outcome.passes for one in found),
        sum(one.outcome.seconds for one in found),
    )


def best_of(found: SearchResult, problem: Problem) -> float:
    """The highest score of an admissible candidate that saw all images, oriented."""
    names = {c.name: problem.metric.oriented(c.mean) for c in found.outcome.candidates}
    return names[found.outcome.leaders[-1]]


def measure(name: str, seed: int, variants: Sequence[str]) -> list[Measured]:
    """The variants on one task, in their order."""
    setting = SETTINGS[name]
    problem = task_of(setting, seed)
    oriented = problem.metric.oriented
    exact = SearchOptions(
        budget=Budget(candidates=ALL), max_cost=setting.max_cost, **VARIANTS[REFERENCE][1]
    )
    problem.scorer.prepare(ALL)  # the network is compiled: none of the variants is charged for it
    with tempfile.TemporaryDirectory() as folder:
        reference = run_search(problem, exact, Path(folder))
    goal, size = best_of(reference, problem), spent([reference]).candidates
    unseen = with_masks(problem.unseen, problem.metric.needs_masks)
    judge = Scorer(
        problem.metric, *problem.explained.measure(unseen, leaves=problem.grammar.leaves)
    )
    known = [find_method(m.name) for m in problem.known if m.kind in RIVALS]
    published = oriented(max(oriented(judge.score_method(m).mean) for m in known))
    found = []
    for variant in variants:
        chosen = VARIANTS[variant][1]
        budget = ALL if chosen["mode"] == "exact" else size
        options = SearchOptions(
            budget=Budget(candidates=budget), max_cost=setting.max_cost, **chosen
        )
        # Until the goal the rule of selection has no part: it may bring back what was dropped.
        first = replace(options, threshold=oriented(goal - NEAR))
        if options.mode != "exact":
            first = replace(first, rule="argmax")
        with tempfile.TemporaryDirectory() as folder:
            begun = run_search(problem, first, Path(folder))
            # The same folder, so that nothing is scored twice.
            ended = (
                reference if variant == REFERENCE else run_search(problem, options, Path(folder))
            )
        whole = [reference] if variant == REFERENCE else [begun, ended]
        winner = ended.winner
        found.append(
            Measured(
                setting=name,
                variant=variant,
                seed=seed,
                to_goal=spent([begun]) if begun.outcome.stopped == "threshold" else None,
                whole=spent(whole),
                best=oriented(best_of(ended, problem)),
                goal=oriented(goal),
                winner=winner.name if winner else "",
                heldout=judge.score_method(find_method(winner.name)).mean if winner else 0.0,
                published=published,
            )
        )
        print(found[-1], flush=True)
    return found


def table(found: Sequence[Measured], name: str) -> str:
    """One setting as a Markdown table: medians over seeds."""
    found = [m for m in found if m.setting == name]
    seeds = sorted({m.seed for m in found})
    of_reference = {m.seed: m.winner for m in found if m.variant == REFERENCE}
    lines = [
        "| variant | candidates | passes | seconds | to the goal: candidates | passes | seconds "
        "| goal found | winner (seed 0) | as by values | held-out |",
        "|" + "---|" * 11,
    ]
    for variant, (said, _) in VARIANTS.items():
        rows = sorted((m for m in found if m.variant == variant), key=lambda m: m.seed)
        if not rows:
            continue
        reached = [m.to_goal for m in rows if m.to_goal]
        same = sum(m.winner == of_reference.get(m.seed) for m in rows)
        heldout = statistics.median(m.heldout for m in rows)
        lines.append(
            f"| {said} | {' | '.join(_medians([m.whole for m in rows]))} "
            f"| {' | '.join(_medians(reached))} | {len(reached)} of {len(rows)} "
            f"| `{rows[0].winner}` | {same} of {len(rows)} | {heldout:.4f} |"
        )
    published = statistics.median(m.published for m in found)
    lines += [
        "",
        f"Seeds {', '.join(map(str, seeds))}; best published CAM held-out {published:.4f}.",
    ]
    return "\n".join(lines)


def _medians(found: Sequence[Spent]) -> list[str]:
    if not found:
        return ["", "", ""]
    candidates, passes, seconds = (
        statistics.median(getattr(one, part) for one in found)
        for part in ("candidates", "passes", "seconds")
    )
    return [f"{candidates:,.0f}", f"{passes:,.0f}", f"{seconds:.0f}"]


def checked(names: Sequence[str], kind: str, known: Mapping[str, object]) -> list[str]:
    """Names that are all known."""
    for name in names:
        if name not in known:
            raise unknown_name(kind, name, known)
    return list(names)


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=list(SETTINGS), help=", ".join(SETTINGS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--out", type=Path)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    names = checked(options.names, "setting", SETTINGS)
    variants = checked(options.variants.split(","), "variant", VARIANTS)
    found: list[Measured] = []
    for seed in range(options.seeds):
        for name in names:
            found += measure(name, seed, variants)
            if options.out:  # after each, as some take long
                options.out.write_text(json.dumps([asdict(m) for m in found], indent=1) + "\n")
    for name in names:
        setting = SETTINGS[name]
        print(
            f"\n{name}: {setting.metric}, {setting.search_images} search images, cost "
            f"{setting.max_cost}\n\n{table(found, name)}"
        )


if __name__ == "__main__":
    main()
