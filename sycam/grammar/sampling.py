"""Random expressions of a grammar: every derivation tree of a cost is equally likely."""

from __future__ import annotations

import random
from itertools import product
from math import prod

from sycam.errors import OptionError
from sycam.grammar.grammar import Grammar, splits
from sycam.grammar.productions import Production
from sycam.language.expression import Expression, apply


class TreeSampler:
    """Draws derivation trees uniformly, by the recurrence of :meth:`Grammar.tree_counts`.

    Args:
        grammar: the space.
        max_cost: the largest cost that will be asked for.
    """

    def __init__(self, grammar: Grammar, max_cost: int):
        self.grammar, self.max_cost = grammar, max_cost
        self._ways: dict[tuple[str, int], list[tuple[Production, tuple[int, ...], int]]] = {}
        self._counts = {(s, c): 0 for s in grammar.symbols for c in range(max_cost + 1)}
        for cost in range(1, max_cost + 1):
            for p in grammar.productions:
                for split in splits(cost - p.operator.cost, len(p.arguments)):
                    ways = prod(self._counts[pair] for pair in zip(p.arguments, split, strict=True))
                    for owner in p.owners if ways else ():
                        self._ways.setdefault((owner, cost), []).append((p, split, ways))
                        self._counts[owner, cost] += ways

    def count(self, cost: int) -> int:
        """Number of derivation trees of complete expressions of exactly that cost."""
        return self._counts[self.grammar.start, cost]

    def draw(self, cost: int, random_state: random.Random) -> Expression:
        """One complete expression of exactly that cost.

        Raises:
            OptionError: the grammar has none of that cost.
        """
        if not 1 <= cost <= self.max_cost or not self.count(cost):
            raise OptionError(
                f"grammar {self.grammar.name!r} has no expression of cost {cost} "
                f"(asked for with max_cost {self.max_cost})"
            )
        return self._draw(self.grammar.start, cost, random_state)

    def _draw(self, symbol: str, cost: int, random_state: random.Random) -> Expression:
        ways = self._ways[symbol, cost]
        ((p, split, _),) = random_state.choices(ways, [count for *_, count in ways])
        parts = zip(p.arguments, split, strict=True)
        return apply(p.operator.name, *(self._draw(s, c, random_state) for s, c in parts))


def sample_expressions(grammar: Grammar, max_cost: int, count: int, seed: int) -> list[Expression]:
    """``count`` random expressions, their costs drawn evenly up to ``max_cost``; may repeat."""
    sampler = TreeSampler(grammar, max_cost)
    random_state = random.Random(seed)
    costs = [c for c in range(1, max_cost + 1) if sampler.count(c)]
    return [sampler.draw(random_state.choice(costs), random_state) for _ in range(count)]


def all_expressions(grammar: Grammar, max_cost: int) -> list[Expression]:
    """The distinct expressions of every derivation tree up to a cost, cheapest first.

    No values are looked at: a space has millions of trees from cost 6 on (see
    :meth:`Grammar.tree_counts`).
    """
    bank: dict[tuple[str, int], dict[Expression, None]] = {}
    for cost in range(1, max_cost + 1):
        for p in grammar.productions:
            for split in splits(cost - p.operator.cost, len(p.arguments)):
                pools = [bank.get(pair, {}) for pair in zip(p.arguments, split, strict=True)]
                for children in product(*pools):
                    made = apply(p.operator.name, *children)
                    for owner in p.owners:
                        bank.setdefault((owner, cost), {})[made] = None
    costs = range(1, max_cost + 1)
    return list(dict.fromkeys(e for c in costs for e in bank.get((grammar.start, c), {})))
