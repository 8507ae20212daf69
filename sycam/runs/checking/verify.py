"""Deriving a result again: a run's claims from its grammar, its journal and its network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from sycam.errors import RunError, SycamError
from sycam.events import Notify, Stage, Step
from sycam.grammar import Grammar, read_grammar
from sycam.methods import find_method
from sycam.metrics import Metric
from sycam.metrics.composition.levels import halves
from sycam.problem.problem import Problem
from sycam.runs.candidates import candidates_text
from sycam.runs.checking.derive import derived, undecided
from sycam.runs.checking.discrepancies import MEASURED, Unchecked, discrepancies
from sycam.runs.checking.recorded import Given, recorded_request
from sycam.runs.file_names import CANDIDATES_FILE, RESULT_FILE
from sycam.runs.record import RunRecord
from sycam.runs.result import LARGEST, Result, digest_of
from sycam.scoring.blocks import by_image, cell_blocks
from sycam.scoring.journaled_scorer import recorded_name
from sycam.scoring.scorer import Score
from sycam.search.choice import contenders
from sycam.search.outcome import GUIDED
from sycam.search.run import SearchResult, run_search
from sycam.search.selection.select import Candidate
from sycam.support.bounded_json import read_json
from sycam.validation.adaptive import ADAPTIVE, Adaptive
from sycam.validation.entrants import Entrant
from sycam.validation.findings import Validated
from sycam.validation.heldout_scores import BESIDE, GOALS, GUARDS, Conduct
from sycam.version import __version__

_TOLD = 5  # faults of one claim
_CLAIMS = {  # what is compared with the record, and by its keys where; the last takes the rest
    "the recorded search, played again, ends as the certificate states": (
        "certificate", "search", "refused", "required",
    ),
    "winner, front and leaders are those of the journal, with their scores": (
        "best", "best_new", "simplest", "front", "hall", "goals", "classes",
    ),
    "how sure the choice is follows from the journal": ("stability", "resolution"),
    "rows, scores, panel, guards, intervals and p values are those of the held-out images": (
        "validation", "adaptive",
    ),
    "all else on record is as it was derived": (),
}  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One claim of a run.

    Attributes:
        claim: in words.
        found: what is wrong with it; empty where it holds.
    """

    claim: str
    found: str = ""

    @property
    def holds(self) -> bool:
        """Whether it was derived again."""
        return not self.found


@dataclass
class Verification:
    """What became of a run's claims.

    Attributes:
        checks: in the order in which they were made.
        unchecked: what of the record could not be derived, so that nothing is known of it.
    """

    checks: list[Check] = field(default_factory=list)
    unchecked: list[Unchecked] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether all claims hold."""
        return all(check.holds for check in self.checks)

    @contextmanager
    def claim(self, text: str) -> Iterator[Callable[[str], None]]:
        """Check a claim: the block calls what it is given with each fault; an error is one."""
        faults: list[str] = []
        try:
            yield faults.append
        except SycamError as error:
            faults.append(str(error))
        self.checks.append(Check(text, "; ".join(faults)))


def verified(
    result: Result, given: Given, device: str | torch.device | None, notify: Notify
) -> Verification:
    """The claims of a loaded run, derived again: see :func:`sycam.verify`.

    Args:
        result: loaded from its folder, whose Python files may be imported.
        given: what is not on record.
        device: where to run.
        notify: watches the progress.

    Raises:
        RunError: what it ran on is not on record and was not given.
    """
    done = Verification()
    record, folder = result.record, result.path
    assert folder is not None  # it was loaded from one
    with done.claim("the file is as it was written") as fault:
        data = read_json(folder / RESULT_FILE, LARGEST)
        if data.get("digest") != digest_of(data):
            fault("its content does not have the digest that it states")
    search = record.settings.options
    if search.storage is not None:
        raise RunError(
            "the run's proposals came from a study that other runs share, so that its search "
            "cannot be played again"
        )
    grammar = _grammar(done, result)
    if grammar is None:
        return done
    asked = recorded_request(result, grammar, given, device)
    problem = None
    with done.claim("network, images, metric and options are those of the run") as fault:
        problem = Problem.of(asked, notify)
        if problem.identity != record.identity:
            fault(_differences(problem, record))
    if problem is None or not done.checks[-1].holds:
        return done
    found = None
    with done.claim("the recorded search can be played again from its journal") as fault:
        notify(Stage("Playing the search again"))
        found = run_search(problem, search, folder, result.certificate.script, notify)
    if found is None:
        return done
    with done.claim(
        "published CAMs, controls and all formulas listed, scored again, have the journal's scores"
    ) as fault:
        _check_scores(found, result, problem, notify, fault)
    again = None
    with done.claim("all rows, scored again, can be compared on the held-out images") as fault:
        if result.validation.is_pending:
            again = undecided(problem, search, found, folder)
        else:
            conduct = _as_recorded(result, problem)
            again = derived(problem, search, found, folder, _without_result(notify), conduct)
    if again is not None:
        _compare(done, data, again, problem, given)
        if (folder / CANDIDATES_FILE).exists():  # runs of before it was written lack it
            with done.claim("the table of candidates is that of the search") as fault:
                if candidates_text(result.candidates) != candidates_text(again.candidates):
                    fault(f"{CANDIDATES_FILE} says otherwise")
    if not done.holds and (made := record.environment.get("sycam")) != __version__:
        said = f"what other versions record otherwise: the run is of {made}, this is {__version__}"
        done.unchecked.append(Unchecked("", said))
    return done


def _grammar(done: Verification, result: Result) -> Grammar | None:
    """The run's grammar, where its text can be read."""
    grammar, recorded = None, result.record.grammar
    with done.claim(
        "the grammar has the digest and the trees that the certificate states"
    ) as fault:
        grammar = read_grammar(recorded.text, recorded.name).at(result.record.network.layers)
        if {grammar.digest} != {recorded.digest, result.certificate.grammar}:
            fault(f"its digest is {grammar.digest}")
        levels = result.certificate.levels
        trees = grammar.tree_counts(len(levels))
        if trees != [level.trees for level in levels]:
            fault(f"the trees by cost are {trees}")
    return grammar


