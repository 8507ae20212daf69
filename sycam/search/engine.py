"""The search: guesses, every candidate by cost, guided proposals, constants, simpler forms."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from sycam.events import Interrupted, Note, Notify, Stage, Step, ignore
from sycam.grammar import Grammar
from sycam.language import Expression
from sycam.methods import Method
from sycam.metrics.composition.objectives import Objectives
from sycam.scoring.journaled_scorer import recorded_name
from sycam.search.allowance import Allowance
from sycam.search.enumeration.enumerator import Enumerator, Level
from sycam.search.events import Forecast, Plan, Scored
from sycam.search.options import EXACT, SearchOptions
from sycam.search.outcome import (
    COMBINED,
    CONSTANTS,
    EXHAUSTIVE,
    GUESSES,
    GUIDED,
    SIMPLIFIED,
    Outcome,
    Script,
)
from sycam.search.proposals.combinations import Combinations
from sycam.search.proposals.constants import tune
from sycam.search.proposals.derivations import Derivations
from sycam.search.proposals.guide import Guide
from sycam.search.proposals.simplifications import simpler, simplified
from sycam.search.racing.known import answers, in_order, score_known
from sycam.search.racing.race import BATCH, OUTPERFORMED, Race, Standing
from sycam.search.selection.pareto import (
    Scale,
    hypervolume_of,
    nearness,
    oriented_figures,
    pareto_front,
)
from sycam.search.selection.select import Candidate

DEEPEST = 12  # highest cost of what the guided phase proposes
DEEPEST_OF_LAYERS = 16  # where formulas of several layers are combined
TIMED = 4  # known methods whose scoring tells what the command will take; the first is slow
_PATIENCE = 3.0  # seconds in which more of them are timed: some are far more expensive than most
TUNED = 3  # leaders whose constants are tuned
TRIALS = 24  # candidates for each of them
SIMPLER = 24  # simpler forms of the leading formula that are scored, at most
_SIMPLER_AT_ONCE = 4
_FOR_SETTLING = 0.05  # of the search's seconds, on top of them
_FOR_KNOWN = 0.5  # of the search's seconds, at most


class _StoppedError(Exception):
    """The search ends here; the message says why."""


class Search:
    """Runs the phases of a race.

    Args:
        race: where candidates are scored.
        enumerator: all candidates by cost.
        options: how long, how far, and whether constants are tuned.
        guide: makes the proposer of the guided phase from the rest of the enumeration; None for a
            search that ends with the cost bound.
        threshold: from the known methods, the figure at which the search ends when an admissible
            candidate exceeds it, in the metric's own direction.
        script: of a recorded search, which is played again; the budget counts if None.
        seed: of proposals and constants.
        notify: called with the events of :mod:`sycam.events`.
    """

    def __init__(
        self,
        race: Race,
        enumerator: Enumerator,
        options: SearchOptions,
        guide: Callable[[Iterator[Expression | Level]], Guide] | None = None,
        threshold: Callable[[Sequence[Candidate]], float] | None = None,
        script: Script | None = None,
        seed: int = 0,
        notify: Notify = ignore,
    ):
        self.race, self.board, self.enumerator = race, race.board, enumerator
        self.budget = options.budget
        self.max_cost, self.constants = options.enumerated_cost, options.constants
        self.make_guide, self._threshold = guide, threshold
        self.threshold: float | None = None  # once the known methods are scored
        # In exact mode every formula is scored, so that the best new one is exact as well.
        self.leads = options.mode != EXACT and OUTPERFORMED in race.dropping
        self.forgets, self.script, self.seed, self.notify = options.forgets, script, seed, notify
        self.combines = guide is not None and len(enumerator.grammar.sites) > 1
        self.allowance = Allowance(race, options, script, self.combines)
        self.outcome = Outcome(phases=self.allowance.entered)
        # One enumeration, which the guided phase goes on with where the exhaustive one ended.
        self._stream = enumerator.candidates(
            self.max_cost if guide is None else deepest(enumerator.grammar)
        )
        self._recorded = {name for name, stage in self.board.journal.known if stage == 0}
        self._planned, self._begun = 0, 0.0
        self._patterns: set[bytes] = set()  # scores seen, for the paper's oracle

    def run(self, known: Sequence[Method], guesses: Sequence[Expression] = ()) -> Outcome:
        """Score the known methods, then search until one of the ends is reached.

        The first Ctrl-C ends the search with what it has found.
        """
        outcome = self.outcome
        started = self.budget.elapsed
        before = self.board.context.classifier.passes
        try:
            self._score_known(known)
            self._propose(guesses)
        except _StoppedError as reason:
            outcome.stopped = str(reason)
        except KeyboardInterrupt:
            outcome.stopped = "interrupt"
            self.notify(
                Interrupted("interrupted: what was found is validated (Ctrl-C again to quit)")
            )
        if outcome.stopped != "interrupt":
            self._settle()
        outcome.candidates = list(self.race.finished)
        outcome.dropped = [s for s in self.race.standings.values() if s.dropped]
        outcome.leaders = list(self.race.leaders)
        outcome.levels = list(self.enumerator.levels)
        outcome.spent = self.race.spent
        outcome.resumed = sum(str(e) in self._recorded for e in self.race.standings)
        outcome.seconds = self.budget.elapsed - started
        outcome.pace = self.board.image_pace
        outcome.passes = self.board.context.classifier.passes - before
        return outcome

    # --- phases -----------------------------------------------------------------------------

    def _propose(self, guesses: Sequence[Expression]) -> None:
        """All phases of new formulas."""
        try:
            for start in range(0, len(guesses), BATCH):
                self._enter(guesses[start : start + BATCH], GUESSES)
            if self.combines:
                self._combine_known()
            self._exhaustive()
        except _StoppedError as reason:
            # Of what was combined there are simpler forms that were not enumerated.
            if str(reason) != "budget" or not self.combines:
                raise
            self._refine(self._simplify)
            raise
        if self.make_guide is not None:
            self._guided()

    def _refine(self, *phases: Callable[[], None]) -> None:
        """Phases on the leading formulas, each as far as its share of the budget goes."""
        for refine in phases:
            try:
                refine()
            except _StoppedError as reason:
                if str(reason) != "budget":
                    raise
                self.outcome.stopped = "budget"

    def _score_known(self, known: Sequence[Method]) -> None:
        missing = sum(not self.board.has(recorded_name(m)) for m in known)
        self._prepare(missing)
        methods = in_order(known)
        self.notify(Stage("Scoring published CAMs and controls", len(methods)))
        begun, told = self.budget.elapsed, False

        def left() -> float:
            ends = self.budget.for_search(self.board.image_pace)
            return begun + _FOR_KNOWN * (ends - begun) - self.budget.elapsed

        def done(count: int) -> None:
            nonlocal told
            self.notify(Step(count))
            spent, ends = self.budget.elapsed - begun, count == len(methods)
            if count < TIMED or not self.board.pace or told:
                return
            if ends or spent > _PATIENCE:
                told = True
                self._forecast(len(methods))

        counts = None
        if self.script is not None:
            counts = self.script.known or (len(methods),) * len(self.board.stages)
        found = score_known(methods, self.board, left, counts, done)
        if not told and self.board.pace:
            self._forecast(len(methods))
        by_name = {c.name: c for c in found.whole}
        self.outcome.known = [by_name[m.name] for m in known if m.name in by_name]
        self.outcome.known_partly = list(found.partly)
        self.outcome.known_counts = found.counts
        if found.counts is not None:
            self.notify(
                Note(
                    f"{len(found.whole)} of {len(methods)} published CAMs and controls saw all "
                    f"{self.board.images} search images, {len(found.partly)} fell behind on fewer: "
                    f"all would take longer than the budget of {self.budget}"
                )
            )
        if self._threshold is not None:
            self.threshold = self._threshold(self.outcome.known)
        metric = self.race.metric
        names, last = {m.name: recorded_name(m) for m in known}, len(self.board.stages) - 1
        self.race.known = [
            metric.oriented(self.board.cells(names[c.name], last))
            for c in self.outcome.known
            if c.score.finite and not metric.components
        ]
        if self.leads:
            lead = next(filter(self.race.admissible, self._known_answers()), None)
            if lead is not None:
                self.race.lead_by(lead)

    def _known_answers(self) -> list[Candidate]:
        """The published CAMs that may win, the best first."""
        able = [c for c in answers(self.outcome.known) if c.eligible]
        oriented = self.race.metric.oriented
        return sorted(able, key=lambda c: (-oriented(c.mean), c.require_expression().sort_key()))

    def _combine_known(self) -> None:
        """Score what combines the published CAMs that lead at each two layers, then the best of it
        with the leader of each further one: where time is short, nothing is more likely to win."""
        grammar = self.enumerator.grammar
        combinations = Combinations(Derivations(grammar, deepest(grammar)))
        leaders = combinations.leaders(c.require_expression() for c in self._known_answers())
        heads = {layer: best[:1] for layer, best in leaders.items()}
        self._enter_all(combinations.pairs(heads), COMBINED)
        pairs = [s for s in self.race.standings.values() if len(s.expression.sites) == 2]
        pairs = [s for s in pairs if s.dropped is None]
        pairs.sort(key=lambda s: (-s.mean, s.expression.sort_key()))
        self._enter_all(combinations.extended([s.expression for s in pairs[:1]], heads), COMBINED)

    def _enter_all(self, proposals: Sequence[Expression], phase: str) -> None:
        """Score what stands for the proposals and was not scored."""
        new = [e for e in dict.fromkeys(self.enumerator.represent_all(proposals)) if e is not None]
        new = [e for e in new if e not in self.race.standings]
        for start in range(0, len(new), BATCH):
            self._enter(new[start : start + BATCH], phase)

    def _exhaustive(self) -> None:
        self.notify(Stage("Enumerating expressions"))
        stream = self._bounded()
        ahead = self._plan(stream)
        self.notify(Stage("Scoring candidates"))
        coming = deque(batch for batch in _batches(ahead) if not isinstance(batch, Level))
        try:
            for item in _batches(chain(ahead, stream)):
                if isinstance(item, Level):
                    self.outcome.complete_cost = item.cost
                    continue
                self.board.foresee(self._entering(coming))
                if coming:
                    coming.popleft()
                self._enter(item, EXHAUSTIVE)
        finally:
            self.board.foresee(())

    def _entering(self, batches: Iterable[Sequence[Expression]]) -> Iterator[list[Expression]]:
        """What of batches will enter the race."""
        for batch in batches:
            if new := [e for e in dict.fromkeys(batch) if e not in self.race.standings]:
                yield new

    def _guided(self) -> None:
        self.notify(Stage("Searching beyond the cost bound"))
        guide = self.make_guide(self._stream)
        metric = self.race.metric
        try:
            for standing in self.race.standings.values():
                guide.add(standing.expression, self._figures(standing), *self._seen(standing))
            for known in self.outcome.known:
                if known.expression is not None and known.expression in self.enumerator.grammar:
                    guide.add(known.expression, oriented_figures(known.score.values, metric), True)
            while batch := guide.ask(BATCH):
                for standing in self._enter(batch, GUIDED):
                    figures = self._figures(standing)
                    guide.tell(standing.expression, figures, *self._seen(standing))
        except _StoppedError as reason:
            if str(reason) != "budget":
                raise
            self.outcome.stopped = "budget"
        else:
            self.outcome.stopped = "space"
        finally:
            self.outcome.guided = dict(guide.statistics)
            guide.close()
        self._refine(self._constants, self._simplify)

    def _constants(self) -> None:
        if not self.constants:
            return
        self.notify(Stage("Tuning constants of the leaders"))
        standings, worth = self.race.standings, self._worth()
        best = sorted(
            (c for c in self.race.finished if c.eligible),
            key=lambda c: (-worth(standings[c.expression]), c.require_expression().sort_key()),
        )
        leaders = [c.require_expression() for c in best[:TUNED]]

        def evaluate(batch: Sequence[Expression]) -> list[float]:
            # What does not fit into the budget any more ends the phase.
            return [worth(s) for s in self._enter(batch, CONSTANTS)]

        tune(
            leaders,
            evaluate,
            TRIALS * len(leaders),
            self.seed,
            lambda: self.allowance.spent(CONSTANTS, BATCH),
        )

    def _simplify(self) -> None:
        """Score what is left of the leading formula without each of its parts, on all images; then
        what is left of the one that is kept."""
        grammar, metric, race = self.enumerator.grammar, self.race.metric, self.race
        best = race.choice() if self.allowance.simplifies else None
        if best is None:
            return
        self.notify(Stage("Simplifying the leading formula"))
        kept, before, left = best, None, SIMPLER
        while kept is not before:
            forms = [e for e in simpler(kept.require_expression(), grammar) if race.is_open(e)]
            forms, left = forms[:left], left - len(forms[:left])
            for start in range(0, len(forms), _SIMPLER_AT_ONCE):
                if self.allowance.spent(SIMPLIFIED, 1):
                    return
                self._enter(forms[start : start + _SIMPLER_AT_ONCE], SIMPLIFIED)
            scored = {c.require_expression(): c for c in race.finished}
            before = kept
            kept = simplified(best, scored, metric, lambda c: not race.admissible(c), grammar)

    def _figures(self, standing: Standing) -> tuple[float, ...]:
        """Of each goal, on the images that a candidate has seen; higher is better."""
        score = self.board.of(str(standing.expression), standing.stage)
        return oriented_figures(score.values, self.race.metric)

    def _seen(self, standing: Standing) -> tuple[bool, float]:
        """Whether it has finished, and which share of the images, or cells, it has seen."""
        stages = self.board.stages
        return standing.dropped is None, stages[standing.stage].end / stages[-1].end

    def _worth(self) -> Callable[[Standing], float]:
        """What constants are tuned for: the mean, or nearness to the ideal point of the front."""
        metric = self.race.metric
        front = pareto_front(self.race.finished, metric)
        if not isinstance(metric, Objectives) or not front:
            return lambda standing: standing.mean
        near = nearness(front, metric, Scale.of(self.outcome.known, metric))
        return lambda standing: near(self._figures(standing))

    def _settle(self) -> None:
        most = max(stage.cells for stage in self.board.stages)
        each = BATCH * most * self.board.pace  # seconds that a batch takes, at most

        def stop() -> bool:
            done, self.outcome.settling = self.outcome.settling, self.outcome.settling + 1
            if self.script is not None:
                ends = done >= self.script.settling
            else:
                ends = self.budget.elapsed + each > self.allowance.limit * (1 + _FOR_SETTLING)
            if ends:
                self.outcome.settling = done
            return ends

        self.race.finish_best()
        self.outcome.brought_back, self.outcome.unsettled = self.race.settle(stop)
        if self.outcome.unsettled:
            self.notify(
                Note(
                    f"{self.outcome.unsettled} cheaper candidates that the selection rule might "
                    "prefer were not scored to the end: the budget is spent"
                )
            )

    def _bounded(self) -> Iterator[Expression | Level]:
        """The enumeration up to the cost bound."""
        for item in self._stream:
            yield item
            if isinstance(item, Level) and item.cost == self.max_cost:
                return

    # --- candidates into the race --------------------------------------------------------------

    def _enter(self, batch: Sequence[Expression], phase: str) -> list[Standing]:
        """Score a batch.

        Raises:
            _StoppedError: nothing more fits into the budget, or the threshold is exceeded.
        """
        fitting = batch[: self.allowance.room(batch, phase)]
        entered = self.race.enter(fitting, phase == SIMPLIFIED) if fitting else []
        if fitting or phase != SIMPLIFIED:
            self.allowance.entered[phase] = self.allowance.entered.get(phase, 0) + len(fitting)
        for standing in entered:
            self.outcome.entered_in.setdefault(str(standing.expression), phase)
        if self.forgets:
            self._forget(entered)
        if entered:
            self._report(phase, entered[-1].expression.cost)
        leader, metric = self.race.leader, self.race.metric
        if (
            self.threshold is not None
            and leader is not None
            and metric.oriented(leader.mean) > metric.oriented(self.threshold)
        ):
            raise _StoppedError("threshold")
        if len(fitting) < len(batch):
            raise _StoppedError("budget")
        return entered

    def _forget(self, standings: Sequence[Standing]) -> None:
        for standing in standings:
            if standing.dropped is None:
                last = len(self.board.stages) - 1
                pattern = self.board.of(str(standing.expression), last).values.tobytes()
                if pattern in self._patterns:
                    self.enumerator.forget(standing.expression)
                self._patterns.add(pattern)

    # --- what is said ------------------------------------------------------------------------

    def _plan(self, stream: Iterator[Expression | Level]) -> list[Expression | Level]:
        """Enumerate as far as the budget can reach, and say so."""
        if self.script is None:
            formulas = [c.require_expression() for c in answers(self.outcome.known)]
            self.board.rehearse(formulas[:BATCH])
        each = self.board.pace * self.board.stages[-1].end
        if self.script is not None:
            reach = self.script.entered.get(EXHAUSTIVE, 0)
        elif self.budget.seconds is not None:
            left = max(0.0, self.allowance.limit - self.budget.elapsed)
            # Resumed candidates cost nothing, so they come on top of what the time can pay for;
            # where candidates drop out early, it pays for more.
            dropping = self.board.images / self.board.stages[0].stop
            dropping = max(1.0, dropping / 2) if self.race.dropping else 1.0
            reach = int(dropping * left / max(each, 1e-6)) + len(self._recorded)
        else:
            reach = self.budget.candidates or 0
        ahead: list[Expression | Level] = []
        candidates, exhausted = 0, False
        while candidates <= reach:
            item = next(stream, None)
            if item is None:
                exhausted = True
                break
            ahead.append(item)
            candidates += not isinstance(item, Level)
            if self.forgets and isinstance(item, Level):
                break  # which larger ones there are depends on the scores of these
        self._planned, self._begun = min(candidates, reach), self.budget.elapsed
        metric = self.race.metric
        self.notify(
            Plan(
                levels=tuple(self.enumerator.levels),
                trees=tuple(self.enumerator.grammar.tree_counts(self.max_cost)),
                candidates=candidates,
                images=self.board.images,
                passes=metric.passes,
                measurements=metric.measurements,
                shared_measurements=metric.shared_measurements,
                seconds=each,
                budget=str(self.budget),
                reachable=self._planned,
                exhausted=exhausted,
            )
        )
        self._prepare(self._planned - len(self._recorded))
        return ahead

    def _forecast(self, methods: int) -> None:
        pace, left = self.board.image_pace, self.budget.left
        evidence = self.budget.evidence(pace)
        self.notify(
            Forecast(
                known=methods * self.board.stages[-1].end * self.board.overall_pace,
                evidence=evidence.whole,
                kept=evidence.kept,
                left=None if math.isinf(left) else max(0.0, left),
                budget=str(self.budget),
            )
        )

    def _prepare(self, count: int) -> None:
        """Make the network as fast as pays for so many candidates on all images."""
        if count > 0 and self.board.measures:
            self.notify(Stage("Preparing the network"))
            self.board.prepare(count * self.board.images)

    def _report(self, phase: str, cost: int) -> None:
        elapsed = self.budget.elapsed
        if self.budget.candidates is not None:
            share = self.allowance.count / max(1, min(self._planned, self.budget.candidates))
        else:
            passed = (elapsed - self._begun) / max(self.allowance.limit - self._begun, 1e-6)
            share = max(self.allowance.count / max(1, self._planned), passed)
        finished, each = self.race.finished, self.board.pace * self.allowance.scores_each(phase)
        front = pareto_front(finished, self.race.metric)
        self.notify(
            Scored(
                scored=self.allowance.count,
                dropped=len(self.race.standings) - len(finished),
                resumed=sum(str(e) in self._recorded for e in self.race.standings),
                phase=phase,
                cost=cost,
                share=min(share, 1.0),
                elapsed=elapsed,
                rate=1 / each if each else 0.0,
                front=front,
                known=tuple(self.outcome.known),
                hypervolume=hypervolume_of(front, self.outcome.known, self.race.metric),
            )
        )


def deepest(grammar: Grammar) -> int:
    """Highest cost of what the guided phase proposes."""
    return DEEPEST_OF_LAYERS if len(grammar.sites) > 1 else DEEPEST


def _batches(stream: Iterable[Expression | Level]) -> Iterator[list[Expression] | Level]:
    """Candidates in batches that end where a level does."""
    batch: list[Expression] = []
    for item in stream:
        if isinstance(item, Level):
            if batch:
                yield batch
                batch = []
            yield item
            continue
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
