"""A race: candidates enter in batches, are scored in stages, and drop out or finish."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from sycam.language import Expression
from sycam.metrics import Metric
from sycam.scoring.journaled_scorer import JournaledScorer
from sycam.search.selection.pareto import oriented_figures
from sycam.search.selection.rules import leaders_average
from sycam.search.selection.select import DEGENERATE_SHARE, Candidate, select
from sycam.support.shelf import stacked

BATCH = 8  # candidates scored together; fixed, so that a resumed run forms the same batches
PEERS = 48  # of the finished
OUTPERFORMED, BOUND, FLAT, OVERFLOW = "race", "bound", "degenerate", "overflow"


class Dropping(Protocol):
    """When a candidate drops out, as :class:`SequentialTest` tells it."""

    def drops(self, leader: np.ndarray, seen: np.ndarray, leaders: int, peers: np.ndarray) -> bool:
        """Whether a candidate is dropped after the images seen."""

    def excludes(
        self, best: np.ndarray, seen: np.ndarray, rule: str, peers: np.ndarray, average: np.ndarray
    ) -> bool:
        """Whether a dropped candidate cannot be the selection rule's choice."""


@dataclass
class Standing:
    """A candidate in the race.

    Attributes:
        expression: the candidate.
        stage: the last stage that it was scored in.
        mean: of the scores seen, oriented so that higher is better.
        dropped: why it dropped out: ``race``, ``bound``, ``degenerate``, ``overflow``, or None.
        against: the leader it was dropped for.
    """

    expression: Expression
    stage: int
    mean: float
    dropped: str | None = None
    against: str | None = None


