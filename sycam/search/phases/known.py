"""The phase of the known methods: published CAMs and controls are scored before any formula."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from sycam.events import Note, Notify, Stage, Step
from sycam.evidence import ignores_target
from sycam.grammar import Grammar
from sycam.language import Expression
from sycam.methods import Method
from sycam.metrics import RANKING
from sycam.scoring.journaled_scorer import recorded_name
from sycam.search.outcome import COMBINED, Outcome
from sycam.search.phases.allowance import Allowance
from sycam.search.phases.entrance import Entrance
from sycam.search.phases.progress import Progress
from sycam.search.proposals.combinations import Combinations
from sycam.search.proposals.derivations import Derivations, deepest
from sycam.search.racing.known import Known, answers, in_order, score_known
from sycam.search.selection.select import Candidate
from sycam.support.shelf import Shelf

TIMED = 4  # known methods whose scoring tells what the command will take; the first is slow
_PATIENCE = 3.0  # seconds in which more of them are timed: some are far more expensive than most
_RESHAPED = 2  # times that the best is given wider and narrower regions once more
_FOR_KNOWN = 0.5  # of the search's seconds, at most


class KnownMethods:
    """Scores the published CAMs and controls.

    Args:
        allowance: of the search; a recorded one says how many of them saw which images.
        outcome: takes them with their scores.
        progress: forecasts what the command will take as soon as some of them were timed.
        notify: watches.
    """

    def __init__(self, allowance: Allowance, outcome: Outcome, progress: Progress, notify: Notify):
        self.race, self.board = allowance.race, allowance.board
        self.budget, self.script = allowance.budget, allowance.script
        self.outcome, self.progress, self.notify = outcome, progress, notify

    def score(self, known: Sequence[Method]) -> None:
        """Score them, all or as many as half of the search's time suffices for."""
        self.progress.prepare(sum(not self.board.has(recorded_name(m)) for m in known))
        found = self._scored(in_order(known))
        by_name = {c.name: c for c in found.whole}
        self.outcome.known = [by_name[m.name] for m in known if m.name in by_name]
        self.outcome.known_partly = list(found.partly)
        self.outcome.known_counts = found.counts
        if found.counts is not None:
            self.notify(
                Note(
                    f"{len(found.whole)} of {len(known)} published CAMs and controls saw all "
                    f"{self.board.images} search images, {len(found.partly)} fell behind on fewer: "
                    f"all would take longer than the budget of {self.budget}"
                )
            )
        metric, shelf = self.race.metric, Shelf()
        names, last = {m.name: recorded_name(m) for m in known}, len(self.board.stages) - 1
        self.race.known = [
            shelf.put(metric.oriented(self.board.cells(names[c.name], last)))
            for c in self.outcome.known
            if c.score.finite and not metric.components
        ]

    def _scored(self, methods: Sequence[Method]) -> Known:
        self.notify(Stage("Scoring published CAMs and controls", len(methods)))
        begun, told = self.budget.elapsed, False

        def left() -> float:
            ends = self.budget.for_search(self.board.image_pace)
            return begun + _FOR_KNOWN * (ends - begun) - self.budget.elapsed

        def foretell() -> None:
            self.board.rehearse_whole(methods[0])
            self.progress.forecast(len(methods))

        def done(count: int) -> None:
            nonlocal told
            self.notify(Step(count))
            # Of a run that goes on, most may be on record.
            enough = count >= TIMED and self.board.is_timed
            if enough and not told and self.budget.elapsed - begun > _PATIENCE:
                told = True
                foretell()

        counts = None
        if self.script is not None:
            counts = self.script.known or (len(methods),) * len(self.board.stages)
        found = score_known(methods, self.board, left, counts, done)
        if not told and self.board.pace:
            foretell()
        return found

    def answers(self) -> list[Candidate]:
        """The published CAMs that may win, the best first."""
        able = [c for c in answers(self.outcome.known) if c.eligible]
        oriented = self.race.metric.oriented
        return sorted(able, key=lambda c: (-oriented(c.mean), c.require_expression().sort_key()))


def combine(
    leading: Sequence[Candidate], grammar: Grammar, entrance: Entrance, agnostic: bool = False
) -> None:
    """Score what combines the published CAMs that lead at each two layers, then the best of it with
    the leader of each further one: where time is short, nothing is more likely to win. Where the
    metric sees more than the order of the places, all of these also get wider and narrower regions.

    Of two leaders that ignore the class nothing is made that may win; what leads at one of their
    layers of those that see it stands in.

    Args:
        leading: published CAMs, the best first.
        grammar: of several layers.
        entrance: where formulas enter the race.
        agnostic: whether formulas that ignore the class may win.

    Raises:
        StoppedError: as for :meth:`Entrance.enter`.
    """
    combinations = Combinations(Derivations(grammar, deepest(grammar)))

    def hopeful(expression: Expression) -> bool:
        return agnostic or not ignores_target(expression.leaves)

    def heads_of(those: Iterable[Expression]) -> dict[str, list[Expression]]:
        return {layer: found[:1] for layer, found in combinations.leaders(those).items()}

    formulas = [c.require_expression() for c in leading]
    heads, able = heads_of(formulas), heads_of(filter(hopeful, formulas))

    def best(*of_layers: int) -> list[Expression]:
        """The best that reads so many layers, of what may win and is still in the race."""
        there = [
            s
            for s in entrance.race.standings.values()
            if s.dropped is None and len(s.expression.sites) in of_layers and hopeful(s.expression)
        ]
        there.sort(key=lambda s: (-s.mean, s.expression.sort_key()))
        return [s.expression for s in there[:1]]

    pairs: list[Expression] = []
    for layers in itertools.combinations(heads, 2):
        two = {layer: heads[layer] for layer in layers}
        if not any(hopeful(e) for (e,) in two.values()):
            worse = max(two, key=lambda layer: formulas.index(two[layer][0]))
            two[worse] = able.get(worse, [])
        pairs += combinations.pairs(two)
    entrance.enter_all(pairs, COMBINED)
    entrance.enter_all(combinations.extended(best(2), heads), COMBINED)
    metric = entrance.race.metric
    if metric.rewards_blur or metric.invariance == RANKING:  # what removes pixels goes by the order
        return
    leads = [e for one in able.values() for e in one]
    entrance.enter_all(combinations.reshaped([*best(2, 3), *leads]), COMBINED)
    for _ in range(_RESHAPED):
        entrance.enter_all(combinations.reshaped(best(1, 2, 3)), COMBINED)
