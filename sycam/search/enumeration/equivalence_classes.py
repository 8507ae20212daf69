"""Classes of expressions that are the same, each with the expression that stands for it."""

from __future__ import annotations

from torch import Tensor

from sycam.language import Expression
from sycam.search.enumeration.equivalence import same


class ValueClasses:
    """Expressions of one symbol by their values: a key of the probe images, and a fingerprint of
    the confirming ones."""

    def __init__(self) -> None:
        self._found: dict[int, list[tuple[Tensor, Expression]]] = {}

    def find(self, key: int, fingerprint: Tensor) -> Expression | None:
        """The expression of the same values, if there is one."""
        others = self._found.get(key, ())
        return next((e for other, e in others if same(fingerprint, other)), None)

    def begin(self, key: int, fingerprint: Tensor, expression: Expression) -> bool:
        """Begin a class; returns whether the key alone would have merged it with another."""
        others = self._found.setdefault(key, [])
        others.append((fingerprint, expression))
        return len(others) > 1


class HeatClasses:
    """Complete expressions by their heatmaps, as far as a metric tells them apart.

    An expression is *met* by enumeration, or *proposed* by somebody else. The first of a class,
    of either kind, represents it ever after.
    """

    def __init__(self) -> None:
        self._found: dict[int, list[tuple[int, Expression]]] = {}
        self._representative: dict[Expression, Expression | None] = {}
        self._simplest: dict[Expression, Expression] = {}
        self._only_proposed: set[Expression] = set()

    def __contains__(self, expression: Expression) -> bool:
        """Whether the expression was seen before."""
        return expression in self._representative

    def representative(self, expression: Expression) -> Expression | None:
        """Of an expression seen before; None where it overflows or is flat."""
        return self._representative[expression]

    def simplest(self, expression: Expression) -> Expression:
        """The cheapest expression seen of the class of one seen before, or else itself."""
        representative = self._representative.get(expression)
        if representative is None:
            return expression
        return self._simplest.get(representative, expression)

    def find(self, key: int, confirming: int) -> Expression | None:
        """The representative of the class with these keys, if there is one."""
        others = self._found.get(key, ())
        return next((e for other, e in others if other == confirming), None)

    def put(self, expression: Expression, representative: Expression | None) -> None:
        """Note what stands for an expression."""
        self._representative[expression] = representative
        if representative is not None:
            simplest = self._simplest.get(representative, representative)
            cheaper = expression.cost < simplest.cost
            self._simplest[representative] = expression if cheaper else simplest

    def begin(self, expression: Expression, proposed: bool) -> None:
        """Begin the class that an expression represents."""
        self.put(expression, expression)
        if proposed:
            self._only_proposed.add(expression)

    def index(self, key: int, confirming: int, expression: Expression) -> bool:
        """Make a class found by keys; returns whether ``key`` alone would merge it with another."""
        others = self._found.setdefault(key, [])
        others.append((confirming, expression))
        return len(others) > 1

    def meet(self, representative: Expression) -> bool:
        """Whether enumeration meets for the first time a class that was proposed."""
        first = representative in self._only_proposed
        self._only_proposed.discard(representative)
        return first
