"""Deriving a result again: a run's claims from its grammar, its journal and its network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sycam.data.images import ImageSet
from sycam.errors import RunError, SycamError
from sycam.evidence.targets import Target
from sycam.hunt import Hunt, contenders, hunt
from sycam.inputs import Images
from sycam.language import read_grammar
from sycam.methods import find_method
from sycam.metrics import Metric, find_metric
from sycam.recorded import recorded_arguments
from sycam.result import RESULT_FILE, Formula, Result, digest_of, load
from sycam.search import Scorer, SearchOptions
from sycam.search.engine import GUIDED
from sycam.search.events import Notify, Stage, ignore
from sycam.statistics import Comparison, compared
from sycam.task import Task
from sycam.trust import check_files, file_of_network, reading_a_run

TOLERANCE = 1e-4  # between scores of two measurements: batches of other sizes round differently
_STATISTICS = 1e-9  # of figures computed from scores on record


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
    """

    checks: list[Check] = field(default_factory=list)

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


def verify(
    run: str | Path,
    network: nn.Module | str | None = None,
    images: Images | None = None,
    heldout: ImageSet | None = None,
    metric: Metric | None = None,
    target: Target | None = None,
    device: str | torch.device | None = None,
    notify: Notify = ignore,
    metric_files: Sequence[str | Path] = (),
    trust: bool = False,
) -> Verification:
    """Derive a run's result again.

    The grammar is counted anew, the network and the images are measured anew; the recorded search
    is played again from the journal, with every decision taken anew; the scores of winner and
    runner-up, and on the held-out images those of the winner and the best published CAM, are
    measured anew; intervals and p values are computed anew from the scores on record.

    Args:
        run: the run's folder.
        network, images, heldout, metric, target: what was given from Python, and is therefore not
            on record; what is on record if None.
        device: where to run.
        notify: watches the progress.
        metric_files: Python files of the run's metrics that may be imported.
        trust: import whatever Python file the run names.

    Raises:
        RunError: there is no finished run, or what it ran on is not on record and was not given.
        TrustError: the run names a Python file that was neither given nor trusted.
    """
    result = load(run)
    named = [file_of_network(network), *metric_files]
    with reading_a_run(filter(None, named), trust):
        check_files(result.record, network, metric)
        return _verified(result, network, images, heldout, metric, target, device, notify)


def _verified(
    result: Result,
    network: nn.Module | str | None,
    images: Images | None,
    heldout: ImageSet | None,
    metric: Metric | None,
    target: Target | None,
    device: str | torch.device | None,
    notify: Notify,
) -> Verification:
    done = Verification()
    folder = result.path
    with done.claim("the file is as it was written") as fault:
        data = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
        if data.get("digest") != digest_of(data):
            fault("its content does not have the digest that it states")
    with done.claim("the held-out figures follow from the held-out scores") as fault:
        _check_statistics(result, fault)
    record = result.record
    options = SearchOptions.from_dict(record["settings"]["search"])
    if options.storage is not None:
        raise RunError(
            "the run's proposals came from a study that other runs share, so that its search "
            "cannot be played again"
        )
    grammar = None
    with done.claim(
        "the grammar has the digest and the trees that the certificate states"
    ) as fault:
        grammar = read_grammar(record["grammar"]["text"], record["grammar"]["name"])
        if {grammar.digest} != {record["grammar"]["digest"], result.certificate["grammar"]}:
            fault(f"its digest is {grammar.digest}")
        levels = result.certificate["levels"]
        trees = grammar.tree_counts(len(levels))
        if trees != [level["trees"] for level in levels]:
            fault(f"the trees by cost are {trees}")
    if grammar is None:
        return done
    given = recorded_arguments(result, grammar, network, images, heldout, metric, target)
    task = None
    with done.claim("network, images, metric and options are those of the run") as fault:
        task = Task.prepare(**given, device=device, notify=notify)
        if task.identity != record["identity"]:
            fault(_differences(task, record))
    if task is None or not done.checks[-1].holds:
        return done
    found = None
    with done.claim("the recorded search, played again, ends as the certificate states") as fault:
        notify(Stage("Playing the search again"))
        script = {**result.certificate["entered"], "settling": result.certificate["settling"]}
        found = hunt(task, options, folder, script, notify)
        _check_certificate(found, result, fault)
    if found is None:
        return done
    with done.claim("winner, front and leaders have the scores of the journal") as fault:
        _check_formulas(found, task, result, fault)
    with done.claim("winner and runner-up, scored anew, have these scores") as fault:
        notify(Stage("Scoring winner and runner-up again"))
        _check_scores(found, task, fault)
    with done.claim(
        "winner and best published CAM, scored anew, have the held-out scores"
    ) as fault:
        notify(Stage("Scoring on held-out images again"))
        _check_heldout(result, task, notify, fault)
    return done


def _differences(task: Task, record: dict) -> str:
    """Which part of the identity is another one."""
    if task.subject.digest != record["network"]["digest"]:
        return "the network computes something else than the run's"
    if list(task.searched.images.shape[1:]) != record["data"]["shape"]:
        return f"the images are {list(task.searched.images.shape[1:])}"
    return "the images, masks, labels, metric or requirements are others, or SyCAM's version is"


def _check_certificate(found: Hunt, result: Result, fault: Callable[[str], None]) -> None:
    # Why it stopped is no decision that can be taken again.
    again = json.loads(json.dumps(found.certificate))
    stated = dict(result.certificate)
    other = [k for k in dict.fromkeys((*stated, *again)) if again.get(k) != stated.get(k)]
    other = [key for key in other if key != "stopped"]
    for key in other:
        fault(f"{key}: stated {stated.get(key)!r}, found {again.get(key)!r}"[:300])
    if other and GUIDED in stated["entered"]:
        fault(
            "another machine may round otherwise and propose others: verify a guided run where it "
            "was made"
        )


