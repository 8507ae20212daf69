"""Guided search: asks for expressions worth scoring, and is told what they scored."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.trial import Trial

from sycam.errors import ExpressionError, OptionError, unknown_name
from sycam.grammar import Grammar
from sycam.language import Expression
from sycam.search.enumeration.enumerator import Level
from sycam.search.options import GRAMMAR, RANDOM, SAMPLERS, TPE
from sycam.search.proposals.derivations import Derivations
from sycam.search.proposals.elite import Entry, Values
from sycam.search.proposals.optuna_study import ExpressionStudy, GrammarSampler
from sycam.search.proposals.proposer import (
    ORDER,
    GrammarProposer,
    MakeProposer,
    Portray,
    Proposer,
)
from sycam.search.selection.dominance import covers

_PATIENCE = 300  # proposals without a new class, after which the next in cost order is taken
_AGAIN = _PATIENCE - 16


@dataclass(frozen=True)
class Space:
    """What may be proposed, and what is known of it before anything is scored.

    Attributes:
        grammar: that proposals are of.
        max_cost: highest cost of a proposal.
        represent: maps an expression to the one that stands for its class, or to None where it
            has no heatmap; see :meth:`sycam.search.Enumerator.represent`. Without it, each
            expression is a class.
        stream: expressions by cost, where enumeration goes on; sampler ``"grammar"`` proposes a
            share of them, others are followed by them when they find nothing new any more.
        portray: see :meth:`sycam.search.Enumerator.portrait`; for ``"grammar"``, which finds the
            best in a fraction of the candidates with it.
    """

    grammar: Grammar
    max_cost: int = 10
    represent: Callable[[Expression], Expression | None] | None = None
    stream: Iterator[Expression | Level] | None = None
    portray: Portray | None = None


class Guide:
    """Proposes new expressions, each of a class that was not scored before.

    The same seed, the same calls and the same scores give the same proposals, unless the storage
    is shared; an interrupted search resumes by telling the scores on record again.

    Args:
        space: what is proposed from.
        sampler: ``"grammar"`` (edits of the best, a grammar learnt from them, and cost order),
            ``"tpe"`` or ``"random"`` (Optuna's), any sampler of Optuna's, or what makes a
            :class:`~sycam.search.proposals.proposer.Proposer` from derivations and a seed.
        seed: of the sampler.
        storage, name, shared: of the study, see :class:`ExpressionStudy`.
        mix: shares of the kinds of proposals, see :class:`GrammarProposer`; for ``"grammar"``.

    Raises:
        UnknownNameError: no such sampler.
        OptionError: the space's ``max_cost`` is too low, or the storage is of no use.
    """

    def __init__(
        self,
        space: Space,
        sampler: str | BaseSampler | MakeProposer = GRAMMAR,
        seed: int = 0,
        storage: str | Path | BaseStorage | None = None,
        name: str = "sycam",
        shared: bool | None = None,
        mix: Mapping[str, float] | None = None,
    ):
        self.space = space
        self._derivations = Derivations(space.grammar, space.max_cost)
        stream = space.stream
        self._proposer: Proposer | None = None
        own: BaseSampler = GrammarSampler(self._derivations)
        if sampler == GRAMMAR:
            self._proposer = GrammarProposer(self._derivations, seed, stream, space.portray, mix)
            stream = None  # it is the proposer's now
        elif isinstance(sampler, str):
            if sampler not in SAMPLERS:
                raise unknown_name("sampler", sampler, SAMPLERS)
            own = {TPE: TPESampler, RANDOM: RandomSampler}[sampler](seed=seed)
        elif isinstance(sampler, BaseSampler):
            own = sampler
        else:
            self._proposer = sampler(self._derivations, seed)
        self._kind = sampler if isinstance(sampler, str) else type(sampler).__name__
        self._ledger = ExpressionStudy(storage, name, own, self._derivations, shared)
        self._order = iter(()) if stream is None else stream
        self._barren = 0  # proposals since the last new class
        self._represent = space.represent or (lambda expression: expression)
        self._known: dict[Expression, tuple[Values | None, bool]] = {}
        self._pending: dict[Expression, tuple[str, list[Trial]]] = {}
        self._goals = 0  # not known before the first score
        self._front: list[Values] = []  # of the complete scores, those that no other matches
        self._counts: Counter[str] = Counter()
        self._kinds: dict[str, Counter[str]] = {}

    @property
    def statistics(self) -> dict:
        """Numbers of new ``proposals``, of ``duplicates`` (answered from what is known), of
        proposals with ``no heatmap``, of scores ``shared`` by others, and by ``kinds`` of
        proposals how many were ``proposed`` and ``improved`` on the best, or on the front of
        several goals."""
        names = ("proposals", "duplicates", "no heatmap", "shared")
        counts = {name: self._counts[name] for name in names}
        return counts | {"kinds": {kind: dict(counted) for kind, counted in self._kinds.items()}}

    def add(
        self,
        expression: Expression,
        value: float | Sequence[float] | None,
        complete: bool = True,
        seen: float = 1.0,
    ) -> None:
        """Take note of a score that was not asked for.

        Args:
            expression: any; what the grammar does not hold is not proposed, and no parent.
            value: higher is better; several for several goals; None where it cannot win.
            complete: whether the score is of all images.
            seen: share of the images that it is of.
        """
        inside = self._derivations.holds(expression)
        representative = self._represent(expression) if inside else expression
        if representative is not None:
            self._note(representative, value, complete, inside, seen)

    def ask(self, count: int) -> list[Expression]:
        """At most ``count`` expressions to score, cheap to make; none if no new one is found."""
        for text, values in self._ledger.others(self._goals or 1):
            self._take(text, values)
        asked: list[Expression] = []
        while len(asked) < count:
            trial, expression, kind = self._next()
            if expression is None:
                break
            new = self._settle(trial, expression, kind)
            if new is not None:
                asked.append(new)
            # After one in order, the sampler has some more tries.
            self._barren = self._barren + 1 if new is None else 0 if kind != ORDER else _AGAIN
        return asked

    def tell(
        self,
        expression: Expression,
        value: float | Sequence[float] | None,
        complete: bool = True,
        seen: float = 1.0,
    ) -> None:
        """The score of an expression that was asked for; arguments as for :meth:`add`."""
        kind, trials = self._pending.pop(expression, (None, []))
        inside = self._derivations.holds(expression)
        improved = self._note(expression, value, complete, inside, seen)
        for trial in trials:
            self._ledger.tell(trial, *self._known[expression])
        if kind is not None:
            self._kinds[kind]["improved"] += improved

    def close(self) -> None:
        """End the search: what was asked for and is not scored will never be."""
        self._pending.clear()
        self._ledger.close()

    def _next(self) -> tuple[Trial | None, Expression | None, str]:
        """A proposal and its kind; a sampler of Optuna's makes it as a trial, ours before."""
        if self._barren >= _PATIENCE:
            fresh = (item for item in self._order if not isinstance(item, Level))
            return None, next(fresh, None), ORDER
        if self._proposer is None:
            return (*self._ledger.ask(self._goals or 1), self._kind)
        proposal = self._proposer.propose()
        if proposal is None:
            self._barren = _PATIENCE
            return self._next()
        return None, proposal.expression, proposal.kind

    def _settle(self, trial: Trial | None, expression: Expression, kind: str) -> Expression | None:
        """The expression to score for a proposal, or None where that is known."""
        representative = self._represent(expression)
        if representative is not None and not self._fits(representative):
            representative = expression
        repeated = representative in self._known or representative in self._pending
        if representative is None or repeated:
            self._counts["no heatmap" if representative is None else "duplicates"] += 1
            if trial is not None:
                self._ledger.describe(trial, representative or expression, kind, repeated)
            if representative in self._pending:
                self._pending[representative][1].extend([trial] if trial else [])
            elif trial is not None:
                known = None if representative is None else self._known.get(representative)
                self._ledger.tell(trial, *(known or (None, True)))
            return None
        if trial is None:
            trial, _ = self._ledger.ask(self._goals or 1, representative)
        self._ledger.describe(trial, representative, kind, False)
        self._pending[representative] = kind, [trial]
        self._counts["proposals"] += 1
        self._kinds.setdefault(kind, Counter(proposed=0, improved=0))["proposed"] += 1
        return representative

    def _fits(self, expression: Expression) -> bool:
        return expression.cost <= self.space.max_cost and self._derivations.holds(expression)

    def _note(
        self,
        expression: Expression,
        value: float | Sequence[float] | None,
        complete: bool,
        parent: bool,
        seen: float,
    ) -> bool:
        """Take note; whether no score before is as good in every goal."""
        values, improved = _values(value), False
        if values is not None:
            if len(values) != (self._goals or len(values)):
                raise OptionError(
                    f"{expression} has {len(values)} figures, but those before have {self._goals}"
                )
            self._goals = len(values)
        known, whole = self._known.get(expression, (None, False))
        if known is None or (complete and not whole):
            self._known[expression] = values, complete
        if values is not None and complete:
            front = np.reshape(self._front, (-1, len(values)))
            improved = not covers(front, values).any()
            if improved:
                self._front = [*compress(self._front, ~covers(values, front)), values]
        if values is not None and parent and self._proposer is not None:
            self._proposer.learn(Entry(expression, values, complete, seen))
        return improved

    def _take(self, text: str, values: Values) -> None:
        """A score of another process; its text is parsed, and left alone if that fails."""
        try:
            expression = self.space.grammar.parse(text)
        except ExpressionError:
            return
        self._counts["shared"] += 1
        self.add(expression, values)


def _values(value: float | Sequence[float] | None) -> Values | None:
    """As a tuple; None where one is not finite."""
    if value is None:
        return None
    values = tuple(map(float, value)) if isinstance(value, Sequence) else (float(value),)
    return values if all(map(math.isfinite, values)) else None
