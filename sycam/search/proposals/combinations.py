"""Sums and products of what leads at each of several layers."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, product

from sycam.grammar import Grammar
from sycam.language import Expression, apply

LEADERS = 3  # formulas of a layer that are combined with those of another
COMBINED_BY = ("mul", "add")  # on real networks products won more often than sums


def combined(ranked: Iterable[Expression], grammar: Grammar) -> list[Expression]:
    """Each pair of leaders of two layers, multiplied and added, the best first.

    On every network looked at, a product or sum of the map of a fine layer and that of a deep one
    was better than any map of one layer.

    Args:
        ranked: formulas of one layer each, the best first; others are passed over.
        grammar: the space, beyond which nothing is proposed.
    """
    leaders: dict[str, list[Expression]] = {}
    for expression in ranked:
        if len(expression.sites) == 1:
            of_layer = leaders.setdefault(expression.sites[0], [])
            if len(of_layer) < LEADERS and expression not in of_layer:
                of_layer.append(expression)
    pairs = [
        (i + j, name, one, other)
        for some, others in combinations(leaders.values(), 2)
        for (i, one), (j, other) in product(enumerate(some), enumerate(others))
        for name in COMBINED_BY
    ]
    pairs.sort(key=lambda pair: pair[0])  # stable: leaders with leaders first
    made = [apply(name, one, other) for _, name, one, other in pairs]
    return [expression for expression in made if expression in grammar]
