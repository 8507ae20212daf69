"""One search of a problem, in a folder: journal, race, winner."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sycam.errors import OptionError
from sycam.events import Notify, Stage, ignore
from sycam.evidence import ignores_target
from sycam.language import Expression
from sycam.methods import find_method, shown_methods
from sycam.methods.method import ANSWERS, RIVALS
from sycam.metrics import Metric
from sycam.metrics.composition.objectives import Objectives
from sycam.problem.problem import Problem
from sycam.scoring.blocks import ImageBlock, cell_blocks, image_blocks, level_blocks
from sycam.scoring.journal import JOURNAL_FILE, Journal
from sycam.scoring.journaled_scorer import JournaledScorer
from sycam.scoring.scorer import Scorer
from sycam.search.engine import Search, deepest
from sycam.search.enumeration.enumerator import Enumerator, Level
from sycam.search.options import BEST_PUBLISHED, CLASS_AGNOSTIC, EXACT, PER_CLASS, SearchOptions
from sycam.search.outcome import Outcome, Script
from sycam.search.proposals.guide import Guide, Space
from sycam.search.proposals.optuna_study import STUDY_FILE
from sycam.search.proposals.simplifications import simplified
from sycam.search.racing.known import answers
from sycam.search.racing.race import BOUND, OUTPERFORMED, Dropping, Race
from sycam.search.racing.sequential_test import Bounds, SequentialTest
from sycam.search.selection.bootstrap import Stability, stability
from sycam.search.selection.pareto import Scale, compromise, pareto_front
from sycam.search.selection.per_class import Choice, Choose, class_winners
from sycam.search.selection.portfolio import Portfolios, portfolio
from sycam.search.selection.power import Power, power
from sycam.search.selection.rediscovery import Rediscovery
from sycam.search.selection.requirements import Gate, Refusal
from sycam.search.selection.select import Candidate, select, simplest
from sycam.search.selection.sensitivity import GUARDED_IMAGES, SensitivityGuard
from sycam.search.space import enumerator_of


@dataclass(frozen=True)
class Confidence:
    """How far the search images bear the choice of the winner.

    Attributes:
        stability: whether it would win again.
        resolution: whether they tell it from the next leaders.
    """

    stability: Stability
    power: Power


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
        board = JournaledScorer(metric, problem.evidence, problem.context, journal, blocks, writes)
        gate = _gate(problem, folder, writes)
        stack.enter_context(closing(gate))
        known = shown_methods(problem.grammar.leaves, problem.grammar.sites, metric.rewards_blur)
        guard = _guard(problem, options, folder, writes)
        if guard is not None:
            stack.enter_context(closing(guard))
        admission = Admission(gate, Rediscovery(problem.scorer, known), guard)
        race = Race(board, _dropping(problem, options, blocks), options.rule, admission, seed)
        enumerator = enumerator_of(problem, options.equivalence)
        guide = _guide_of(problem, options, enumerator, folder if writes else None)
        threshold = _threshold(options, metric)
        search = Search(race, enumerator, options, guide, threshold, script, seed, notify)
        outcome = search.run(problem.known, options.guessed)
        notify(Stage("Choosing the winner"))
        first, new, second, whole = _chosen(problem, options, outcome, admission)
        classes = _of_classes(problem, options, outcome, first, admission)
        # Before the confidence, which asks candidates that did not come near winning.
        insensitive = [] if guard is None else guard.refused
        refused = _best_first([*gate.refused, *insensitive], outcome, metric)
        inadmissible, agnostic = admission.refused, tuple(dict.fromkeys(admission.agnostic))
        of_winner = whole if first is new else None
        confidence = _confidence(problem, options, outcome, first, of_winner, admission)
        simple = _simplest(metric, outcome, first, admission)
        portfolios = _portfolios(options, outcome, board, admission)
    return SearchResult(
        outcome=outcome,
        winner=first,
        new=new,
        known_as=published_name(outcome, first),
        runner_up=second,
        refused=refused,
        agnostic=agnostic,
        inadmissible=inadmissible,
        classes=classes,
        confidence=confidence,
        portfolios=portfolios,
        simplest=simple,
        whole=whole,
    )


class Admission:
    """Which candidates may win: those that depend on what is explained, meet the requirements and
    are no known method again.

    Each is asked once, and only when it might win: the answer may be expensive.

    Args:
        gate: of the requirements.
        known_again: of the known methods; published CAMs themselves may win.
        guard: measures whether those that read what depends on the target change with the class;
            None where those may win, too, that show the same whatever is explained.

    Attributes:
        agnostic: names of those that were asked and show the same whatever is explained, as they
            read nothing that depends on it, where these may not win.
    """

    def __init__(self, gate: Gate, known_again: Rediscovery, guard: SensitivityGuard | None):
        self._gate, self._known_again, self._guard = gate, known_again, guard
        self._admitted: dict[tuple[str, str], bool] = {}
        self.agnostic: list[str] = []

    def __call__(self, candidate: Candidate) -> bool:
        """Whether a candidate may win."""
        asked = candidate.kind, candidate.name
        if asked not in self._admitted:
            self._admitted[asked] = self._admits(candidate)
        return self._admitted[asked]

    def _admits(self, candidate: Candidate) -> bool:
        expression = candidate.require_expression()
        if self._guard is not None and ignores_target(expression.leaves):
            self.agnostic.append(candidate.name)
            return False
        if candidate.kind not in ANSWERS and self._known_again(candidate):
            return False
        method = find_method(expression)
        return self._gate(method) and (self._guard is None or self._guard(method))

    @property
    def refused(self) -> frozenset[str]:
        """Names of those that were asked and may not win."""
        return frozenset(name for (_, name), good in self._admitted.items() if not good)


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
    if CLASS_AGNOSTIC in options.allow or ignores_target(problem.grammar.leaves):
        return None
    count = min(GUARDED_IMAGES, len(problem.context))
    first, block = slice(0, count), (ImageBlock(0, count, count),)
    scorer = Scorer(problem.metric, problem.evidence.subset(first), problem.context.subset(first))

    def journal(metric: Metric) -> Journal:
        file = folder / f"guard-{metric.slug}.jsonl"
        return Journal(file, f"{problem.identity} {metric.text}", metric, block, writes)

    return SensitivityGuard(scorer, journal)


def search_blocks(problem: Problem, options: SearchOptions) -> tuple[ImageBlock, ...]:
    """The stages of a search: of cells where candidates drop out by chance's leave, so that they
    need not be seen at all levels; a choice image by image needs all of them apart."""
    races = options.mode != EXACT and _drops(problem.metric, options)
    whole = image_blocks if options.adapt is None else level_blocks
    return (cell_blocks if races else whole)(len(problem.context), problem.metric)


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
        figures = [c.mean for c in known if c.kind in RIVALS]
        return metric.oriented(max(map(metric.oriented, figures)))

    return threshold


def _chosen(
    problem: Problem,
    options: SearchOptions,
    outcome: Outcome,
    admissible: Callable[[Candidate], bool],
) -> tuple[Candidate | None, Candidate | None, Candidate | None, Candidate | None]:
    """The winner, the best new formula, the next that might have won, and the formula that the
    best new one is a simpler form of."""
    rule, able = _rule(options, outcome, problem.explained.seed), contenders(outcome)

    def choose(candidates: Sequence[Candidate]) -> Candidate | None:
        return rule(candidates, problem.metric, lambda c: not admissible(c))

    winner = choose(able)
    if winner is None:
        return None, None, None, None
    new = winner if winner.kind not in ANSWERS else choose(outcome.candidates)
    whole = None
    if new is not None and options.mode != EXACT and not isinstance(problem.metric, Objectives):
        scored = {c.require_expression(): c for c in outcome.candidates}
        out, grammar = (lambda c: not admissible(c)), problem.grammar
        form = simplified(new, scored, problem.metric, out, grammar)
        # A winner's simpler form still has to win against what is published.
        rivals = answers(outcome.known) if new is winner else []
        if form is not new and choose([*rivals, form]) is form:
            winner, new, whole = form if new is winner else winner, form, new
    return winner, new, choose([c for c in able if c is not winner]), whole


def _simplest(
    metric: Metric,
    outcome: Outcome,
    winner: Candidate | None,
    admissible: Callable[[Candidate], bool],
) -> Candidate | None:
    """The simplest formula that the search images cannot tell from the winner."""
    if winner is None or isinstance(metric, Objectives):
        return None
    return simplest(contenders(outcome), metric, winner, lambda c: not admissible(c))


def contenders(outcome: Outcome) -> list[Candidate]:
    """All that may win: published CAMs that are expressions, by their text, and new formulas."""
    known = answers(outcome.known)
    names = {c.name for c in known}
    return [*known, *(c for c in outcome.candidates if c.name not in names)]


def _portfolios(
    options: SearchOptions,
    outcome: Outcome,
    board: JournaledScorer,
    admissible: Callable[[Candidate], bool],
) -> Portfolios | None:
    """For the choice image by image, from those that saw all search images: of all that may win,
    and of the published CAMs alone."""
    if options.adapt is None:
        return None
    last, count = len(board.stages) - 1, options.adapt

    def cells(candidate: Candidate) -> np.ndarray:
        return board.cells(str(candidate.expression or candidate.name), last)

    rivals = [c for c in outcome.known if c.kind in RIVALS]
    return Portfolios(
        own=portfolio(contenders(outcome), cells, board.metric, count, admissible),
        published=portfolio(rivals, cells, board.metric, count),
    )


def published_name(outcome: Outcome, candidate: Candidate | None) -> str | None:
    """Name of the published CAM that a contender is; None of a new formula."""
    if candidate is None or candidate.kind not in ANSWERS:
        return None
    return next(c.name for c in outcome.known if c.expression is candidate.expression)


def _of_classes(
    problem: Problem,
    options: SearchOptions,
    outcome: Outcome,
    winner: Candidate | None,
    admissible: Callable[[Candidate], bool],
) -> tuple[Choice, ...]:
    """The winner of each class, by the rule that chose the winner of all."""
    if options.scope != PER_CLASS:
        return ()
    return class_winners(
        contenders(outcome),
        problem.metric,
        problem.context.targets.cpu().numpy(),
        winner,
        lambda c: not admissible(c),
        _rule(options, outcome, problem.explained.seed),
    )


def _rule(options: SearchOptions, outcome: Outcome, seed: int) -> Choose:
    """How one of several candidates is chosen."""

    def choose(
        candidates: Sequence[Candidate], metric: Metric, out: Callable[[Candidate], bool]
    ) -> Candidate | None:
        if isinstance(metric, Objectives):
            scale = Scale.of(outcome.known, metric)
            return compromise(pareto_front(candidates, metric), metric, scale, out)
        return select(candidates, metric, out, options.rule, seed)

    return choose


def _confidence(
    problem: Problem,
    options: SearchOptions,
    outcome: Outcome,
    winner: Candidate | None,
    whole: Candidate | None,
    admissible: Callable[[Candidate], bool],
) -> Confidence | None:
    if winner is None or isinstance(problem.metric, Objectives):
        return None

    def out(candidate: Candidate) -> bool:
        return not admissible(candidate)

    given = (contenders(outcome), problem.metric, winner, out, options.rule, problem.explained.seed)
    form_of = None if whole is None else whole.name
    return Confidence(stability(*given, form_of=form_of), power(*given))
