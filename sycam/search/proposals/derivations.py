"""How a grammar derives an expression: choices of productions, from the root down, within a cost.

A derivation is written as choices that a sampler can make one by one. The name of a choice says
where in the tree it is, which symbol is derived and how much it may cost, so that a name has the
same choices in every derivation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sycam.errors import OptionError
from sycam.grammar import Grammar, Production
from sycam.language import Expression, apply
from sycam.language.signatures import COMMUTATIVE

DEEPEST = 12  # highest cost of what is proposed
DEEPEST_OF_LAYERS = 16  # where formulas of several layers are combined

Choose = Callable[[str, list[str]], str]


@dataclass(frozen=True)
class Position:
    """A node of a derivation.

    Attributes:
        path: the number of the child at each step from the root.
        symbol: what the node has to be.
        expression: what it is.
    """

    path: tuple[int, ...]
    symbol: str
    expression: Expression


def deepest(grammar: Grammar) -> int:
    """Highest cost of what is proposed beyond the enumeration."""
    return DEEPEST_OF_LAYERS if len(grammar.sites) > 1 else DEEPEST


class Derivations:
    """The derivations of a grammar up to a cost.

    Args:
        grammar: the space.
        max_cost: of complete expressions.

    Raises:
        OptionError: no expression is that cheap.
    """

    def __init__(self, grammar: Grammar, max_cost: int):
        self.grammar, self.max_cost = grammar, max_cost
        self.least = _least_costs(grammar)
        if max_cost < self.least[grammar.start]:
            raise OptionError(
                f"grammar {grammar.name!r} has no expression of cost {max_cost} or less; "
                f"the cheapest costs {self.least[grammar.start]}"
            )
        self.owned = {s: [p for p in grammar.productions if s in p.owners] for s in grammar.symbols}
        self._known: dict[tuple[Expression, str], tuple[Production, tuple] | None] = {}

    def least_cost(self, p: Production) -> int:
        """Of an expression that begins with a production."""
        return p.operator.cost + sum(self.least[a] for a in p.arguments)

    def within(self, symbol: str, budget: int) -> list[Production]:
        """Productions of a symbol that can be finished within a cost."""
        return [p for p in self.owned[symbol] if self.least_cost(p) <= budget]

    def step(
        self, expression: Expression, symbol: str
    ) -> tuple[Production, tuple[Expression, ...]] | None:
        """The production by which a symbol becomes an expression, and the children in its order.

        None where the symbol does not derive the expression; the order of commutative arguments
        is free.
        """
        key = expression, symbol
        if key not in self._known:
            self._known[key] = next(self._steps(expression, symbol), None)
        return self._known[key]

    def _steps(self, expression: Expression, symbol: str) -> Iterator[tuple]:
        orders = [expression.children]
        if COMMUTATIVE in expression.operator.laws:
            orders.append(expression.children[::-1])
        for p in self.owned[symbol]:
            if p.operator is expression.operator:
                for children in orders:
                    pairs = zip(children, p.arguments, strict=True)
                    if all(self.step(*pair) is not None for pair in pairs):
                        yield p, children

    def holds(self, expression: Expression, symbol: str | None = None) -> bool:
        """Whether a symbol, by default that of complete expressions, derives the expression."""
        return self.step(expression, symbol or self.grammar.start) is not None

    def positions(self, expression: Expression) -> list[Position]:
        """The nodes of the derivation of a complete expression, parents before children."""
        positions: list[Position] = []

        def walk(node: Expression, symbol: str, path: tuple[int, ...]) -> None:
            positions.append(Position(path, symbol, node))
            p, children = self.step(node, symbol)
            for i, (child, argument) in enumerate(zip(children, p.arguments, strict=True)):
                walk(child, argument, (*path, i))

        walk(expression, self.grammar.start, ())
        return positions

    def replaced(self, root: Expression, path: tuple[int, ...], new: Expression) -> Expression:
        """A complete expression with another node at a path of its derivation."""

        def walk(node: Expression, symbol: str, path: tuple[int, ...]) -> Expression:
            if not path:
                return new
            p, children = self.step(node, symbol)
            i = path[0]
            changed = walk(children[i], p.arguments[i], path[1:])
            return apply(p.operator.name, *children[:i], changed, *children[i + 1 :])

        return walk(root, self.grammar.start, path)

    def build(self, choose: Choose) -> Expression:
        """A complete expression by choices, each of some names; its cost is at most ``max_cost``.

        Args:
            choose: called with the name of a choice and what there is to choose from.
        """

        def grow(symbol: str, budget: int, path: str) -> Expression:
            named = {_name(p): p for p in self.within(symbol, budget)}
            p = named[choose(f"{path}:{symbol}:{budget}", list(named))]
            left = budget - p.operator.cost - sum(self.least[a] for a in p.arguments)
            children = []
            for i, argument in enumerate(p.arguments):
                child = grow(argument, left + self.least[argument], f"{path}.{i}")
                left -= child.cost - self.least[argument]
                children.append(child)
            return apply(p.operator.name, *children)

        return grow(self.grammar.start, self.max_cost, "root")

    def choices(self, expression: Expression) -> dict[str, str]:
        """The choices by which :meth:`build` makes a complete expression.

        Arguments of commutative operators may come in the other order.
        """
        choices: dict[str, str] = {}

        def follow(node: Expression, symbol: str, budget: int, path: str) -> None:
            p, children = self.step(node, symbol)
            choices[f"{path}:{symbol}:{budget}"] = _name(p)
            left = budget - p.operator.cost - sum(self.least[a] for a in p.arguments)
            for i, (child, argument) in enumerate(zip(children, p.arguments, strict=True)):
                follow(child, argument, left + self.least[argument], f"{path}.{i}")
                left -= child.cost - self.least[argument]

        follow(expression, self.grammar.start, self.max_cost, "root")
        return choices


def _name(p: Production) -> str:
    return f"{p.operator.name}({', '.join(p.arguments)})" if p.arguments else p.operator.name


def _least_costs(grammar: Grammar) -> dict[str, int]:
    least: dict[str, int] = {}
    changed = True
    while changed:
        changed = False
        for p in grammar.productions:
            if any(a not in least for a in p.arguments):
                continue
            cost = p.operator.cost + sum(least[a] for a in p.arguments)
            for owner in p.owners:
                if cost < least.get(owner, cost + 1):
                    least[owner], changed = cost, True
    return least
