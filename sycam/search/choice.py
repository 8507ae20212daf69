"""What a search chooses from its candidates: the winner, what stands beside it, and how far the
search images bear the choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sycam.methods.method import ANSWERS, RIVALS
from sycam.metrics import Metric
from sycam.metrics.composition.objectives import Objectives
from sycam.problem.problem import Problem
from sycam.scoring.journaled_scorer import JournaledScorer
from sycam.search.options import EXACT, PER_CLASS, SearchOptions
from sycam.search.outcome import Outcome
from sycam.search.proposals.simplifications import simplified
from sycam.search.racing.known import answers
from sycam.search.selection.bootstrap import Stability, stability
from sycam.search.selection.pareto import Scale, compromise, pareto_front
from sycam.search.selection.per_class import Choice, class_winners
from sycam.search.selection.portfolio import Portfolios, portfolio
from sycam.search.selection.power import Power, power
from sycam.search.selection.select import Candidate, select, simplest


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
class Chosen:
    """Who won.

    Attributes:
        winner: a new formula or a published CAM that is one, or None.
        new: the best new formula: the winner, or where that is a published CAM, what the rule
            chooses without those; or None.
        runner_up: the next that might have won, or None.
        whole: what the rule chose, where the best new formula is a simpler form of it; else None.
    """

    winner: Candidate | None = None
    new: Candidate | None = None
    runner_up: Candidate | None = None
    whole: Candidate | None = None


@dataclass(frozen=True)
class Chooser:
    """Chooses among the candidates of a search, which is over.

    Attributes:
        problem: what was searched.
        options: how.
        outcome: the candidates.
        admissible: whether a candidate may win.
    """

    problem: Problem
    options: SearchOptions
    outcome: Outcome
    admissible: Callable[[Candidate], bool]

    def chosen(self) -> Chosen:
        """The winner, and those next to it."""
        able = contenders(self.outcome)
        winner = self._choose(able)
        if winner is None:
            return Chosen()
        new = winner if winner.kind not in ANSWERS else self._choose(self.outcome.candidates)
        whole = None
        if new is not None and self.options.mode != EXACT and not self._has_goals:
            scored = {c.require_expression(): c for c in self.outcome.candidates}
            form = simplified(new, scored, self._metric, self._out, self.problem.grammar)
            # A winner's simpler form still has to win against what is published.
            rivals = answers(self.outcome.known) if new is winner else []
            if form is not new and self._choose([*rivals, form]) is form:
                winner, new, whole = form if new is winner else winner, form, new
        return Chosen(winner, new, self._choose([c for c in able if c is not winner]), whole)

    def simplest(self, winner: Candidate | None) -> Candidate | None:
        """The simplest formula that the images cannot tell from the winner under any goal."""
        if winner is None:
            return None
        return simplest(contenders(self.outcome), self._metric, winner, self._out)

    def classes(self, winner: Candidate | None) -> tuple[Choice, ...]:
        """The winner of each class, by the rule that chose the winner of all; none where one
        formula was sought for all."""
        if self.options.scope != PER_CLASS:
            return ()
        targets = self.problem.context.targets.cpu().numpy()
        able = contenders(self.outcome)
        return class_winners(able, self._metric, targets, winner, self._out, self._rule)

    def portfolios(self, board: JournaledScorer) -> Portfolios | None:
        """For the choice image by image, from those that saw all search images: of all that may
        win, and of the published CAMs alone."""
        if self.options.adapt is None:
            return None
        last, count = len(board.stages) - 1, self.options.adapt

        def cells(candidate: Candidate) -> np.ndarray:
            return board.cells(str(candidate.expression or candidate.name), last)

        rivals = [c for c in self.outcome.known if c.kind in RIVALS]
        return Portfolios(
            own=portfolio(contenders(self.outcome), cells, board.metric, count, self.admissible),
            published=portfolio(rivals, cells, board.metric, count),
        )

    def confidence(self, chosen: Chosen) -> Confidence | None:
        """How far the search images bear the choice; None without a winner and for several
        goals."""
        if chosen.winner is None or self._has_goals:
            return None
        # What a new formula is a simpler form of speaks for it, where it is the winner.
        whole = chosen.whole if chosen.winner is chosen.new else None
        given = (
            contenders(self.outcome), self._metric, chosen.winner, self._out, self.options.rule,
            self.problem.explained.seed,
        )  # fmt: skip
        form_of = None if whole is None else whole.name
        return Confidence(stability(*given, form_of=form_of), power(*given))

    @property
    def _metric(self) -> Metric:
        return self.problem.metric

    @property
    def _has_goals(self) -> bool:
        return isinstance(self._metric, Objectives)

    def _out(self, candidate: Candidate) -> bool:
        return not self.admissible(candidate)

    def _choose(self, candidates: Sequence[Candidate]) -> Candidate | None:
        return self._rule(candidates, self._metric, self._out)

    def _rule(
        self,
        candidates: Sequence[Candidate],
        metric: Metric,
        out: Callable[[Candidate], bool],
    ) -> Candidate | None:
        """How one of several candidates is chosen."""
        if isinstance(metric, Objectives):
            scale = Scale.of(self.outcome.known, metric)
            return compromise(pareto_front(candidates, metric), metric, scale, out)
        return select(candidates, metric, out, self.options.rule, self.problem.explained.seed)


def contenders(outcome: Outcome) -> list[Candidate]:
    """All that may win: published CAMs that are expressions, by their text, and new formulas."""
    known = answers(outcome.known)
    names = {c.name for c in known}
    return [*known, *(c for c in outcome.candidates if c.name not in names)]


def published_name(outcome: Outcome, candidate: Candidate | None) -> str | None:
    """Name of the published CAM that a contender is; None of a new formula."""
    if candidate is None or candidate.kind not in ANSWERS:
        return None
    return next(c.name for c in outcome.known if c.expression is candidate.expression)
