"""Exact search: every distinct candidate, cheapest first, until the cost bound or the budget."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from sycam.language import Expression
from sycam.methods import Method
from sycam.search.budget import Budget
from sycam.search.enumeration import Enumerator, Level
from sycam.search.events import Notify, Plan, Scored, Stage, ignore
from sycam.search.journal import Journal
from sycam.search.scoring import Score, Scorer
from sycam.search.selection import Candidate, pareto_front

CHUNK = 8  # candidates scored together; fixed, so that a resumed run forms the same batches


@dataclass
class Outcome:
    """What a search found.

    Attributes:
        candidates: every distinct expression scored, in the order of enumeration.
        known: published CAMs and controls, with their scores.
        levels: what enumeration did at each cost.
        complete_cost: every distinct candidate up to this cost was scored.
        stopped: ``"cost bound"`` or ``"budget"``.
        seconds: spent in this go.
        resumed: candidates taken from the journal.
        passes: forward passes on perturbed images in this go.
    """

    candidates: list[Candidate] = field(default_factory=list)
    known: list[Candidate] = field(default_factory=list)
    levels: list[Level] = field(default_factory=list)
    complete_cost: int = 0
    stopped: str = "cost bound"
    seconds: float = 0.0
    resumed: int = 0
    passes: int = 0


class ExactSearch:
    """Scores candidates in the enumerator's order.

    Args:
        enumerator: the candidates.
        scorer: their scores.
        journal: where finished scores are kept, and found again.
        budget: when to stop.
        max_cost: highest cost enumerated.
        notify: called with the events of :mod:`sycam.search.events`.
    """

    def __init__(
        self,
        enumerator: Enumerator,
        scorer: Scorer,
        journal: Journal,
        budget: Budget,
        max_cost: int,
        notify: Notify = ignore,
    ):
        self.enumerator, self.scorer, self.journal = enumerator, scorer, journal
        self.budget, self.max_cost, self.notify = budget, max_cost, notify
        self._fresh = 0  # candidates scored in this go
        self._busy = 0.0  # seconds that took
        self._seconds = 0.0  # for one candidate, measured on the known methods
        self._planned = 0

    def run(self, known: Sequence[Method]) -> Outcome:
        """Score the known methods, then every candidate."""
        outcome = Outcome()
        recorded = set(self.journal.known)
        self.budget.start()
        before = self.scorer.context.classifier.passes
        self._prepare(sum(_journal_name(m) not in recorded for m in known))
        outcome.known = self._score_known(known)
        for level_or_chunk in self._chunks(self._planned_stream()):
            if isinstance(level_or_chunk, Level):
                outcome.complete_cost = level_or_chunk.cost
                continue
            chunk = level_or_chunk
            whole = len(chunk)
            if self.budget.candidates is not None:
                chunk = chunk[: max(0, self.budget.candidates - len(outcome.candidates))]
            fresh = sum(str(e) not in self.journal.known for e in chunk)
            # At least one batch is scored, however short the time.
            spent = self.budget.spent(len(outcome.candidates), fresh * self._pace())
            if not chunk or (fresh and outcome.candidates and spent):
                outcome.stopped = "budget"
                break
            outcome.resumed += sum(str(e) in recorded for e in chunk)
            scores = self._score(chunk)
            outcome.candidates += [
                Candidate(str(e), "expression", e, s) for e, s in zip(chunk, scores, strict=True)
            ]
            self._report(outcome)
            if len(chunk) < whole:  # the level is not complete
                outcome.stopped = "budget"
                break
        outcome.levels = list(self.enumerator.levels)
        outcome.seconds = self.budget.elapsed
        outcome.passes = self.scorer.context.classifier.passes - before
        return outcome

    def _score_known(self, known: Sequence[Method]) -> list[Candidate]:
        self.notify(Stage("Scoring published CAMs and controls", len(known)))
        names = list(map(_journal_name, known))
        missing = {
            name: method
            for name, method in zip(names, known, strict=True)
            if name not in self.journal.known
        }
        # Where all are on record, one is scored again, to measure the time of a candidate.
        timed = list(missing.values()) or list(known[:1])
        started = time.monotonic()
        scores = [self.scorer.score_method(method) for method in timed]
        self._seconds = (time.monotonic() - started) / max(len(timed), 1)
        if missing:
            self.journal.append(list(missing), scores)
        return [
            Candidate(m.name, m.kind, m.expression, self.journal.known[name])
            for m, name in zip(known, names, strict=True)
        ]

    def _score(self, chunk: Sequence[Expression]) -> list[Score]:
        missing = [e for e in chunk if str(e) not in self.journal.known]
        if missing:
            started = time.monotonic()
            # The whole chunk, also where an interruption left a part of it on record: what is
            # computed together decides the last bits, and with them the order of tied pixels.
            scores = dict(zip(chunk, self.scorer.score(chunk), strict=True))
            self._busy += time.monotonic() - started
            self._fresh += len(missing)
            self.journal.append([str(e) for e in missing], [scores[e] for e in missing])
        return [self.journal.known[str(e)] for e in chunk]

    def _pace(self) -> float:
        """Seconds a candidate."""
        return self._busy / self._fresh if self._fresh else self._seconds

    def _planned_stream(self) -> Iterator[Expression | Level]:
        """Enumerate as far as the budget can reach, say so, then go on lazily."""
        self.notify(Stage("Enumerating expressions"))
        stream = self.enumerator.candidates(self.max_cost)
        if self.budget.seconds is not None:
            left = max(0.0, self.budget.seconds - self.budget.elapsed)
            # Resumed candidates cost nothing, so they come on top of what the time can pay for.
            reach = int(left / max(self._seconds, 1e-6)) + len(self.journal.known)
        else:
            reach = self.budget.candidates
        ahead: list[Expression | Level] = []
        found, exhausted = 0, False
        while found <= reach:
            item = next(stream, None)
            if item is None:
                exhausted = True
                break
            ahead.append(item)
            found += not isinstance(item, Level)
        self._planned = min(found, reach)
        scorer = self.scorer
        self.notify(
            Plan(
                levels=tuple(self.enumerator.levels),
                trees=tuple(self.enumerator.grammar.tree_counts(self.max_cost)),
                candidates=found,
                images=len(scorer.context),
                passes=scorer.metric.passes,
                measurements=scorer.metric.measurements,
                shared_measurements=scorer.metric.shared_measurements,
                seconds=self._seconds,
                budget=str(self.budget),
                reachable=self._planned,
                exhausted=exhausted,
            )
        )
        self._prepare(self._planned - len(self.journal.known))
        self.notify(Stage("Scoring candidates"))
        return chain(ahead, stream)

    def _prepare(self, count: int) -> None:
        if count > 0:
            self.notify(Stage("Preparing the network"))
            self.scorer.prepare(count)

    def _chunks(self, stream: Iterator[Expression | Level]) -> Iterator[list[Expression] | Level]:
        chunk: list[Expression] = []
        for item in stream:
            if isinstance(item, Level):
                if chunk:
                    yield chunk
                    chunk = []
                yield item
                continue
            chunk.append(item)
            if len(chunk) == CHUNK:
                yield chunk
                chunk = []

    def _report(self, outcome: Outcome) -> None:
        scored, elapsed = len(outcome.candidates), self.budget.elapsed
        share = scored / max(self._planned, 1)
        if self.budget.seconds is not None:
            share = max(share, elapsed / self.budget.seconds)
        self.notify(
            Scored(
                scored=scored,
                resumed=outcome.resumed,
                cost=outcome.candidates[-1].cost,
                share=min(share, 1.0),
                elapsed=elapsed,
                rate=self._fresh / self._busy if self._busy else 0.0,
                front=pareto_front(outcome.candidates, self.scorer.metric),
                known=tuple(outcome.known),
            )
        )


def _journal_name(method: Method) -> str:
    """A known method is on record as its expression, if it has one."""
    return method.name if method.expression is None else str(method.expression)
