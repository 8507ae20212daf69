"""A probabilistic grammar whose productions' probabilities are learnt from the best expressions.

As Probe does it (Barke, Peleg, Polikarpova: Just-in-Time Learning for Bottom-Up Enumerative
Synthesis, 2020), but nothing is thrown away when the probabilities change.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

from sycam.grammar import Production
from sycam.language import Expression, apply
from sycam.search.proposals.derivations import Derivations

SMOOTHING = 0.5  # of an observation of each production


class LearntGrammar:
    """Draws expressions from productions weighted by how often the best use them.

    Args:
        derivations: of the space.
    """

    def __init__(self, derivations: Derivations):
        self.derivations = derivations
        self._weighted: dict[tuple[str, int], tuple[list[Production], list[float]]] = {}
        self.learn([])

    def learn(self, best: Iterable[Expression]) -> None:
        """Count the productions of the best expressions, instead of those counted before."""
        d = self.derivations
        positions = [position for expression in best for position in d.positions(expression)]
        counts = Counter((s.symbol, id(d.step(s.expression, s.symbol)[0])) for s in positions)
        self._weighted = {
            (symbol, budget): (
                possible,
                [SMOOTHING + counts[symbol, id(p)] for p in possible],
            )
            for symbol in d.grammar.symbols
            for budget in range(1, d.max_cost + 1)
            if (possible := d.within(symbol, budget))
        }

    def draw(
        self,
        random_state: random.Random,
        symbol: str | None = None,
        budget: int | None = None,
    ) -> Expression:
        """One expression of a symbol, by default a complete one, within a cost."""
        d = self.derivations
        symbol, budget = symbol or d.grammar.start, budget or d.max_cost
        (p,) = random_state.choices(*self._weighted[symbol, budget])
        left = budget - d.least_cost(p)
        children = []
        for argument in p.arguments:
            child = self.draw(random_state, argument, left + d.least[argument])
            left -= child.cost - d.least[argument]
            children.append(child)
        return apply(p.operator.name, *children)
