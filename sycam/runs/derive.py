"""What a finished search says, with its evidence on the held-out images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sycam.events import Notify, Stage, Step, ignore
from sycam.evidence import Evidence, Stack
from sycam.methods import Method, find_method
from sycam.metrics import Context, Metric, find_metric
from sycam.metrics.composition.objectives import Objectives
from sycam.problem.problem import Problem
from sycam.runs.recording import record_of
from sycam.runs.result import Formula, Result
from sycam.scoring.scorer import Scorer
from sycam.scoring.statistics import Interval, interval
from sycam.search import Candidate, SearchOptions
from sycam.search.run import SearchResult
from sycam.search.selection.pareto import Front, describe, pareto_front
from sycam.validation.per_class import Specialisation, specialisation
from sycam.validation.validate import (
    NEW,
    Entrant,
    Measures,
    Settle,
    Validated,
    Validation,
    as_measured,
    validate,
)

PANEL = ("road", "insertion", "deletion", "iou", "energy-pointing-game")
GUARDS = ("class-sensitivity", "randomisation")
HALL = 20  # formulas kept in the result with their scores
FRONT = 6  # of the front's formulas, the best, are scored on the held-out images as well


def derived(
    problem: Problem,
    search: SearchOptions,
    found: SearchResult,
    folder: Path,
    notify: Notify = ignore,
    settle: Settle = as_measured,
) -> Result:
    """What a search says, with its evidence on the held-out images; nothing is written.

    Args:
        problem: what was searched.
        search: how.
        found: by the search.
        folder: of the run.
        notify: watches the progress.
        settle: see :func:`sycam.validation.validate.validate`.
    """
    metric, explained, unseen = problem.metric, problem.explained, problem.unseen
    notify(Stage("Measuring held-out images", len(unseen)))
    leaves = problem.grammar.leaves.union(metric.leaves, *(g.leaves for g in search.guessed))
    measured = explained.measure(unseen, notify, leaves)
    validation = _validate(problem, found, measured, notify, settle)
    notify(Validated(explained, unseen, validation))
    front = pareto_front(found.outcome.candidates, metric)
    scored = _scored_unseen(problem, found, front, measured, notify)
    best = new = None
    if found.winner is not None:
        best = new = _formula(found.winner, metric, validation.winner.heldout)
        if found.known_as is not None:
            best, new = replace(best, known_as=found.known_as), None
            if found.new is not None:
                new = _formula(found.new, metric, validation.row(found.new.name).heldout)
    return Result(
        best=best,
        best_new=new,
        front=tuple(_formula(c, metric, _interval(c, problem, scored)) for c in front),
        hall=tuple(_formula(c, metric) for c in _hall(found, metric)),
        validation=validation,
        record=record_of(
            problem,
            search,
            found,
            _goals(problem, found),
            _classes(problem, found, measured, scored),
        ),
        path=folder,
    )


def _scored_unseen(
    problem: Problem,
    found: SearchResult,
    front: Sequence[Candidate],
    measured: tuple[Evidence | Stack, Context],
    notify: Notify,
) -> dict[str, np.ndarray]:
    """Held-out scores of the front's best and of the winners of the classes, by expression."""
    wanted = [] if isinstance(problem.metric, Objectives) else list(front[-FRONT:])
    if found.classes:
        wanted += [c.candidate for c in found.classes if c.candidate]
        wanted += [found.winner] if found.winner else []
    expressions = dict.fromkeys(c.require_expression() for c in wanted)
    if not expressions:
        return {}
    notify(Stage("Scoring the front on held-out images", len(expressions)))
    scorer, values = Scorer(problem.metric, *measured), {}
    for done, expression in enumerate(expressions, 1):
        values[str(expression)] = scorer.score_method(find_method(expression)).values
        notify(Step(done))
    return values


def _interval(
    candidate: Candidate, problem: Problem, scored: Mapping[str, np.ndarray]
) -> Interval | None:
    """Of a candidate that was scored on the held-out images under the one metric."""
    if candidate.name not in scored or isinstance(problem.metric, Objectives):
        return None
    fitted = problem.metric.fit(candidate.score.values)
    return interval(scored[candidate.name], problem.metric, problem.explained.seed, fitted)


def _goals(problem: Problem, found: SearchResult) -> Front | None:
    """The front of several goals."""
    if not isinstance(problem.metric, Objectives):
        return None
    front = pareto_front(found.outcome.candidates, problem.metric)
    return describe(front, found.outcome.known, problem.metric, found.new)


def _classes(
    problem: Problem,
    found: SearchResult,
    measured: tuple[Evidence | Stack, Context],
    scored: Mapping[str, np.ndarray],
) -> Specialisation | None:
    """What a formula per class gains, where one was searched for each."""
    if not found.classes:
        return None
    classes, seed = measured[1].targets.cpu().numpy(), problem.explained.seed
    return specialisation(found.classes, problem.metric, found.winner, classes, scored, seed)


def _validate(
    problem: Problem,
    found: SearchResult,
    measured: tuple[Evidence | Stack, Context],
    notify: Notify,
    settle: Settle,
) -> Validation:
    metric, *further = problem.goals
    unseen, winner = problem.unseen, found.winner

    def entrant(method: Method, kind: str, c: Candidate) -> Entrant:
        if not further:
            values = c.score.values
            return Entrant(method, kind, float(metric.reduce(values)), metric.fit(values))
        values = problem.metric.part(c.score.values, 0)
        fitted, *others = problem.metric.fit(c.score.values)
        return Entrant(method, kind, float(metric.reduce(values)), fitted, others)

    entrants = [entrant(find_method(c.name), c.kind, c) for c in found.outcome.known]
    if found.known_as is not None and found.new is not None:
        entrants.insert(0, entrant(find_method(found.new.require_expression()), NEW, found.new))
    if winner is not None:
        entrants.insert(0, entrant(find_method(winner.require_expression()), "winner", winner))
    goals = {goal.text for goal in problem.goals}
    panel = [find_metric(name) for name in PANEL if name not in goals]
    panel = [m for m in panel if unseen.masks is not None or not m.needs_masks]
    panel = [m for m in panel if len(unseen.shape) == 3 or m.volumes]
    guards = [find_metric(name) for name in GUARDS]
    measures = Measures(metric, further, panel, guards)
    return validate(entrants, measures, *measured, problem.explained.seed, notify, settle)


def _hall(found: SearchResult, metric: Metric) -> list[Candidate]:
    """The eligible candidates with the highest means."""
    eligible = [c for c in found.outcome.candidates if c.eligible]
    return sorted(eligible, key=lambda c: -metric.oriented(c.mean))[:HALL]


def _formula(candidate: Candidate, metric: Metric, heldout: Interval | None = None) -> Formula:
    return Formula(
        expression=candidate.name,
        cost=candidate.require_expression().cost,
        score=candidate.mean,
        degenerate=candidate.score.degenerate,
        heldout=heldout,
        scores=tuple(metric.per_image(candidate.score.values).tolist()),
    )
