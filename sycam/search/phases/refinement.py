"""The phases that refine the leading formulas: their constants, and simpler forms of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sycam.events import Notify, Stage
from sycam.grammar import Grammar
from sycam.language import Expression
from sycam.metrics.composition.objectives import Objectives
from sycam.search.outcome import CONSTANTS, SIMPLIFIED, Outcome
from sycam.search.phases.entrance import Entrance
from sycam.search.proposals.constants import tune
from sycam.search.proposals.simplifications import simpler, simplified
from sycam.search.racing.race import BATCH, Standing
from sycam.search.selection.pareto import Scale, compromise, nearness, pareto_front
from sycam.search.selection.select import Candidate

TUNED = 3  # leaders whose constants are tuned
TRIALS = 24  # candidates for each of them
SIMPLER = 24  # simpler forms of the leading formula that are scored, at most
_SIMPLER_AT_ONCE = 4


class Refinement:
    """Refines the leading formulas.

    Args:
        entrance: where formulas enter the race.
        grammar: in which forms of them must be.
        outcome: with the known methods, beside which several goals are weighed.
        seed: of the constants that are tried.
        notify: watches.
    """

    def __init__(
        self, entrance: Entrance, grammar: Grammar, outcome: Outcome, seed: int, notify: Notify
    ):
        self.race, self.allowance = entrance.race, entrance.allowance
        self.entrance, self.grammar = entrance, grammar
        self.outcome, self.seed, self.notify = outcome, seed, notify

    def constants(self) -> None:
        """Score the leading formulas with other constants.

        Raises:
            StoppedError: as for :meth:`Entrance.enter`.
        """
        self.notify(Stage("Tuning constants of the leaders"))
        standings, worth = self.race.standings, self._worth()
        best = sorted(
            (c for c in self.race.finished if c.eligible),
            key=lambda c: (-worth(standings[c.expression]), c.require_expression().sort_key()),
        )
        leaders = [c.require_expression() for c in best[:TUNED]]
        if not leaders:  # a published CAM leads, and all formulas dropped out before the end
            return

        def evaluate(batch: Sequence[Expression]) -> list[float]:
            # What does not fit into the budget any more ends the phase.
            return [worth(s) for s in self.entrance.enter(batch, CONSTANTS)]

        tune(
            leaders,
            evaluate,
            TRIALS * len(leaders),
            self.seed,
            lambda: self.allowance.spent(CONSTANTS, BATCH),
        )

    def simplify(self) -> None:
        """Score what is left of the leading formula without each of its parts, on all images; then
        what is left of the one that is kept.

        Raises:
            StoppedError: as for :meth:`Entrance.enter`.
        """
        race, grammar = self.race, self.grammar
        best = self._leading()
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
                self.entrance.enter(forms[start : start + _SIMPLER_AT_ONCE], SIMPLIFIED)
            scored = {c.require_expression(): c for c in race.finished}
            before = kept
            kept = simplified(best, scored, race.metric, lambda c: not race.admissible(c), grammar)

    def _leading(self) -> Candidate | None:
        """The formula that would win now; of several goals the compromise."""
        race = self.race
        if not isinstance(race.metric, Objectives):
            return race.choice()
        front = pareto_front(race.finished, race.metric)
        scale = Scale.of(self.outcome.known, race.metric)
        return compromise(front, race.metric, scale, lambda c: not race.admissible(c))

    def _worth(self) -> Callable[[Standing], float]:
        """What constants are tuned for: the mean, or nearness to the ideal point of the front."""
        race = self.race
        front = pareto_front(race.finished, race.metric)
        if not isinstance(race.metric, Objectives) or not front:
            return lambda standing: standing.mean
        near = nearness(front, race.metric, Scale.of(self.outcome.known, race.metric))
        return lambda standing: near(race.figures(standing))
