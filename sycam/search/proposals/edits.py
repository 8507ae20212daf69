"""Neighbours of an expression: what a single edit makes of it, always within the grammar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sycam.grammar import Production
from sycam.grammar.grammar import splits
from sycam.language import Expression, apply
from sycam.search.proposals.derivations import Derivations, Position

SMALL = 2  # cost of the subtrees that edits bring in
_MOST_SMALL = 200  # of one symbol


class Edits:
    """Single edits of complete expressions.

    Args:
        derivations: of the space; no neighbour is more expensive than its bound.
    """

    def __init__(self, derivations: Derivations):
        self.derivations = derivations
        self._small = _small_expressions(derivations)
        self._signs = [p for p in derivations.grammar.productions if len(p.arguments) == 2]

    def neighbours(
        self, expression: Expression, partners: Sequence[Expression] = ()
    ) -> dict[Expression, None]:
        """Expressions one edit away, without repetition, in a fixed order.

        At each node: another operator or leaf of the same signature; the same formula at another
        layer; an operator put above it, or taken away; a small expression in its place. And the
        whole: one of its parts alone;
        joined with a partner by an operator of two arguments; a partner's part in its place.
        """
        room = self.derivations.max_cost
        neighbours: dict[Expression, None] = {}
        for position in self.derivations.positions(expression):
            budget = room - expression.cost + position.expression.cost
            for new in self._at(position, partners):
                if new.cost <= budget and new is not position.expression:
                    made = self.derivations.replaced(expression, position.path, new)
                    neighbours[made] = None
        for part in expression.nodes():
            if part is not expression and self.derivations.holds(part):
                neighbours[part] = None
        neighbours.pop(expression, None)
        return neighbours

    def _at(self, position: Position, partners: Sequence[Expression]) -> Iterator[Expression]:
        node, d = position.expression, self.derivations
        p, children = d.step(node, position.symbol)
        for other in d.owned[position.symbol]:
            elsewhere = p.operator.site and other.operator.site
            if other.arguments == p.arguments or (elsewhere and self._hold(other, children)):
                yield apply(other.operator.name, *children)
            if len(other.arguments) == 1 and d.holds(node, other.arguments[0]):
                yield apply(other.operator.name, node)
        for child in children:
            if d.holds(child, position.symbol):
                yield child
        yield from self._small[position.symbol]
        for other in d.owned[position.symbol]:
            if len(other.arguments) == 2:
                yield from self._joined(other, node, position.path == (), partners)
        if not position.path:
            return
        for partner in partners:
            for part in partner.nodes():
                if d.holds(part, position.symbol):
                    yield part

    def _hold(self, p: Production, children: Sequence[Expression]) -> bool:
        pairs = zip(children, p.arguments, strict=True)
        return all(self.derivations.holds(*pair) for pair in pairs)

    def _joined(
        self, p: Production, node: Expression, whole: bool, partners: Sequence[Expression]
    ) -> Iterator[Expression]:
        left, right = p.arguments
        for here, there, order in ((left, right, 1), (right, left, -1)):
            if not self.derivations.holds(node, here):
                continue
            others = [e for e in self._small[there] if e.cost == self.derivations.least[there]]
            if whole:
                others += [e for e in partners if self.derivations.holds(e, there)]
            for other in others:
                yield apply(p.operator.name, *(node, other)[::order])


def _small_expressions(derivations: Derivations) -> dict[str, list[Expression]]:
    """The cheapest expressions of each symbol, cheapest first."""
    grammar = derivations.grammar
    bank: dict[tuple[str, int], dict[Expression, None]] = {}
    most = max(derivations.least[s] for s in grammar.symbols) + SMALL - 1
    for cost in range(1, most + 1):
        for p in grammar.productions:
            for split in splits(cost - p.operator.cost, len(p.arguments)):
                pools = [bank.get(pair, {}) for pair in zip(p.arguments, split, strict=True)]
                if len(pools) > 1:  # only what is simple: no operators of two arguments
                    continue
                for children in [(e,) for e in pools[0]] if pools else [()]:
                    made = apply(p.operator.name, *children)
                    for owner in p.owners:
                        bank.setdefault((owner, cost), {})[made] = None
    return {
        s: [e for cost in range(1, derivations.least[s] + SMALL) for e in bank.get((s, cost), ())][
            :_MOST_SMALL
        ]
        for s in grammar.symbols
    }
