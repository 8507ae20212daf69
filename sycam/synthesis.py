"""The main job: evidence, search, validation, result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sycam.events import Note, Notify, Stage, Step, ignore
from sycam.evidence import Evidence, Layers, Stack
from sycam.grammar import Grammar
from sycam.heatmaps import Fusion
from sycam.inference import sharing_cores
from sycam.language import Expression, parse_weights
from sycam.methods import Method, find_method
from sycam.metrics import Context, Metric, find_metric
from sycam.metrics.composition.objectives import Objectives
from sycam.networks import NamedNetwork
from sycam.networks.readings import AUTO
from sycam.networks.reshaping import Reshape
from sycam.problem.images import Images
from sycam.problem.problem import Problem
from sycam.runs.certificate import certificate_of
from sycam.runs.folder import open_folder
from sycam.runs.record import record_of
from sycam.runs.result import Formula, Result
from sycam.scoring.scorer import Scorer
from sycam.scoring.statistics import Interval, interval
from sycam.search import Budget, Candidate, SearchOptions, parse_threshold
from sycam.search.run import SearchResult, run_search
from sycam.search.selection.pareto import describe, pareto_front
from sycam.search.selection.select import DEFAULT_RULE
from sycam.targets.resolve import Target
from sycam.validation.per_class import specialisation
from sycam.validation.validate import (
    NEW,
    Entrant,
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
_SAID = 5  # refused candidates that are told


def synthesize(
    network: nn.Module | str | NamedNetwork,
    layer: Layers,
    images: Images,
    labels: Tensor | Sequence[int] | None = None,
    masks: Tensor | np.ndarray | None = None,
    metric: str | Metric | Sequence[str | Metric] = "road",
    grammar: str | Grammar = "gradient",
    max_cost: int = 4,
    budget: str | int = "5m",
    search_images: int = 64,
    heldout: int | Images = 256,
    target: Target = "predicted",
    device: str | torch.device | None = None,
    seed: int = 0,
    reshape: Reshape = None,
    fusion: Fusion = "mean",
    require: Sequence[str] = (),
    precision: str = "float32",
    mode: str = "race",
    select: str = DEFAULT_RULE,
    delta: float = 0.05,
    tolerance: float | None = None,
    equivalence: str = "values",
    sampler: str = "grammar",
    storage: str | None = None,
    constants: bool = True,
    threshold: float | str | None = None,
    guess: Sequence[str | Expression] = (),
    scope: str = "global",
    correct_only: bool = False,
    out: str | Path | None = None,
    notify: Notify = ignore,
    groups: str | Sequence[object] | None = None,
    output: str = AUTO,
) -> Result:
    """Find the formula of a class activation map that scores best under a metric.

    Args:
        network: a classifier that returns ``(N, classes)``, which is left as it was; or the name
            of one: ``"torchvision:resnet50"``, ``"timm:resnet50.a1_in1k"``,
            ``"FILE.py:FACTORY"``, each also with the file of its weights
            (``"torchvision:resnet50@best.pth"``), or ``"demo"``; see
            :func:`sycam.networks.open_network`.
        layer: the target layer, by name or as a module, ``"auto"`` or ``"last"``; or several
            of them, whose heatmaps are fused. Which formulas differ in meaning is then told by
            the layer that is named first.
        images: ``[N,C,H,W]`` in the network's input scale, an ``ImageSet``, a ``Dataset`` or
            ``DataLoader`` (see :func:`sycam.data.datasets.open_dataset`), a folder, ``.csv`` or
            ``.npz`` file (read with the preprocessing that the named network has), or ``"demo"``.
        labels: ``[N]`` true classes, needed only for ``target="label"``.
        masks: ``[N,H,W]`` ground truth, needed only for localisation metrics.
        metric: what to optimise; ``sycam metrics`` lists the names. Several give a Pareto front.
        grammar: the search space: a shipped grammar's name, a ``.lark`` file or a ``Grammar``.
        max_cost: highest cost of an expression that is enumerated.
        budget: ``"90s"``, ``"20m"``, or a number of candidates; no part of a run's identity.
        search_images: how many images to search on.
        heldout: how many of the other images to validate on, or those images themselves, as for
            ``images``.
        target: what is explained: ``"predicted"``, ``"label"``, one class, a target of
            :mod:`sycam.targets` or its text, or a callable from one row of outputs to a scalar
            (metrics then watch that scalar instead of a probability).
        device: where to run; CUDA where there is one if None.
        seed: decides splits, noise, controls and resampling.
        reshape: makes the layers' outputs maps (``"tokens"``, ``"channels-last"``, a function).
        fusion: of several layers: ``"mean"``, ``"max"``, ``"product"``, or one weight a layer.
        require: what the winner must be besides, on the search images, like
            ``"class-sensitivity>0.2"``: a metric, one of ``< <= > >=`` and a number.
        precision: of the network on perturbed images while searching: ``"float32"``, or
            ``"bfloat16"``, which is refused where it changes the ranking of the leaders among the
            published CAMs. Held-out figures are in float32.
        mode: ``"race"``: poor candidates are dropped early, with proposals beyond the cost bound
            where budget remains; ``"exact"``: every distinct candidate up to the cost bound, with
            a certificate; ``"guided"``: proposals from the second cost on.
        select: how the winner is chosen among the candidates that saw all search images, see
            :mod:`sycam.search.selection.select`.
        delta: of a race: probability of losing what exact mode finds best, at most.
        tolerance: of a race: candidates better by less may be lost; in units of the metric.
        equivalence: which expressions count as one: ``"values"``, ``"metric"`` (the oracle of
            Luque-Cerpa et al. 2025), ``"both"``, ``"none"``.
        sampler: what proposes beyond the cost bound: ``"grammar"``, ``"tpe"``, ``"random"`` or
            ``"evolution"``.
        storage: URL of an Optuna storage for the proposals, which several runs may share.
        constants: whether constants of the leaders are tuned at the end.
        threshold: end at the first expression above: a number or ``"best-published"``.
        guess: expressions to try first.
        scope: ``"global"``, or ``"per-class"``: besides, the best expression of each class.
        correct_only: leave images out that the network classifies wrongly; needs labels.
        out: the run's folder, ``runs/<network>-<metric>-<hash>`` if None. A folder with an
            unfinished run of the same configuration is resumed.
        notify: watches the progress, see :mod:`sycam.events`.
        groups: what each image belongs to (a patient, a video): one an image beside a tensor or
            data set; the name of a ``.csv`` table's column or of an ``.npz`` file's array. No
            group is on both sides of the split.
        output: what the network's outputs are: ``"logits"`` or ``"probabilities"``, and as wanted
            ``":softmax"`` (one class is right, as where nothing is said) or ``":sigmoid"`` (each
            output is a label of its own, as in a network with one output). ``"auto"`` tells the
            form from the network's last step and its outputs on some images, never that logits
            are of several labels.

    Returns:
        The winner, its rivals, the front and the held-out evidence. Ctrl-C ends the search early,
        and what was found is validated all the same.

    Raises:
        SycamError: for anything given that cannot be used; the message says how to mend it.
    """
    options = SearchOptions(
        budget=Budget.parse(budget),
        mode=mode,
        max_cost=max_cost,
        delta=delta,
        tolerance=tolerance,
        rule=select,
        equivalence=equivalence,
        sampler=sampler,
        storage=storage,
        constants=constants,
        threshold=parse_threshold(threshold),
        guesses=_guesses(guess),
        scope=scope,
    )
    with sharing_cores(lambda text: notify(Note(text))):
        problem = Problem.prepare(
            network, layer, images, labels, masks, metric, grammar, search_images, heldout, target,
            device, seed, reshape, fusion, require, precision, options.guesses, correct_only,
            notify, groups, output,
        )  # fmt: skip
        # Only now, when all that was given has proved usable, is anything written.
        folder = open_folder(
            out, f"{problem.explained.name}-{problem.metric.slug}-{problem.identity[:8]}"
        )
        found = run_search(problem, options, folder, notify=notify)
        _say(found, problem, options, notify)
        result = derived(problem, options, found, folder, notify)
        result.save(folder)
        return result


def derived(
    problem: Problem,
    options: SearchOptions,
    found: SearchResult,
    folder: Path,
    notify: Notify = ignore,
    settle: Settle = as_measured,
) -> Result:
    """What a search says, with its evidence on the held-out images; nothing is written.

    Args:
        task: what was searched.
        options: how.
        found: by the search.
        folder: of the run.
        notify: watches the progress.
        settle: see :func:`sycam.validation.validate.validate`.
    """
    metric, explained, unseen = problem.metric, problem.explained, problem.unseen
    notify(Stage("Measuring held-out images", len(unseen)))
    leaves = problem.grammar.leaves.union(metric.leaves, *(g.leaves for g in options.guesses))
    measured = explained.measure(unseen, notify, leaves)
    validation = _validate(problem, found, measured, notify, settle)
    notify(Validated(explained, unseen, validation))
    front = pareto_front(found.outcome.candidates, metric)
    scored = _scored_unseen(problem, found, front, measured, notify)
    best = found.winner and _formula(found.winner, metric, validation.winner.heldout)
    if found.known_as is not None:
        best = replace(best, known_as=found.known_as)
        new = found.new and _formula(found.new, metric, validation.row(found.new.name).heldout)
    else:
        new = best
    return Result(
        best=best,
        best_new=new,
        front=tuple(_formula(c, metric, _interval(c, problem, scored)) for c in front),
        hall=tuple(_formula(c, metric) for c in _hall(found, metric)),
        validation=validation,
        record=record_of(problem, options, found)
        | _evidence(problem, options, found, measured, scored),
        path=folder,
    )


def _guesses(guess: Sequence[str | Expression] | str) -> tuple[Expression, ...]:
    if isinstance(guess, str):
        guess = [guess]
    found = [parse_weights(g) if isinstance(g, str) else g for g in guess]
    return tuple(dict.fromkeys(found))


def _say(found: SearchResult, problem: Problem, options: SearchOptions, notify: Notify) -> None:
    for refusal in found.refused[:_SAID]:
        notify(
            Note(
                f"{refusal.expression} is refused: {refusal.requirement} is required, it has "
                f"{refusal.figure:.4g}"
            )
        )
    if found.new is None:
        without = "meets the requirements and differs" if problem.requirements else "differs"
        then = "no winner" if found.winner is None else f"use {found.known_as}"
        notify(Note(f"no eligible candidate {without} from the published CAMs: {then}"))
    elif found.known_as is not None:
        notify(
            Note(
                f"no new formula is ahead of {found.known_as} on the search images by rule "
                f"{options.rule}: {found.known_as} is the answer, and the best new "
                f"formula, {found.new.name}, stands beside it"
            )
        )
    if found.confidence and found.confidence.power.warning:
        notify(Note(found.confidence.power.warning))


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
    wanted = list(dict.fromkeys(c.expression for c in wanted))
    if not wanted:
        return {}
    notify(Stage("Scoring the front on held-out images", len(wanted)))
    scorer, values = Scorer(problem.metric, *measured), {}
    for done, expression in enumerate(wanted, 1):
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


def _evidence(
    problem: Problem,
    options: SearchOptions,
    found: SearchResult,
    measured: tuple[Evidence | Stack, Context],
    scored: Mapping[str, np.ndarray],
) -> dict:
    """What the result says of the search besides the winner: plain data."""
    said = {"certificate": certificate_of(problem, options, found)}
    if (confidence := found.confidence) is not None:
        said |= {"stability": asdict(confidence.stability), "resolution": asdict(confidence.power)}
    if isinstance(problem.metric, Objectives):
        front = pareto_front(found.outcome.candidates, problem.metric)
        said["goals"] = asdict(describe(front, found.outcome.known, problem.metric, found.new))
    if found.classes:
        classes = measured[1].targets.cpu().numpy()
        gains = specialisation(
            found.classes, problem.metric, found.winner, classes, scored, problem.explained.seed
        )
        said["classes"] = asdict(gains)
    return said


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
        entrants.insert(0, entrant(find_method(found.new.expression), NEW, found.new))
    if winner is not None:
        entrants.insert(0, entrant(find_method(winner.expression), "winner", winner))
    goals = {goal.text for goal in problem.goals}
    panel = [find_metric(name) for name in PANEL if name not in goals]
    panel = [m for m in panel if unseen.masks is not None or not m.needs_masks]
    panel = [m for m in panel if len(unseen.shape) == 3 or m.volumes]
    guards = [find_metric(name) for name in GUARDS]
    return validate(
        entrants, metric, panel, guards, *measured, problem.explained.seed, notify, further, settle
    )


def _hall(found: SearchResult, metric: Metric) -> list[Candidate]:
    """The eligible candidates with the highest means."""
    eligible = [c for c in found.outcome.candidates if c.eligible]
    return sorted(eligible, key=lambda c: -metric.oriented(c.mean))[:HALL]


def _formula(candidate: Candidate, metric: Metric, heldout: Interval | None = None) -> Formula:
    return Formula(
        expression=candidate.name,
        cost=candidate.cost,
        score=candidate.mean,
        degenerate=candidate.score.degenerate,
        heldout=heldout,
        scores=tuple(metric.per_image(candidate.score.values).tolist()),
    )
