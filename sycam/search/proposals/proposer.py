"""Which expression to score next, given what others scored: edits, combinations of layers, draws
and plain cost order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Protocol

import numpy as np

from sycam.errors import OptionError
from sycam.language import Expression
from sycam.search.enumeration.enumerator import Level
from sycam.search.proposals.combinations import Combinations, Leaders
from sycam.search.proposals.derivations import Derivations
from sycam.search.proposals.edits import Edits
from sycam.search.proposals.elite import Archive, Entry
from sycam.search.proposals.learnt_grammar import LearntGrammar
from sycam.search.proposals.surrogate import Surrogate, hopes

EDIT, LAYER, COMBINATION = "edit", "layer", "combination"
LEARNT, ORDER = "learnt", "order"
KINDS = (EDIT, LAYER, COMBINATION, LEARNT, ORDER)
MIX = {EDIT: 0.5, LEARNT: 0.25, ORDER: 0.25}
MIX_OF_LAYERS = {EDIT: 0.2, LAYER: 0.4, COMBINATION: 0.3, LEARNT: 0.05, ORDER: 0.05}
ROUND = 8  # proposals made at once
LEAST = 8  # scores, below which plain order is all there is
_TOP = 16  # expressions that are parents because of their score alone
_PARENTS = 4  # edited in a round
_PARTNERS = 4  # joined with them
_POOL = 64  # expressions of a kind that the surrogate chooses from
_SAMPLE = 1000  # expressions that the surrogate learns from: its time grows with the cube
_WIDEST = 3.0  # interquartile ranges below the median that scores are told apart in
_CURIOSITY = 1.0  # deviations of a prediction that count as hope
_FURTHEST = 1000  # expressions in order that are looked at for one of a layer
_FRESH = 50_000  # portraits kept
_FIRST = 0.25  # share of the proposals in order that are the very next, so that none waits forever

Portray = Callable[[Expression], "np.ndarray | None"]


@dataclass(frozen=True)
class Proposal:
    """An expression to be scored, and the kind of step that led to it."""

    expression: Expression
    kind: str


class Proposer(Protocol):
    """Proposes expressions, each once."""

    def learn(self, entry: Entry) -> None:
        """Take note of a score."""

    def propose(self) -> Proposal | None:
        """The next proposal; None when there is nothing left."""


MakeProposer = Callable[[Derivations, int], Proposer]  # from the space, and a seed


class GrammarProposer:
    """Edits of the elite, draws from a grammar learnt from it, and plain order, in a fixed mix.

    In a grammar of several layers also formulas of one layer, of each in its turn, so that what
    leads at one does not keep others from having leaders; and combinations of what leads at each,
    of which those of layers that were never combined come before anything else.

    Of each kind there are more than can be scored; a surrogate, where portraits let it, chooses
    among them. The default mix was set on one network's table of ROAD scores and confirmed on
    another's (``benchmarks/search.py``). Candidates until the best of 2,636 was found, median of
    five seeds (and the most): half edits, a quarter each of the others 36 (70); edits at 0.8 34
    (70); draws at 0.5 30 (92); order at 0.5 44 (62); edits alone 62 (81). So it matters little as
    long as all take part.

    Args:
        derivations: of the space.
        seed: of the drawing.
        stream: the space in cost order; without it, there are only the other kinds.
        portray: the portrait ``[F]`` of an expression's heatmaps; None for no heatmap.
        mix: shares of the kinds; ``MIX``, or of several layers ``MIX_OF_LAYERS``, if None.

    Raises:
        OptionError: the mix names another kind, or has no positive share.
    """

    def __init__(
        self,
        derivations: Derivations,
        seed: int,
        stream: Iterator[Expression | Level] | None = None,
        portray: Portray | None = None,
        mix: Mapping[str, float] | None = None,
    ):
        several = len(derivations.grammar.sites) > 1
        mix = (MIX_OF_LAYERS if several else MIX) if mix is None else mix
        if not mix.keys() <= set(KINDS) or min(mix.values()) < 0 or not sum(mix.values()) > 0:
            raise OptionError(
                f"mix {dict(mix)} is not understood; expected shares of {', '.join(KINDS)} that "
                "are not negative, one of them positive"
            )
        self._mix = {kind: share / sum(mix.values()) for kind, share in mix.items()}
        self._owed = dict.fromkeys(self._mix, 0.0)  # of proposals, to each kind
        self._random = random.Random(seed)
        self._archive = Archive(_TOP, _SAMPLE)
        self._edits, self._learnt = Edits(derivations), LearntGrammar(derivations)
        self._combinations = Combinations(derivations) if several else None
        self._turns = cycle(derivations.grammar.sites)
        self._neighbours: dict[tuple, tuple[Expression, ...]] = {}
        self._stream = iter(()) if stream is None else stream
        self._window: dict[Expression, None] = {}  # next in order
        self._portray = portray
        self._portraits: dict[Expression, np.ndarray | None] = {}
        self._surrogate: Surrogate | None = None if portray is None else Surrogate()
        self._fitted = False
        self._offered: set[Expression] = set()
        self._queue: list[Proposal] = []

    def learn(self, entry: Entry) -> None:
        """Take note of a score."""
        self._offered.add(entry.expression)
        self._archive.add(entry)
        self._queue.clear()  # the next proposals know of it

    def propose(self) -> Proposal | None:
        """The next proposal, never one made or scored before; None when there is nothing left."""
        if not self._queue:
            self._queue = self._round()[::-1]
        if not self._queue:
            return None
        proposal = self._queue.pop()
        self._offered.add(proposal.expression)
        self._window.pop(proposal.expression, None)
        return proposal

    def _round(self) -> list[Proposal]:
        elite = [entry.expression for entry in self._archive.elite()]
        if len(self._archive) < LEAST or not elite:
            return [Proposal(e, ORDER) for e in self._next()[:ROUND]] or self._drawn()[:ROUND]
        if untried := self._untried():
            return [Proposal(e, COMBINATION) for e in untried[:ROUND]]
        kinds = self._kinds()
        kind_of: dict[Expression, str] = {}
        self._fit()
        for kind, make in (
            (EDIT, lambda: self._edited(elite)),
            (LAYER, self._of_a_layer),
            (COMBINATION, self._combined),
            (LEARNT, lambda: [p.expression for p in self._drawn(elite)]),
            (ORDER, self._next),
        ):
            count = kinds.count(kind)
            if not count:
                continue
            pool = [e for e in make() if e not in kind_of]
            chosen = pool[:1] if kind == ORDER and self._random.random() < _FIRST else []
            chosen += self._best([e for e in pool if e not in chosen], count - len(chosen))
            kind_of |= dict.fromkeys(chosen, kind)
        made = [Proposal(e, kind) for e, kind in kind_of.items()]
        self._random.shuffle(made)
        return made or [Proposal(e, ORDER) for e in self._next()[:ROUND]]

    def _kinds(self) -> list[str]:
        """The kinds of a round's proposals, so that the mix holds over rounds."""
        kinds = []
        for _ in range(ROUND):
            for kind, share in self._mix.items():
                self._owed[kind] += share
            kind = max(self._owed, key=self._owed.__getitem__)
            self._owed[kind] -= 1
            kinds.append(kind)
        return kinds

    def _edited(self, elite: list[Expression]) -> list[Expression]:
        weights = [1 / (1 + place) for place in range(len(elite))]
        partners = tuple(elite[:_PARTNERS])
        edited: dict[Expression, None] = {}
        for parent in dict.fromkeys(self._random.choices(elite, weights, k=_PARENTS)):
            fresh = self._edits_of(parent, partners)
            edited |= dict.fromkeys(self._random.sample(fresh, min(len(fresh), _POOL // 2)))
        return list(edited)

    def _edits_of(
        self, parent: Expression, partners: tuple[Expression, ...] = ()
    ) -> list[Expression]:
        """Neighbours that were not proposed before."""
        key = parent, partners
        if key not in self._neighbours:
            if len(self._neighbours) >= 4 * _TOP:
                self._neighbours.clear()
            self._neighbours[key] = tuple(self._edits.neighbours(parent, partners))
        return [e for e in self._neighbours[key] if e not in self._offered]

    def _ranked(self) -> tuple[list[Expression], Leaders]:
        """What was scored, the best first, and what leads at each of several layers."""
        if self._combinations is None:
            return [], {}
        ranked = self._archive.ranked()
        return ranked, self._combinations.leaders(ranked)

    def _untried(self) -> list[Expression]:
        """Combinations of layers that come before anything else."""
        if self._combinations is None:
            return []
        return self._combinations.untried(*self._ranked(), self._offered)

    def _of_a_layer(self) -> list[Expression]:
        """Formulas of the layer whose turn it is: edits of what leads there, what leads at others,
        and the next in order."""
        if self._combinations is None:
            return []
        site, (_, leaders) = next(self._turns), self._ranked()
        made = self._combinations.moved(leaders, site)
        for parent in leaders.get(site, ())[:_PARENTS]:
            edited = [e for e in self._edits_of(parent) if e.sites == (site,)]
            made += self._random.sample(edited, min(len(edited), _POOL // _PARENTS))
        made += self._next(site)[: _POOL // 2]
        return [e for e in dict.fromkeys(made) if e not in self._offered]

    def _combined(self) -> list[Expression]:
        """Combinations of what leads at each layer."""
        if self._combinations is None:
            return []
        ranked, leaders = self._ranked()
        pairs = self._combinations.pairs(leaders)
        best = [e for e in ranked if len(e.sites) > 1]
        combined: dict[Expression, None] = {}
        for made, most in (
            (pairs, _POOL),
            (self._combinations.extended(best, leaders), _POOL // 4),
        ):
            fresh = (e for e in made if e not in self._offered)
            combined |= dict.fromkeys(islice(fresh, most))
        return list(combined)

    def _drawn(self, elite: Sequence[Expression] = ()) -> list[Proposal]:
        self._learnt.learn(elite)
        drawn = {}
        for _ in range(2 * _POOL):
            expression = self._learnt.draw(self._random)
            if expression not in self._offered and len(drawn) < _POOL:
                drawn[expression] = Proposal(expression, LEARNT)
        return list(drawn.values())

    def _next(self, site: str = "") -> list[Expression]:
        """The next in order; where a layer is named, the next of its formulas."""
        self._window = {e: None for e in self._window if e not in self._offered}
        there = [e for e in self._window if not site or e.sites == (site,)]
        wanted = _POOL if not site else _POOL // 4
        while len(there) < wanted and len(self._window) < _FURTHEST:
            item = next(self._stream, None)
            if item is None:
                break
            if not isinstance(item, Level) and item not in self._offered:
                self._window[item] = None
                if not site or item.sites == (site,):
                    there.append(item)
        return there[:_POOL]

    def _fit(self) -> None:
        if self._surrogate is None:
            return
        entries = [e for e in self._archive.sample() if self._portrait(e.expression) is not None]
        if len(entries) < LEAST:
            return
        values = np.array([entry.values for entry in entries])
        # How bad the bad ones are does not matter, and would hide how good the good ones are.
        low, middle, high = np.percentile(values, (25, 50, 75), axis=0)
        values = np.maximum(values, middle - _WIDEST * (high - low))
        spread = values.std(0)
        values = (values - values.mean(0)) / np.where(spread > 0, spread, 1.0)
        # Several goals: each round looks at them from another side (Knowles: ParEGO, 2006).
        weights = np.array([self._random.expovariate(1) for _ in range(values.shape[1])])
        figures = values @ (weights / weights.sum())
        figures /= figures.std() or 1.0
        self._surrogate.fit(
            np.stack([self._portrait(entry.expression) for entry in entries]),
            figures,
            np.array([not entry.complete for entry in entries]),
        )
        self._fitted = True

    def _best(self, pool: list[Expression], count: int) -> list[Expression]:
        """The most hopeful of a pool; without a surrogate, any."""
        if not self._fitted:
            return self._random.sample(pool, min(count, len(pool)))
        pool = [e for e in pool if self._portrait(e) is not None]
        if not pool or count < 1:
            return []
        mean, covariance = self._surrogate.predict(np.stack([self._portrait(e) for e in pool]))
        return [pool[i] for i in hopes(mean, covariance, count, _CURIOSITY)]

    def _portrait(self, expression: Expression) -> np.ndarray | None:
        if expression not in self._portraits:
            if len(self._portraits) >= _FRESH:
                self._portraits.clear()
            self._portraits[expression] = self._portray(expression)
        return self._portraits[expression]