def _compare(
    done: Verification, data: Mapping[str, Any], again: Result, problem: Problem, given: Given
) -> None:
    """The record against what was derived, value by value, a claim for each part of it."""
    new = {
        "network": given.network is not None,
        "images": (given.images, given.heldout) != (None, None),
    }
    differing, done.unchecked = discrepancies(
        {key: value for key, value in data.items() if key != "digest"},
        again.to_dict(),
        any(goal.components for goal in problem.goals),
        {name for name, is_given in new.items() if is_given},
        max(_unit(problem, goal) for goal in problem.goals),
    )
    guided = GUIDED in data["certificate"]["entered"]
    for text, keys in _CLAIMS.items():
        with done.claim(text) as fault:
            faults = [d for d in differing if not keys or d.path[0] in keys]
            differing = [d for d in differing if d not in faults]
            for one in faults[:_TOLD]:
                fault(str(one))
            if len(faults) > _TOLD:
                fault(f"and {len(faults) - _TOLD} more")
            if guided and any(d.path[0] == "certificate" for d in faults):
                fault(
                    "another machine may round otherwise and propose others: verify a guided run "
                    "where it was made"
                )


def _differences(problem: Problem, record: RunRecord) -> str:
    """Which part of the identity is another one."""
    if problem.explained.digest != record.network.digest:
        return "the network computes something else than the run's"
    if list(problem.searched.images.shape[1:]) != list(record.data.shape):
        return f"the images are {list(problem.searched.images.shape[1:])}"
    return "the images, masks, labels, metric or requirements are others, or SyCAM's version is"


def _without_result(notify: Notify) -> Notify:
    """What watches, but for the leaderboard: it is not yet known to be right."""
    return lambda event: None if isinstance(event, Validated) else notify(event)


def _unit(problem: Problem, metric: Metric) -> float:
    return metric.unit(problem.context.scale.largest)


