"""Where formulas enter the race, as far as the budget goes and until the threshold is exceeded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sycam.language import Expression
from sycam.search.enumeration.enumerator import Enumerator
from sycam.search.outcome import SIMPLIFIED, Outcome
from sycam.search.phases.allowance import Allowance
from sycam.search.racing.race import BATCH, Standing

BUDGET, THRESHOLD = "budget", "threshold"


class StoppedError(Exception):
    """The search ends here; the message says why: :data:`BUDGET` or :data:`THRESHOLD`."""


class Entrance:
    """Lets formulas into the race.

    Args:
        allowance: how many of a phase may enter.
        enumerator: tells what stands for a proposal; forgets, if ``forgets``, what scores as an
            earlier formula did.
        outcome: is told in which phase a formula entered.
        report: is called after each batch with its phase and the cost of its last formula.
        forgets: whether formulas that score alike build no larger ones.

    Attributes:
        threshold: the figure at which the search ends when an admissible candidate exceeds it, in
            the metric's own direction; never if None.
    """

    def __init__(
        self,
        allowance: Allowance,
        enumerator: Enumerator,
        outcome: Outcome,
        report: Callable[[str, int], None],
        forgets: bool,
    ):
        self.race, self.allowance = allowance.race, allowance
        self.enumerator, self.outcome, self._report = enumerator, outcome, report
        self.forgets = forgets
        self.threshold: float | None = None
        self._patterns: set[bytes] = set()  # scores seen, for the paper's oracle

    def enter_all(self, proposals: Sequence[Expression], phase: str) -> None:
        """Score, batch by batch, what stands for the proposals and was not scored.

        Raises:
            StoppedError: as for :meth:`enter`.
        """
        new = [e for e in dict.fromkeys(self.enumerator.represent_all(proposals)) if e is not None]
        self.enter_batches([e for e in new if e not in self.race.standings], phase)

    def enter_batches(self, formulas: Sequence[Expression], phase: str) -> None:
        """Score formulas batch by batch.

        Raises:
            StoppedError: as for :meth:`enter`.
        """
        for start in range(0, len(formulas), BATCH):
            self.enter(formulas[start : start + BATCH], phase)

    def enter(self, batch: Sequence[Expression], phase: str) -> list[Standing]:
        """Score a batch.

        Raises:
            StoppedError: nothing more fits into the budget, or the threshold is exceeded.
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
            raise StoppedError(THRESHOLD)
        if len(fitting) < len(batch):
            raise StoppedError(BUDGET)
        return entered

    def _forget(self, standings: Sequence[Standing]) -> None:
        board = self.race.board
        for standing in standings:
            if standing.dropped is None:
                last = len(board.stages) - 1
                pattern = board.of(str(standing.expression), last).values.tobytes()
                if pattern in self._patterns:
                    self.enumerator.forget(standing.expression)
                self._patterns.add(pattern)
