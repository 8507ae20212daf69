"""How many more candidates a phase of a search may score: what is left of the budget, or of the
record that is played again."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sycam.language import Expression
from sycam.search.options import SearchOptions
from sycam.search.outcome import COMBINED, CONSTANTS, EXHAUSTIVE, GUIDED, SIMPLIFIED, Script
from sycam.search.racing.race import Race

_FOR_REFINEMENT = 0.1  # of the budget, for constants and simpler forms
_FOR_SIMPLER = 0.05  # of the budget
_FOR_PROPOSALS = 0.5  # of what is left when the enumeration of several layers begins


class Allowance:
    """What the phases of a search may spend.

    Args:
        race: where candidates are scored.
        options: with a budget whose clock is running.
        script: of a recorded search, which is played again; the budget counts if None.
        combines: whether formulas of several layers are combined, before the enumeration and by
            the proposals after it, so that the leading one may have simpler forms that were not
            enumerated, wherever the budget ends.

    Attributes:
        entered: candidates by phase.
    """

    def __init__(
        self, race: Race, options: SearchOptions, script: Script | None, combines: bool = False
    ):
        self.combines = combines
        self.race, self.board, self.budget = race, race.board, options.budget
        self.script, self._constants = script, options.constants
        self.entered: dict[str, int] = {}
        self._spent_before = (0.0, 0)  # seconds and candidates, when the enumeration began

    def begin_enumeration(self) -> None:
        """The enumeration begins. Of several layers it has but a share of what is left: formulas
        of one layer are many, and what is proposed from the best of each is more likely to win."""
        self._spent_before = self.budget.elapsed, self.count

    def room(self, batch: Sequence[Expression], phase: str) -> int:
        """How many of a batch may enter."""
        if self.script is not None:
            return max(0, self.script.entered.get(phase, 0) - self.entered.get(phase, 0))
        if self.budget.candidates is not None:
            return max(0, math.ceil(self._end(phase)) - self.count)
        new = sum(self._is_new(e, phase) for e in batch)
        if not new or not self.spent(phase, new):
            return len(batch)
        if self.count:
            return 0
        # At least one is scored, however short the time.
        left, each = self.limit - self.budget.elapsed, self.board.pace * self.scores_each(phase)
        return min(len(batch), max(1, int(left / max(1e-9, each))))

    def _is_new(self, expression: Expression, phase: str) -> bool:
        """Whether scores must be measured; of simpler forms, on all images."""
        if phase == SIMPLIFIED:
            return not self.board.has(str(expression), len(self.board.stages) - 1)
        return expression not in self.race.standings and not self.board.has(str(expression))

    def spent(self, phase: str, new: int) -> bool:
        """Whether so many new candidates would exceed the budget."""
        if self.script is not None:
            return self.entered.get(phase, 0) >= self.script.entered.get(phase, 0)
        if self.budget.candidates is not None:
            return self.count >= self.budget.candidates
        seconds = new * self.board.pace * self.scores_each(phase)
        return self.budget.elapsed + seconds > self._end(phase)

    def reach(self, resumed: int) -> int:
        """How many candidates of the enumeration can be expected to enter.

        Args:
            resumed: how many of them the journal knows.
        """
        if self.script is not None:
            return self.script.entered.get(EXHAUSTIVE, 0)
        if self.budget.seconds is None:
            return self.budget.candidates or 0
        each = self.board.pace * self.board.stages[-1].end
        left = max(0.0, self.limit - self.budget.elapsed)
        # Resumed candidates cost nothing, so they come on top of what the time can pay for;
        # where candidates drop out early, it pays for more.
        dropping = self.board.images / self.board.stages[0].stop
        dropping = max(1.0, dropping / 2) if self.race.dropping else 1.0
        return int(dropping * left / max(each, 1e-6)) + resumed

    @property
    def limit(self) -> float:
        """Seconds of the budget at which the search ends."""
        return self.budget.for_search(self.board.image_pace)

    @property
    def count(self) -> int:
        """Candidates that entered."""
        return sum(self.entered.values())

    def _end(self, phase: str) -> float:
        """Seconds, or candidates, of the budget at which a phase ends."""
        in_candidates = self.budget.candidates is not None
        whole = self.budget.candidates if in_candidates else self.limit
        end = whole * (1 - self._reserved(phase))
        if phase == EXHAUSTIVE and self.combines:
            begun = self._spent_before[in_candidates]
            end -= _FOR_PROPOSALS * max(0.0, end - begun)
        return end

    def _reserved(self, phase: str) -> float:
        """Share of the budget that a phase leaves to those after it."""
        if phase == GUIDED and self._constants:
            return _FOR_REFINEMENT
        before = [GUIDED, CONSTANTS, *((COMBINED, EXHAUSTIVE) if self.combines else ())]
        return _FOR_SIMPLER if phase in before else 0.0

    def scores_each(self, phase: str) -> float:
        """Images, or cells, that a candidate of a phase is seen in: so far, on average, but that
        all see simpler forms."""
        if phase == SIMPLIFIED:
            return float(self.board.stages[-1].end)
        entered = len(self.race.standings)
        return self.race.spent / entered if entered else float(self.board.stages[-1].end)