def _as_recorded(result: Result, problem: Problem) -> Conduct:
    """What is on record is measured again, and no more; where the held-out scores on record are
    those measured, but for rounding, they count: what is computed from them must then be as
    stated."""
    rows = {(row.kind, row.name): row for row in result.validation.rows}
    beside = {formula.expression for formula in result.front if formula.heldout is not None}
    goals = result.validation.goals
    adaptive = result.record.adaptive
    halves_of = _stated_halves(adaptive, problem.metric)

    def wanted(entrant: Entrant, part: str, metric: Metric) -> bool:
        if part == ADAPTIVE:
            return adaptive is not None and bool(adaptive.rows)
        if result.validation.left_out is None:
            return True
        if part == BESIDE:
            return entrant.method.name in beside or result.record.classes is not None
        row = rows.get((entrant.kind, entrant.method.name))
        if row is None or part == GOALS:
            return row is not None
        return metric.text in (row.guards if part == GUARDS else row.panel)

    def settle(entrant: Entrant, metric: Metric, score: Score) -> Score:
        row = rows.get((entrant.kind, entrant.method.name))
        stated = halves_of.get((recorded_name(entrant.method), metric.text))
        if row is not None and not metric.components and metric.text in goals:
            stated = np.array(row.under(metric.text).scores)
        if stated is None:
            return score
        same = stated.shape == score.values.shape and np.allclose(
            stated, score.values, rtol=0, atol=MEASURED * _unit(problem, metric), equal_nan=True
        )
        return (
            Score.of(metric, stated, score.degenerate, score.finite, score.flat) if same else score
        )

    left_out = result.validation.left_out
    images = result.validation.images if left_out and left_out.images else None
    why = left_out.why if left_out else ""
    return Conduct(wanted=wanted, ended=why, images=images, settle=settle)


def _stated_halves(adaptive: Adaptive | None, metric: Metric) -> dict[tuple[str, str], np.ndarray]:
    """``[N]`` held-out scores on record of the choice image by image, by name of the method and
    text of the half of the metric's levels."""
    if adaptive is None or not adaptive.rows:
        return {}
    choosing, judging = halves(metric)
    return {
        (one.name, half.text): np.array(values)
        for one in adaptive.scores
        for half, values in ((choosing, one.choice), (judging, one.judged))
        if values
    }


def _off_in_cells(candidate: Candidate, problem: Problem) -> float:
    """How far the scores of one that fell behind are from those of any stage of cells; infinite
    where the metric has no levels."""
    metric, stated = problem.metric, candidate.score.values
    if metric.levels < 2:
        return float("inf")
    every = np.tile(np.arange(metric.levels), (len(problem.context), 1))
    method = find_method(candidate.expression or candidate.name)
    cells = problem.scorer.score_method(method, every).values
    blocks = cell_blocks(len(cells), metric)
    values = (by_image(cells, blocks[:count]) for count in range(1, len(blocks)))
    offs = [float(np.abs(v - stated).max()) for v in values if v.shape == stated.shape]
    return min(offs, default=float("inf"))


def _check_scores(
    found: SearchResult,
    result: Result,
    problem: Problem,
    notify: Notify,
    fault: Callable[[str], None],
) -> None:
    """The journal's scores on the search images of all that the result lists."""
    listed = {f.expression for f in (*result.front, *result.hall)}
    listed |= {choice.candidate.name for choice in found.classes if choice.candidate}
    chosen = [found.winner, found.new, found.runner_up, found.whole, found.simplest]
    chosen = [c for c in chosen if c is not None]
    chosen += [c for c in contenders(found.outcome) if c.name in listed]
    chosen += found.portfolios.own if found.portfolios else ()
    # By text: a published CAM that is listed as a formula as well is scored once.
    tolerance = MEASURED * _unit(problem, problem.metric)
    known = (*found.outcome.known, *found.outcome.known_partly)
    asked = {str(c.expression or c.name): c for c in (*chosen, *known)}
    notify(Stage("Scoring on the search images again", len(asked)))
    for count, candidate in enumerate(asked.values(), 1):
        method = candidate.name if candidate.expression is None else candidate.expression
        fresh, stated = problem.scorer.score_method(find_method(method)), candidate.score
        seen = len(stated.values)  # fewer of a published CAM that fell behind
        values = fresh.values[:seen]
        off = float(np.abs(values - stated.values).max())
        if not off <= tolerance and candidate in found.outcome.known_partly:
            off = min(off, _off_in_cells(candidate, problem))
        if not off <= tolerance and not np.array_equal(values, stated.values, equal_nan=True):
            fault(f"{candidate.name} differs by up to {off:.2g} an image")
        elif seen == len(fresh.values) and (fresh.degenerate, fresh.finite) != (
            stated.degenerate,
            stated.finite,
        ):
            fault(f"{candidate.name} ranks nothing on {fresh.degenerate} images")
        notify(Step(count))
