"""Methods scored on held-out images, and the winner compared with each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sycam.events import Notify, ignore
from sycam.evidence import Evidence, Stack
from sycam.methods.method import RIVALS
from sycam.methods.rivals import best_rival, descending
from sycam.metrics import Context, Metric
from sycam.scoring.statistics import (
    Comparison,
    Scored,
    compared,
    interval,
    swap_p,
    swappable,
)
from sycam.validation.entrants import NEW, SIMPLEST, WINNER, Entrant
from sycam.validation.findings import AnotherImputer, Further, LeftOut, Row, Validation, beats
from sycam.validation.heldout_scores import (
    ANOTHER,
    BUDGET,
    GOALS,
    GUARDS,
    PANEL,
    USUAL,
    Conduct,
    HeldOutScores,
)
from sycam.validation.measures import GUARDED, Measures


def _figure(metric: Metric, values: np.ndarray, fitted: Any) -> float:
    return float(metric.reduce(values, fitted)) if len(values) else float("nan")


def validate(
    entrants: Sequence[Entrant],
    measures: Measures,
    evidence: Evidence | Stack,
    context: Context,
    seed: int = 0,
    notify: Notify = ignore,
    conduct: Conduct = USUAL,
) -> Validation:
    """Score methods on held-out images and compare the winner with every other.

    Args:
        entrants: the methods; at most one of kind ``"winner"``.
        measures: under which they are scored.
        evidence: measurements on the held-out images.
        context: of the same images.
        seed: of bootstrap and sign flips.
        notify: watches the progress.
        conduct: for how long, and where scores are kept.

    Returns:
        The evidence; without rows where it was interrupted before the winner was scored.
    """
    heldout = HeldOutScores(entrants, measures, evidence, context, conduct, notify)
    heldout.measure()
    return _evaluated(heldout, seed)


def _evaluated(heldout: HeldOutScores, seed: int) -> Validation:
    """The figures and tests of what was scored."""
    measures, images = heldout.measures, len(heldout.context)
    metric, goals = measures.metric, measures.goals
    scores = [heldout.scores(i, GOALS) for i in range(len(heldout.entrants))]
    there = [i for i, known in enumerate(scores) if len(known) == len(goals)]
    kinds = [entrant.kind for entrant in heldout.entrants]
    if WINNER in kinds and kinds.index(WINNER) not in there:
        there = []
    entrants = [heldout.entrants[i] for i in there]
    columns = [[scores[i][goal.text] for goal in goals] for i in there]
    panel, guards = (
        [
            {text: s.mean for part in parts for text, s in heldout.scores(i, part).items()}
            for i in there
        ]
        for parts in ((PANEL, ANOTHER), (GUARDS,))
    )
    # Images on which no method's map is degenerate.
    sound = np.ones(images, bool)
    for first, *_ in columns:
        sound &= ~np.asarray(first.flat, bool)
    winner = next((i for i, e in enumerate(entrants) if e.kind == WINNER), None)
    # By goal and entrant.
    fitted = [[e.fitted, *e.fitted_further][: len(goals)] for e in entrants]
    values = [[column[g].values for column in columns] for g in range(len(goals))]
    added = [
        [goal.per_image(v, f[g]) for v, f in zip(values[g], fitted, strict=True)]
        for g, goal in enumerate(goals)
    ]
    oriented = [list(map(goal.oriented, a)) for goal, a in zip(goals, added, strict=True)]
    comparisons = _compare(
        winner,
        entrants,
        [
            [
                Scored(o, goal, v, f[g])
                for o, v, f in zip(oriented[g], values[g], fitted, strict=True)
            ]
            for g, goal in enumerate(goals)
        ],
        seed,
    )
    rows = [
        Row(
            name=entrant.method.name,
            kind=entrant.kind,
            expression=None if e is None else str(e),
            cost=None if e is None else e.cost,
            search=entrant.search,
            heldout=interval(score.values, metric, seed, entrant.fitted),
            sound=_figure(metric, score.values[sound], entrant.fitted),
            degenerate=score.degenerate,
            panel=panel[i],
            against=comparisons.get((0, i)),
            scores=tuple(added[0][i].tolist()),
            guards=guards[i],
            further={
                goal.text: Further(
                    interval(values[g][i], goal, seed, fitted[i][g]),
                    comparisons.get((g, i)),
                    tuple(added[g][i].tolist()),
                )
                for g, goal in enumerate(goals)
                if g
            },
        )
        for i, (entrant, (score, *_)) in enumerate(zip(entrants, columns, strict=True))
        for e in [entrant.method.expression]
    ]
    rows.sort(key=lambda r: (r.kind != WINNER, descending(metric.oriented(r.heldout.mean))))
    best = best_rival(rows, lambda row: metric.oriented(row.heldout.mean))
    chosen = best_rival(rows, lambda row: metric.oriented(row.search))
    missing = tuple(e.method.name for i, e in enumerate(heldout.entrants) if i not in there)
    fewer = heldout.conduct.images is not None
    return Validation(
        metric=metric.text,
        images=images if rows else 0,
        sound_images=int(sound.sum()) if rows else 0,
        rows=tuple(rows),
        best_published=None if best is None else best.name,
        chosen_published=None if chosen is None else chosen.name,
        beats_published=bool(best and beats(best.against)),
        directions={m.text: m.higher_is_better for m in measures.all},
        guarded_images=min(GUARDED, images) if any(guards) else 0,
        left_out=LeftOut(heldout.ended or BUDGET, missing, fewer)
        if heldout.ended or fewer
        else None,
        another_imputer=_by_another_imputer(heldout, chosen, seed),
    )


def _by_another_imputer(
    heldout: HeldOutScores, chosen: Row | None, seed: int
) -> AnotherImputer | None:
    """The winner against the chosen rival; None where one of them was not measured so."""
    another = heldout.measures.another
    if another is None or chosen is None:
        return None
    measured = {
        (entrant.kind, entrant.method.name): another.oriented(score.values)
        for i, entrant in enumerate(heldout.entrants)
        for score in heldout.scores(i, ANOTHER).values()
    }
    winner = next((values for (kind, _), values in measured.items() if kind == WINNER), None)
    rival = measured.get((chosen.kind, chosen.name))
    if winner is None or rival is None:
        return None
    (against,) = compared([winner - rival], seed)
    return AnotherImputer(another.text, chosen.name, against)


def _compare(
    winner: int | None,
    entrants: Sequence[Entrant],
    scored: Sequence[Sequence[Scored]],
    seed: int,
) -> dict[tuple[int, int], Comparison]:
    """By goal and entrant; ``scored`` are of each goal each entrant's."""
    if winner is None:
        return {}
    pairs = {
        (goal, i): (each[winner], each[i])
        for goal, each in enumerate(scored)
        for i, e in enumerate(entrants)
        if e.kind in (*RIVALS, NEW, SIMPLEST, "control")
    }
    differences = [one.oriented - other.oriented for one, other in pairs.values()]
    raw = [
        swap_p(one, other, seed) if swappable(one, other) else None for one, other in pairs.values()
    ]
    spans = [one.metric.span for one, _ in pairs.values()]
    return dict(zip(pairs, compared(differences, seed, raw, spans), strict=True))
