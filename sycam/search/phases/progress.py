"""What a search tells while it goes on: how far it will reach, how long it takes, where it is."""

from __future__ import annotations

import math

from sycam.events import Notify, Stage
from sycam.search.enumeration.enumerator import Enumerator
from sycam.search.events import Forecast, Plan, Scored
from sycam.search.outcome import Outcome
from sycam.search.phases.allowance import Allowance
from sycam.search.selection.pareto import hypervolume_of, pareto_front


class Progress:
    """Tells how a search goes on, and prepares the network for what is to come.

    Args:
        allowance: what may be scored.
        enumerator: all candidates by cost.
        outcome: of the search so far.
        max_cost: up to which all candidates are enumerated.
        notify: is told.
        proposes: whether proposals follow the enumeration, which spend what is left of the budget.

    Attributes:
        recorded: names that the journal knew before the search began.
    """

    def __init__(
        self,
        allowance: Allowance,
        enumerator: Enumerator,
        outcome: Outcome,
        max_cost: int,
        notify: Notify,
        proposes: bool,
    ):
        self.proposes = proposes
        self.allowance, self.enumerator, self.outcome = allowance, enumerator, outcome
        self.race, self.board, self.budget = allowance.race, allowance.board, allowance.budget
        self.max_cost, self.notify = max_cost, notify
        self.recorded = {name for name, stage in self.board.journal.known if stage == 0}
        self._planned, self._begun = 0, 0.0

    @property
    def resumed(self) -> int:
        """How many formulas of the race the journal knew."""
        return sum(str(e) in self.recorded for e in self.race.standings)

    def prepare(self, count: int) -> None:
        """Make the network as fast as pays for so many candidates on all images."""
        if count > 0 and self.board.measures:
            self.notify(Stage("Preparing the network"))
            self.board.prepare(count * self.board.images)

    def forecast(self, methods: int) -> None:
        """Say what the whole command will take, once the pace of known methods is measured.

        Args:
            methods: how many published CAMs and controls there are.
        """
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

    def plan(self, candidates: int, reach: int, exhausted: bool) -> None:
        """Say what is about to be scored, and prepare the network for it.

        Args:
            candidates: enumerated so far.
            reach: how many of them the budget will reach.
            exhausted: whether they are all up to the cost bound.
        """
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
                seconds=self.board.pace * self.board.stages[-1].end,
                budget=str(self.budget),
                reachable=self._planned,
                exhausted=exhausted,
            )
        )
        self.prepare(self._planned - len(self.recorded))

    def report(self, phase: str, cost: int) -> None:
        """Say where the search stands after a batch.

        Args:
            phase: of the batch.
            cost: of its last formula.
        """
        elapsed = self.budget.elapsed
        whole = self.budget.candidates or math.inf
        if self.budget.seconds is not None:
            share = (elapsed - self._begun) / max(self.allowance.limit - self._begun, 1e-6)
        else:
            share = self.allowance.count / whole
        if not self.proposes:
            share = max(share, self.allowance.count / max(1, min(self._planned, whole)))
        finished, each = self.race.finished, self.board.pace * self.allowance.scores_each(phase)
        front = pareto_front(finished, self.race.metric)
        self.notify(
            Scored(
                scored=self.allowance.count,
                dropped=len(self.race.standings) - len(finished),
                resumed=self.resumed,
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
