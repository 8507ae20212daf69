"""One search of a problem, in a folder: its journal, its race, and what it found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from sycam.errors import OptionError
from sycam.events import Notify, Stage, ignore
from sycam.language import Expression
from sycam.metrics import Metric
from sycam.metrics.composition.objectives import Objectives
from sycam.problem.problem import Problem, Question
from sycam.scoring.blocks import ImageBlock, cell_blocks, image_blocks, level_blocks
from sycam.scoring.journal import JOURNAL_FILE, Journal
from sycam.scoring.journaled_scorer import JournaledScorer
from sycam.search.admission import Admission, may_ignore_target
from sycam.search.choice import Chooser, Confidence, contenders, published_name
from sycam.search.enumeration.enumerator import Enumerator, Level
from sycam.search.options import BEST_PUBLISHED, EXACT, PER_CLASS, SearchOptions
from sycam.search.outcome import Outcome, Script
from sycam.search.phases.engine import Search
from sycam.search.proposals.derivations import deepest
from sycam.search.proposals.guide import Guide, Space
from sycam.search.proposals.optuna_study import STUDY_FILE
from sycam.search.racing.known import chosen_rival
from sycam.search.racing.race import BOUND, OUTPERFORMED, Dropping, Race
from sycam.search.racing.sequential_test import Bounds, SequentialTest
from sycam.search.selection.per_class import Choice
from sycam.search.selection.portfolio import Portfolios
from sycam.search.selection.rediscovery import Rediscovery
from sycam.search.selection.requirements import Gate, Refusal
from sycam.search.selection.select import Candidate
from sycam.search.selection.sensitivity import GUARDED_IMAGES, SensitivityGuard
from sycam.search.space import enumerator_of


@dataclass(frozen=True)
class SearchResult:
    """What a search of a task found.

    Attributes:
        outcome: the candidates.
        winner: a new formula or a published CAM that is one, or None.
        new: the best new formula: the winner, or where that is a published CAM, what the rule
            chooses without those; or None.
        known_as: name of the published CAM that won; None where a new formula did.
        runner_up: the next that might have won, or None.
        whole: what the rule chose, where the best new formula is a simpler form of it; else None.
        simplest: the simplest formula that the search images cannot tell from the winner, be it
            new, a published CAM or the winner itself; None without one and for several goals.
        refused: candidates that failed a requirement or hardly change with the class explained,
            the best first.
        agnostic: names of those that show the same whatever is explained and might have won.
        inadmissible: names of candidates found to be a known method again, or to fail a
            requirement; only those that might have won were asked.
        classes: the winner of each class explained; empty where the scope is global.
        confidence: in the choice, from the search images alone; None without a winner and for
            several goals.
        portfolios: for the choice image by image; None where none was asked for.
    """

    outcome: Outcome
    winner: Candidate | None
    new: Candidate | None
    known_as: str | None
    runner_up: Candidate | None
    refused: tuple[Refusal, ...]
    agnostic: tuple[str, ...]
    inadmissible: frozenset[str]
    classes: tuple[Choice, ...] = ()
    confidence: Confidence | None = None
    portfolios: Portfolios | None = None
    simplest: Candidate | None = None
    whole: Candidate | None = None


def run_search(
    problem: Problem,
    options: SearchOptions,
    folder: Path,
    script: Script | None = None,
    notify: Notify = ignore,
) -> SearchResult:
    """Search, or play a recorded search again.

    Args:
        problem: what is searched.
        options: how; the clock of its budget is running.
        folder: of the run, where its journals are.
        script: how far a recorded search went. Given, nothing is measured or written: all scores
            must be in the journals.
        notify: watches the progress.

    Raises:
        RunError: the folder holds another run or is in use; of a script, scores are missing.
    """
    writes = script is None
    metric, seed = problem.metric, problem.explained.seed
    blocks = search_blocks(problem, options)
    with ExitStack() as stack:
        journal = Journal(folder / JOURNAL_FILE, problem.identity, metric, blocks, writes)
        stack.enter_context(closing(journal))
        board = JournaledScorer(
            metric, problem.evidence, problem.context, journal, blocks, writes, problem.scoring
        )
        gate = _gate(problem, folder, writes)
        stack.enter_context(closing(gate))
        guard = _guard(problem, options, folder, writes)
        if guard is not None:
            stack.enter_context(closing(guard))
        admission = Admission(gate, Rediscovery(problem.scorer, problem.shown), guard)
        race = Race(board, _dropping(problem, options, blocks), options.rule, admission, seed)
        enumerator = enumerator_of(problem, options.equivalence)
        guide = _guide_of(problem, options, enumerator, folder if writes else None)
        threshold = _threshold(options, metric)
        search = Search(race, enumerator, options, guide, threshold, script, seed, notify)
        outcome = search.run(problem.known, options.guessed)
        notify(Stage("Choosing the winner"))
        chooser = Chooser(problem, options, outcome, admission)
        chosen = chooser.chosen()
        classes = chooser.classes(chosen.winner)
        # Before the confidence, which asks candidates that did not come near winning.
        insensitive = [] if guard is None else guard.refused
        refused = _best_first([*gate.refused, *insensitive], outcome, metric)
        inadmissible, agnostic = admission.refused, tuple(dict.fromkeys(admission.agnostic))
        confidence = chooser.confidence(chosen)
        simple = chooser.simplest(chosen.winner)
        portfolios = chooser.portfolios(board)
    return SearchResult(
        outcome=outcome,
        winner=chosen.winner,
        new=chosen.new,
        known_as=published_name(outcome, chosen.winner),
        runner_up=chosen.runner_up,
        refused=refused,
        agnostic=agnostic,
        inadmissible=inadmissible,
        classes=classes,
        confidence=confidence,
        portfolios=portfolios,
        simplest=simple,
        whole=chosen.whole,
    )


def _gate(problem: Problem, folder: Path, writes: bool) -> Gate:
    """Of the requirements, each of whose metrics has a journal of its own."""
    count = len(problem.context)
    whole = (ImageBlock(0, count, count),)

    def journal(metric: Metric) -> Journal:
        file = folder / f"scores-{metric.slug}.jsonl"
        return Journal(file, f"{problem.identity} {metric.text}", metric, whole, writes)

    return Gate(problem.requirements, problem.scorer, journal)


def _guard(
    problem: Problem, options: SearchOptions, folder: Path, writes: bool
) -> SensitivityGuard | None:
    """That against what hardly changes with the class; None where that may win."""
    if may_ignore_target(options, problem.grammar):
        return None
    count = min(GUARDED_IMAGES, len(problem.context))
    first, block = slice(0, count), (ImageBlock(0, count, count),)
    scorer = problem.scoring.scorer(problem.metric, problem.evidence, problem.context, first)

    def journal(metric: Metric) -> Journal:
        file = folder / f"guard-{metric.slug}.jsonl"
        return Journal(file, f"{problem.identity} {metric.text}", metric, block, writes)

    return SensitivityGuard(scorer, journal)


def search_blocks(question: Question, options: SearchOptions) -> tuple[ImageBlock, ...]:
    """The stages of a search: of cells where candidates drop out by chance's leave, so that they
    need not be seen at all levels; a choice image by image needs all of them apart."""
    races = options.mode != EXACT and _drops(question.metric, options)
    whole = image_blocks if options.adapt is None else level_blocks
    return (cell_blocks if races else whole)(len(question.searched), question.metric)


def _drops(metric: Metric, options: SearchOptions) -> bool:
    """Whether a mean over all images decides who wins, so that candidates may drop out."""
    return not (metric.components or options.scope == PER_CLASS or options.forgets)


def _guide_of(
    problem: Problem, options: SearchOptions, enumerator: Enumerator, folder: Path | None
) -> Callable[[Iterator[Expression | Level]], Guide] | None:
    """Makes what proposes beyond the cost bound; None where nothing does.

    Args:
        folder: where the study is kept, unless it is shared; None where nothing is written.
    """
    if options.mode == EXACT:
        return None
    name = f"{problem.explained.name} {problem.metric.text} {problem.identity[:8]}"

    def guide(stream: Iterator[Expression | Level]) -> Guide:
        return Guide(
            Space(
                problem.grammar,
                deepest(problem.grammar),
                enumerator.represent,
                stream,
                enumerator.portrait,
            ),
            options.sampler,
            problem.explained.seed,
            storage=None if folder is None else options.storage or folder / STUDY_FILE,
            name=name,
            shared=options.storage is not None,
        )

    return guide


def _dropping(
    problem: Problem, options: SearchOptions, blocks: Sequence[ImageBlock]
) -> dict[str, Dropping]:
    """When candidates drop out."""
    metric = problem.metric
    dropping: dict[str, Dropping] = {}
    if not _drops(metric, options):
        return dropping
    if blocks[-1].levels > 1:
        best = metric.bound_at(problem.context)
    else:
        best = metric.bound(problem.context)[:, None]
    bounds = metric.oriented(best.double().cpu().numpy())
    if options.mode != EXACT or options.rule in Bounds.sound:
        worst = metric.range[0] if metric.higher_is_better else metric.range[1]
        dropping[BOUND] = Bounds(bounds, metric.oriented(worst))
    if options.mode != EXACT:
        tolerance = options.tolerance_of(metric, problem.context.scale.spread)
        dropping[OUTPERFORMED] = SequentialTest(options.delta, tolerance, len(blocks) - 1, bounds)
    return dropping


def _best_first(
    refused: Sequence[Refusal], outcome: Outcome, metric: Metric
) -> tuple[Refusal, ...]:
    """Refusals by what the candidates scored: the first would have won."""
    scores = {c.name: metric.oriented(c.mean) for c in contenders(outcome)}
    # One that was asked in place of a leader may not have seen all images.
    return tuple(sorted(refused, key=lambda r: -scores.get(r.expression, -math.inf)))


def _threshold(
    options: SearchOptions, metric: Metric
) -> Callable[[Sequence[Candidate]], float] | None:
    """From the known methods, what a candidate's mean must exceed to end the search."""
    end = options.threshold
    if end is None:
        return None
    if isinstance(metric, Objectives):
        raise OptionError("a threshold is of one metric; several goals end by the budget")

    def threshold(known: Sequence[Candidate]) -> float:
        if end != BEST_PUBLISHED:
            return float(end)
        rival = chosen_rival(known, metric)
        return metric.oriented(math.inf) if rival is None else rival.mean

    return threshold
