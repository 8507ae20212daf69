"""The search: its phases one after another, until one of its ends is reached."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice

from sycam.events import INTERRUPT, Interrupted, Note, Notify, Stage, ignore
from sycam.language import Expression
from sycam.methods import Method
from sycam.search.admission import may_ignore_target
from sycam.search.enumeration.enumerator import Enumerator, Level
from sycam.search.options import EXACT, SearchOptions
from sycam.search.outcome import EXHAUSTIVE, GUESSES, GUIDED, Outcome, Script
from sycam.search.phases.allowance import Allowance
from sycam.search.phases.entrance import BUDGET, Entrance, StoppedError
from sycam.search.phases.known import KnownMethods, combine
from sycam.search.phases.progress import Progress
from sycam.search.phases.refinement import Refinement
from sycam.search.proposals.derivations import deepest
from sycam.search.proposals.guide import Guide
from sycam.search.racing.known import answers
from sycam.search.racing.race import BATCH, OUTPERFORMED, Race, Standing
from sycam.search.selection.pareto import oriented_figures
from sycam.search.selection.select import Candidate

_FOR_SETTLING = 0.05  # of the search's seconds, on top of them


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
        self.budget, self.script, self.notify = options.budget, script, notify
        self.max_cost, self.constants = options.enumerated_cost, options.constants
        self.make_guide, self._threshold = guide, threshold
        # In exact mode every formula is scored, so that the best new one is exact as well.
        self.leads = options.mode != EXACT and OUTPERFORMED in race.dropping
        self.agnostic = may_ignore_target(options, enumerator.grammar)
        self.combines = guide is not None and len(enumerator.grammar.sites) > 1
        self.allowance = Allowance(race, options, script, self.combines)
        self.outcome = outcome = Outcome(phases=self.allowance.entered)
        proposes = guide is not None
        self.progress = Progress(
            self.allowance, enumerator, outcome, self.max_cost, notify, proposes
        )
        self.known = KnownMethods(self.allowance, outcome, self.progress, notify)
        self.entrance = Entrance(
            self.allowance, enumerator, outcome, self.progress.report, options.forgets
        )
        self.refinement = Refinement(self.entrance, enumerator.grammar, outcome, seed, notify)
        # One enumeration, which the guided phase goes on with where the exhaustive one ended.
        self._stream = enumerator.candidates(
            self.max_cost if guide is None else deepest(enumerator.grammar)
        )
        self._enumerated: list[Expression | Level] = []

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
        except StoppedError as reason:
            outcome.stopped = str(reason)
        except KeyboardInterrupt:
            outcome.stopped = INTERRUPT
            self.notify(
                Interrupted("interrupted: what was found is validated (Ctrl-C again to quit)")
            )
        if outcome.stopped != INTERRUPT:
            self._settle()
        outcome.candidates = list(self.race.finished)
        outcome.dropped = [s for s in self.race.standings.values() if s.dropped]
        outcome.leaders = list(self.race.leaders)
        outcome.levels = list(self.enumerator.levels)
        outcome.spent = self.race.spent
        outcome.resumed = self.progress.resumed
        outcome.seconds = self.budget.elapsed - started
        outcome.pace = self.board.image_pace
        outcome.passes = self.board.context.classifier.passes - before
        return outcome

    def _score_known(self, known: Sequence[Method]) -> None:
        self.known.score(known)
        if self._threshold is not None:
            self.entrance.threshold = self._threshold(self.outcome.known)
        if self.leads:
            lead = next(filter(self.race.admissible, self.known.answers()), None)
            if lead is not None:
                self.race.lead_by(lead)

    def _propose(self, guesses: Sequence[Expression]) -> None:
        """All phases of new formulas."""
        try:
            self.entrance.enter_batches(guesses, GUESSES)
            if self.combines:
                combine(self.known.answers(), self.enumerator.grammar, self.entrance, self.agnostic)
            self._exhaustive()
        except StoppedError as reason:
            # Of what was combined there are simpler forms that were not enumerated.
            if str(reason) != BUDGET or not self.combines:
                raise
            self._refine(self.refinement.simplify)
            raise
        if self.make_guide is not None:
            self._guided()

    def _refine(self, *phases: Callable[[], None]) -> None:
        """Phases on the leading formulas, each as far as its share of the budget goes."""
        for refine in phases:
            try:
                refine()
            except StoppedError as reason:
                if str(reason) != BUDGET:
                    raise
                self.outcome.stopped = BUDGET

    def _exhaustive(self) -> None:
        self.notify(Stage("Enumerating expressions"))
        self.allowance.begin_enumeration()
        stream = self._bounded()
        ahead = self._ahead(stream)
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
                self.entrance.enter(item, EXHAUSTIVE)
        except StoppedError as reason:
            spent = not self.combines or self.allowance.spent(GUIDED, 1)
            if str(reason) != BUDGET or spent:
                raise
            self._hand_over()
        finally:
            self.board.foresee(())

    def _hand_over(self) -> None:
        """The enumeration has spent its share: what it found and did not score may be proposed.

        How far it looked ahead depends on the pace, and which expression stands for a class on how
        far it looked.
        """
        if self.script is not None and self.script.enumerated is not None:
            missing = max(0, self.script.enumerated - len(self._enumerated))
            self._enumerated += islice(self._stream, missing)
        self.outcome.enumerated = len(self._enumerated)
        self._stream = chain(self._enumerated, self._stream)

    def _bounded(self) -> Iterator[Expression | Level]:
        """The enumeration up to the cost bound."""
        for item in self._stream:
            self._enumerated.append(item)
            yield item
            if isinstance(item, Level) and item.cost == self.max_cost:
                return

    def _ahead(self, stream: Iterator[Expression | Level]) -> list[Expression | Level]:
        """Enumerate as far as the budget can reach, and say so."""
        if self.script is None:
            formulas = [c.require_expression() for c in answers(self.outcome.known)]
            self.board.rehearse(formulas[:BATCH])
        reach = self.allowance.reach(len(self.progress.recorded))
        ahead: list[Expression | Level] = []
        candidates, exhausted = 0, False
        while candidates <= reach:
            item = next(stream, None)
            if item is None:
                exhausted = True
                break
            ahead.append(item)
            candidates += not isinstance(item, Level)
            if self.entrance.forgets and isinstance(item, Level):
                break  # which larger ones there are depends on the scores of these
        self.progress.plan(candidates, reach, exhausted)
        return ahead

    def _entering(self, batches: Iterable[Sequence[Expression]]) -> Iterator[list[Expression]]:
        """What of batches will enter the race."""
        for batch in batches:
            if new := [e for e in dict.fromkeys(batch) if e not in self.race.standings]:
                yield new

    def _guided(self) -> None:
        self.notify(Stage("Proposing formulas"))
        guide = self.make_guide(self._stream)
        metric = self.race.metric
        try:
            for standing in self.race.standings.values():
                guide.add(standing.expression, self.race.figures(standing), *self._seen(standing))
            for known in self.outcome.known:
                if known.expression is not None and known.expression in self.enumerator.grammar:
                    guide.add(known.expression, oriented_figures(known.score.values, metric), True)
            while batch := guide.ask(BATCH):
                for standing in self.entrance.enter(batch, GUIDED):
                    figures = self.race.figures(standing)
                    guide.tell(standing.expression, figures, *self._seen(standing))
        except StoppedError as reason:
            if str(reason) != BUDGET:
                raise
            self.outcome.stopped = BUDGET
        else:
            self.outcome.stopped = "space"
        finally:
            self.outcome.guided = dict(guide.statistics)
            guide.close()
        tuning = [self.refinement.constants] if self.constants else []
        self._refine(*tuning, self.refinement.simplify)

    def _seen(self, standing: Standing) -> tuple[bool, float]:
        """Whether it has finished, and which share of the images, or cells, it has seen."""
        stages = self.board.stages
        return standing.dropped is None, stages[standing.stage].end / stages[-1].end

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