def _check_formulas(found: Hunt, task: Task, result: Result, fault: Callable[[str], None]) -> None:
    # By text: a published CAM that won has the scores of its expression.
    scores = {c.name: c.score for c in (*found.outcome.candidates, *contenders(found.outcome))}
    best = () if result.best is None else (result.best,)
    if (found.winner and found.winner.name) != (best[0].expression if best else None):
        fault(f"the winner is {found.winner and found.winner.name}")
    if result.best is not None and result.best.known_as != found.known_as:
        fault(f"the winner is known as {found.known_as}, not {result.best.known_as}")
    if (found.new and found.new.name) != (result.best_new and result.best_new.expression):
        fault(f"the best new formula is {found.new and found.new.name}")
    stated = {
        c["label"]: c["expression"]
        for c in result.record.get("classes", {"classes": ()})["classes"]
    }
    again = {c.label: c.candidate and c.candidate.name for c in found.classes}
    if again != stated:
        fault(f"the winners of the classes are {again}, not {stated}"[:300])
    new = () if result.best_new is None else (result.best_new,)
    for formula in dict.fromkeys((*best, *new, *result.front, *result.hall)):
        score = scores.get(formula.expression)
        if score is None:
            fault(f"{formula.expression} was not scored to the end")
        elif not _same(formula, score.mean, task.metric.per_image(score.values)):
            fault(f"{formula.expression} has {score.mean!r}, not {formula.score!r}")


def _same(formula: Formula, mean: float, scores: np.ndarray) -> bool:
    return formula.score == mean and list(formula.scores) == scores.tolist()


def _check_scores(found: Hunt, task: Task, fault: Callable[[str], None]) -> None:
    asked = (found.winner, found.new, found.runner_up)
    for candidate in {c.name: c for c in asked if c is not None}.values():
        fresh = task.scorer.score_method(find_method(candidate.expression))
        off = float(np.abs(fresh.values - candidate.score.values).max())
        if not off <= TOLERANCE:
            fault(f"{candidate.name} differs by up to {off:.2g} an image")


def _check_heldout(
    result: Result, task: Task, notify: Notify, fault: Callable[[str], None]
) -> None:
    validation = result.validation
    leaves = task.grammar.leaves.union(*(goal.leaves for goal in task.goals))
    evidence, context = task.subject.measure(task.unseen, notify, leaves)
    if len(context) != validation.images:
        fault(f"there are {len(context)} held-out images, not {validation.images}")
        return
    published = {v.goal: v.best_published for v in validation.verdicts}
    if validation.best_published is not None:
        published.setdefault(validation.metric, validation.best_published)
    for goal in task.goals:
        if goal.components or goal.text not in validation.goals:
            # A figure that the search images decide in part is told by the scores alone; earlier
            # versions recorded the first goal only.
            continue
        scorer = Scorer(goal, evidence, context)
        rivals = [validation.row(published[goal.text])] if goal.text in published else []
        for row in filter(None, (validation.winner, *rivals)):
            score = scorer.score_method(find_method(row.expression or row.name))
            stated = row.under(goal.text).heldout.mean
            if not np.isclose(score.mean, stated, rtol=0, atol=TOLERANCE, equal_nan=True):
                fault(f"{row.name} has {goal.text} {score.mean:.6f}, not {stated:.6f}")


def _check_statistics(result: Result, fault: Callable[[str], None]) -> None:
    """Means, intervals and p values of a metric whose figure is the mean of its scores."""
    validation, seed = result.validation, result.record["settings"]["seed"]
    winner = validation.winner
    rivals = [row for row in validation.rows if row.against is not None]
    for row in validation.rows:
        mean = float(np.mean(row.scores))
        same = np.isclose(mean, row.heldout.mean, rtol=0, atol=_STATISTICS, equal_nan=True)
        if result.certificate["averages"] and not same:
            fault(f"{row.name} has {mean:.6f} by its scores, not {row.heldout.mean:.6f}")
    if winner is None or not rivals:
        return
    stated = [(g, r.name, r.under(g)) for g in validation.goals for r in rivals]
    signs = {goal: 1 if validation.directions[goal] else -1 for goal in validation.goals}
    differences = [
        signs[goal] * (np.array(winner.under(goal).scores) - np.array(found.scores))
        for goal, _, found in stated
    ]
    # Components, which figures that are no means need, are not on record: their p is as stated.
    stated_p = [None if _averages(goal, result) else found.against.p for goal, _, found in stated]
    again_each = compared(differences, seed, stated_p)
    for (goal, name, found), again in zip(stated, again_each, strict=True):
        numbers = _numbers(again), _numbers(found.against)
        if not np.allclose(*numbers, rtol=0, atol=_STATISTICS, equal_nan=True):
            fault(f"under {goal} the comparison with {name} is {again}, not {found.against}")
    beats = [v.beats_published for v in validation.verdicts[:1]] == [True]
    if beats != validation.beats_published:
        fault(f"that the winner beats the best published CAM is {beats}")


def _averages(goal: str, result: Result) -> bool:
    """Whether a goal's figure is a mean over images."""
    if goal == result.validation.goals[0]:
        return result.certificate["averages"]
    try:
        return not find_metric(goal).components
    except SycamError:  # it was given as an object
        return True


def _numbers(found: Comparison) -> tuple[float, ...]:
    difference = found.difference
    return (found.p, found.p_holm, found.p_wilcoxon, difference.mean, difference.low,
            difference.high)  # fmt: skip
