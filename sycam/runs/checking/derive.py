"""What a finished search says, with its evidence on the held-out images."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from sycam.events import INTERRUPT, Interrupted, Notify, Stage, Step, ignore
from sycam.evidence import Evidence, Stack
from sycam.methods import Method, find_method
from sycam.metrics import Context, Metric
from sycam.metrics.composition.objectives import Objectives
from sycam.problem.problem import Problem
from sycam.runs.candidates import candidates_of
from sycam.runs.record import RunRecord
from sycam.runs.recording import record_of
from sycam.runs.result import Formula, Result
from sycam.scoring.statistics import Interval, interval
from sycam.search import Candidate, SearchOptions
from sycam.search.choice import published_name
from sycam.search.racing.known import chosen_rival
from sycam.search.run import SearchResult, search_blocks
from sycam.search.selection.pareto import Front, describe, pareto_front
from sycam.validation.adaptive import Adaptive, Contest, adaptive_evidence
from sycam.validation.entrants import NEW, SIMPLEST, WINNER, Entrant
from sycam.validation.findings import Validated, Validation
from sycam.validation.heldout_scores import BESIDE, USUAL, Conduct
from sycam.validation.measures import Measures
from sycam.validation.per_class import Specialisation, specialisation
from sycam.validation.validate import validate

HALL = 20  # formulas kept in the result with their scores
FRONT = 6  # of the front's formulas, the best, are scored on the held-out images as well


def derived(
    problem: Problem,
    search: SearchOptions,
    found: SearchResult,
    folder: Path,
    notify: Notify = ignore,
    conduct: Conduct = USUAL,
) -> Result:
    """What a search says, with its evidence on the held-out images; nothing is written but to the
    journal that ``conduct`` opens.

    Args:
        problem: what was searched.
        search: how.
        found: by the search.
        folder: of the run.
        notify: watches the progress.
        conduct: for how long held-out evidence is gathered.
    """
    explained, unseen = problem.explained, problem.unseen
    if conduct.images is not None:
        unseen = unseen.subset(list(range(conduct.images)))
    notify(Stage("Measuring held-out images", len(unseen)))
    leaves = problem.grammar.leaves.union(
        problem.metric.leaves, *(g.leaves for g in search.guessed)
    )
    measured = conduct.scoring.measure(explained, unseen, notify, leaves)
    # The rest of the rows leaves time for what was asked for.
    of_rows = replace(conduct, left=lambda: conduct.left() - conduct.reserved)
    validation = _validate(problem, found, measured, notify, of_rows)
    notify(Validated(explained, unseen, validation))
    contest, adaptive = _contest(problem, found), None
    if contest is not None:
        adaptive = Adaptive.pending(contest, problem.metric)
        if not (validation.left_out and validation.left_out.why == INTERRUPT):
            given = (contest, problem.metric, measured, explained.seed)
            adaptive = adaptive_evidence(*given, notify, conduct)
    scored = {}
    if validation.winner is not None or found.winner is None:
        scored = _scored_unseen(problem, found, measured, notify, conduct)
    classes = _classes(problem, found, measured, scored)
    record = record_of(problem, search, found, _goals(problem, found), classes, adaptive)
    return _result(problem, found, folder, validation, scored, record)


def undecided(problem: Problem, search: SearchOptions, found: SearchResult, folder: Path) -> Result:
    """What a search says before there is any evidence on the held-out images."""
    validation = Validation.pending(Measures.of(problem))
    contest = _contest(problem, found)
    adaptive = None if contest is None else Adaptive.pending(contest, problem.metric)
    record = record_of(problem, search, found, _goals(problem, found), adaptive=adaptive)
    return _result(problem, found, folder, validation, {}, record)


def _result(
    problem: Problem,
    found: SearchResult,
    folder: Path,
    validation: Validation,
    scored: Mapping[str, np.ndarray],
    record: RunRecord,
) -> Result:
    metric = problem.metric
    heldout = {(row.kind, row.name): row.heldout for row in validation.rows}
    best = new = None
    if found.winner is not None:
        best = new = _formula(found.winner, metric, heldout.get((WINNER, found.winner.name)))
        if found.known_as is not None:
            best, new = replace(best, known_as=found.known_as), None
            if found.new is not None:
                new = _formula(found.new, metric, heldout.get((NEW, found.new.name)))
    simplest = None
    if found.simplest is not None:
        name = found.simplest.name
        rows = (row.heldout for row in validation.rows if row.expression == name)
        simplest = _formula(found.simplest, metric, next(rows, None))
        simplest = replace(simplest, known_as=published_name(found.outcome, found.simplest))
    front = pareto_front(found.outcome.candidates, metric)
    return Result(
        best=best,
        best_new=new,
        simplest=simplest,
        front=tuple(_formula(c, metric, _interval(c, problem, scored)) for c in front),
        hall=tuple(_formula(c, metric) for c in _hall(found, metric)),
        validation=validation,
        record=record,
        path=folder,
        scored=candidates_of(problem, found, search_blocks(problem, record.settings.options)),
    )


def _contest(problem: Problem, found: SearchResult) -> Contest | None:
    """Who is compared where a formula is chosen image by image; None where none is."""
    if found.portfolios is None:
        return None
    winner = found.winner
    rival = chosen_rival(found.outcome.known, problem.metric)
    return Contest(
        own=[find_method(c.require_expression()) for c in found.portfolios.own],
        published=[find_method(c.name) for c in found.portfolios.published],
        winner=None if winner is None else find_method(winner.require_expression()),
        rival=None if rival is None else find_method(rival.name),
    )


def _scored_unseen(
    problem: Problem,
    found: SearchResult,
    measured: tuple[Evidence | Stack, Context],
    notify: Notify,
    conduct: Conduct,
) -> dict[str, np.ndarray]:
    """Held-out scores of the front's best and of the winners of the classes, by expression; as
    many as there is time for."""
    metric = problem.metric
    front = pareto_front(found.outcome.candidates, metric)
    wanted = [] if isinstance(metric, Objectives) else list(front[-FRONT:])
    if found.classes:
        wanted += [c.candidate for c in found.classes if c.candidate]
        wanted += [found.winner] if found.winner else []
    expressions = list(dict.fromkeys(c.require_expression() for c in wanted))
    if not expressions:
        return {}
    notify(Stage("Scoring the front on held-out images", len(expressions)))
    scorer, values, longest = problem.scoring.scorer(metric, *measured), {}, 0.0
    try:
        for done, expression in enumerate(reversed(expressions), 1):  # the best of the front first
            method = find_method(expression)
            entrant = Entrant(method, BESIDE, float("nan"))
            if longest <= conduct.left() and conduct.wanted(entrant, BESIDE, metric):
                started = time.monotonic()
                values[str(expression)] = scorer.score_method(method).values
                longest = max(longest, time.monotonic() - started)
            notify(Step(done))
    except KeyboardInterrupt:
        notify(Interrupted("interrupted: the rest of the front has no held-out figures"))
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
    """What a formula per class gains, where one was searched for each and all could be scored."""
    needed = {c.candidate.name for c in found.classes if c.candidate}
    if not found.classes or not needed <= scored.keys():
        return None
    classes, seed = measured[1].targets.cpu().numpy(), problem.explained.seed
    return specialisation(found.classes, problem.metric, found.winner, classes, scored, seed)


def _validate(
    problem: Problem,
    found: SearchResult,
    measured: tuple[Evidence | Stack, Context],
    notify: Notify,
    conduct: Conduct,
) -> Validation:
    metric, *further = problem.goals
    winner = found.winner

    def entrant(method: Method, kind: str, c: Candidate) -> Entrant:
        if not further:
            values = c.score.values
            return Entrant(method, kind, float(metric.reduce(values)), metric.fit(values))
        values = problem.metric.part(c.score.values, 0)
        fitted, *others = problem.metric.fit(c.score.values)
        return Entrant(method, kind, float(metric.reduce(values)), fitted, others)

    entrants = [entrant(find_method(c.name), c.kind, c) for c in found.outcome.known]
    simple, shown = found.simplest, {e.method.expression for e in entrants}
    if winner is not None:
        shown |= {c.expression for c in (winner, found.new) if c is not None}
    if simple is not None and simple.expression not in shown:
        method = find_method(simple.require_expression())
        entrants.insert(0, entrant(method, SIMPLEST, simple))
    if found.known_as is not None and found.new is not None:
        entrants.insert(0, entrant(find_method(found.new.require_expression()), NEW, found.new))
    if winner is not None:
        entrants.insert(0, entrant(find_method(winner.require_expression()), WINNER, winner))
    measures, seed = Measures.of(problem), problem.explained.seed
    return validate(entrants, measures, *measured, seed, notify, conduct)


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