@dataclass
class Race:
    """Scores candidates in stages and keeps the leader.

    Attributes:
        board: their scores.
        dropping: when they drop out, by reason; nobody does where it is empty.
        rule: how the winner will be selected.
        admissible: whether a candidate may win: no published CAM found again, all requirements
            met. It is asked only of those that would lead, of some again.
        seed: of the selection rule.
        known: ``[N,L]`` scores of published CAMs and controls, higher is better: with the best of
            the finished the peers that a candidate is compared with.
        standings: of all candidates that entered, in their order.
        finished: those that saw all images.
        leaders: names of those that have led, in turn.
        met: names of the leaders that a candidate has met, in turn: one that another of the same
            batch took the lead from has met nobody.
    """

    board: JournaledScorer
    dropping: Mapping[str, Dropping]
    rule: str
    admissible: Callable[[Candidate], bool]
    seed: int = 0
    known: list[np.ndarray] = field(default_factory=list)
    standings: dict[Expression, Standing] = field(default_factory=dict)
    finished: list[Candidate] = field(default_factory=list)
    leaders: list[str] = field(default_factory=list)
    met: list[str] = field(default_factory=list)
    _lead: Candidate | None = None
    _peers_of: tuple[tuple, tuple[np.ndarray, np.ndarray]] | None = None
    _ruled_out: dict[Expression, tuple] = field(default_factory=dict)

    def enter(self, batch: Sequence[Expression], whole: bool = False) -> list[Standing]:
        """Score new candidates until each has dropped out or seen all images.

        Args:
            batch: candidates, new or not.
            whole: let none drop out for what others score, and bring those of the batch to the end
                that did.
        """
        enters = self.is_open if whole else lambda e: e not in self.standings
        active = [e for e in dict.fromkeys(batch) if enters(e)]
        counts = len(self.finished), len(self.leaders), len(self.met)
        new, lead = active, self._lead
        behind = {e: self.standings[e] for e in active if e in self.standings}
        try:
            for stage in range(len(self.board.stages)):
                if not active:
                    break
                active = self._advance(active, stage, whole)
        except BaseException:
            # A batch counts whole or not at all; its scores are in the journal.
            for expression in new:
                self.standings.pop(expression, None)
            self.standings.update(behind)
            for kept, count in zip((self.finished, self.leaders, self.met), counts, strict=True):
                del kept[count:]
            self._lead = lead
            raise
        return [self.standings[e] for e in batch]

    def is_open(self, expression: Expression) -> bool:
        """Whether a candidate has not entered, or dropped out only for what others score."""
        standing = self.standings.get(expression)
        return standing is None or standing.dropped in self.dropping

    def lead_by(self, known: Candidate) -> None:
        """Let a published CAM that may win lead, so that the first candidates have one to beat.

        Args:
            known: called by its expression, with scores of all images on the board.
        """
        self._lead = known
        self.leaders.append(known.name)

    def finish_best(self) -> bool:
        """Where every candidate that may win was dropped, bring the best of them to the end.

        Returns:
            Whether one was brought there.
        """
        if self.choice() is not None:
            return False
        behind = [s for s in self.standings.values() if s.dropped in self.dropping]
        for standing in sorted(behind, key=lambda s: (-s.stage, -s.mean)):
            expression, name = standing.expression, str(standing.expression)
            score = self.board.of(name, standing.stage)
            if self.admissible(Candidate(name, "expression", expression, score)):
                for stage in range(standing.stage + 1, len(self.board.stages)):
                    (standing,) = self._scored([expression], stage)
                standing.dropped = (
                    standing.dropped if standing.dropped in (FLAT, OVERFLOW) else None
                )
                return True
        return False

    def settle(self, stop: Callable[[], bool] = lambda: False) -> tuple[int, int]:
        """Bring back candidates that the selection rule might prefer to the leader.

        Dropping is safe for the highest mean; a rule that prefers a cheaper candidate close to it
        may choose one that was dropped. Those are scored on more images until each is either too
        far behind the best or has seen all.

        Args:
            stop: asked before each batch whether to leave it at that.

        Returns:
            How many were brought back, and how many are in doubt still.
        """
        brought: set[Expression] = set()
        last = len(self.board.stages) - 1
        while (doubtful := self._doubtful()) and not stop():
            brought.update(s.expression for s in doubtful)
            stage = min(s.stage for s in doubtful) + 1
            reasons = {s.expression: s.dropped for s in doubtful}
            batch = [s.expression for s in doubtful if s.stage == stage - 1][:BATCH]
            for standing in self._scored(batch, stage):
                if standing.dropped is None and stage < last:
                    standing.dropped = reasons[standing.expression]  # until it is in doubt again
        return len(brought), len(doubtful)

    def _doubtful(self) -> list[Standing]:
        """Those dropped that the rule might prefer to its choice among the finished."""
        if self.rule == "argmax" or self._lead is None:
            return []
        chosen = self.choice()
        if chosen is None:
            return []
        # One standard error prefers only what costs less, or does better at the same cost.
        costliest = chosen.cost - (chosen is self._lead) if self.rule == "one-se" else math.inf
        return [
            s
            for s in self.standings.values()
            if s.dropped in self.dropping
            and s.expression.cost <= costliest
            and not self._excluded(s)
        ]

    def _excluded(self, standing: Standing) -> bool:
        """Whether the rule cannot prefer it; asked once for each stage, leader and its peers."""
        asked = (standing.stage, *self._situation)
        if self._ruled_out.get(standing.expression, (None,))[0] != asked:
            best, (peers, average) = self._cells(self._lead.name), self._peers()
            seen = self._oriented(self.board.cells(str(standing.expression), standing.stage))
            given = best, seen, self.rule, peers, average
            excluded = any(d.excludes(*given) for d in self.dropping.values())
            self._ruled_out[standing.expression] = asked, excluded
        return self._ruled_out[standing.expression][1]

    def choice(self) -> Candidate | None:
        """The selection rule's choice among the finished."""
        return select(
            self.finished, self.metric, lambda c: not self.admissible(c), self.rule, self.seed
        )

    def figures(self, standing: Standing) -> tuple[float, ...]:
        """Of each goal, on the images that a candidate has seen; higher is better."""
        score = self.board.of(str(standing.expression), standing.stage)
        return oriented_figures(score.values, self.metric)

    @property
    def metric(self) -> Metric:
        """What is scored."""
        return self.board.metric

    @property
    def leader(self) -> Candidate | None:
        """The admissible candidate with the highest mean, of those that saw all images."""
        return self._lead

    @property
    def spent(self) -> int:
        """Scores of one candidate on one image, or in one cell, that the race needed."""
        return sum(self.board.stages[s.stage].end for s in self.standings.values())

    def _advance(self, active: Sequence[Expression], stage: int, whole: bool) -> list[Expression]:
        """Score a stage; return those that go on."""
        return [
            s.expression
            for s in self._scored(active, stage)
            if s.dropped is None or (whole and s.dropped in self.dropping)
        ]

    def _scored(self, active: Sequence[Expression], stage: int) -> list[Standing]:
        last, standings = stage == len(self.board.stages) - 1, []
        for expression, score in zip(active, self.board.score(active, stage), strict=True):
            standing = Standing(expression, stage, float(self.metric.oriented(score.mean)))
            self.standings[expression] = standing
            standings.append(standing)
            if not score.finite:
                standing.dropped = OVERFLOW
            elif score.degenerate > DEGENERATE_SHARE * self.board.images:
                standing.dropped = FLAT
            elif last:
                self._finish(Candidate(str(expression), "expression", expression, score))
            elif self._lead is not None and self.dropping:
                seen = self._oriented(self.board.cells(str(expression), stage))
                standing.dropped = self._reason(seen)
                standing.against = standing.dropped and self._lead.name
        return standings

    def _reason(self, seen: np.ndarray) -> str | None:
        """Why a candidate of these scores drops out before the leader, if it does."""
        if self._lead.name not in self.met[-1:]:
            self.met.append(self._lead.name)
        leader, peers = self._cells(self._lead.name), self._peers()[0]
        drops = (r for r, d in self.dropping.items() if d.drops(leader, seen, len(self.met), peers))
        return next(drops, None)

    @property
    def _situation(self) -> tuple[str, int]:
        """The leader, and how many of the first finished are asked beside it: a power of two, so
        that what is learnt of them is learnt seldom, and is the same after an interruption."""
        return self._lead.name, 1 << max(0, len(self.finished).bit_length() - 1)

    def _peers(self) -> tuple[np.ndarray, np.ndarray]:
        """``[P,N,L]`` scores of others that have seen all images, the best last, and the average
        ``[N,L]`` of the leaders among them."""
        if self._peers_of is None or self._peers_of[0] != self._situation:
            first = [c for c in self.finished[: self._situation[1]] if c.eligible]
            oriented = self.metric.oriented
            best = sorted(first, key=lambda c: oriented(c.mean))
            those = best or [self._lead]
            scores = stacked((self._cells(c.name) for c in those), len(those))
            ahead = scores[-PEERS:]
            peers = stacked((*self.known, *ahead), len(self.known) + len(ahead))
            average = leaders_average(scores.reshape(len(scores), -1)).reshape(scores.shape[1:])
            self._peers_of = self._situation, (peers, average)
        return self._peers_of[1]

    def _finish(self, candidate: Candidate) -> None:
        self.finished.append(candidate)
        oriented = self.metric.oriented
        ahead = self._lead is None or oriented(candidate.mean) > oriented(self._lead.mean)
        if ahead and candidate.eligible and self.admissible(candidate):
            self._lead = candidate
            self.leaders.append(candidate.name)

    def _cells(self, name: str) -> np.ndarray:
        """``[N,L]`` oriented scores of one that has seen all images."""
        return self._oriented(self.board.cells(name, len(self.board.stages) - 1))

    def _oriented(self, values: np.ndarray) -> np.ndarray:
        return self.metric.oriented(values)
