"""Grammars for people and for programs: what a search space is made of, counted and priced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sycam.grammar import Grammar
from sycam.language import Operator
from sycam.methods import METHODS
from sycam.methods.published import PUBLISHED
from sycam.report.plain_table import plain_table
from sycam.support.text.terminal import shown


def summary(grammar: Grammar, max_cost: int) -> dict[str, Any]:
    """What the list of grammars says of one; plain data."""
    return {
        "name": grammar.name,
        "digest": grammar.digest,
        "trees": grammar.tree_counts(max_cost),
        "leaves": [leaf.symbol for leaf in _measured(grammar)],
        "operators": [op.name for op in _operators(grammar)],
        "published": [m.name for m in METHODS.values() if m.kind == PUBLISHED
                      and m.expression is not None and grammar.holds(m.expression)],
    }  # fmt: skip


def description(grammar: Grammar, max_cost: int) -> dict[str, Any]:
    """All of one grammar; plain data."""
    typings = _typings(grammar)
    return summary(grammar, max_cost) | {
        "text": grammar.text,
        "leaves": [
            {"name": op.name, "written": op.symbol, "sort": op.overloads[0].result,
             "price": op.price, "meaning": op.meaning}
            for op in _measured(grammar)
        ],
        "operators": [
            {"name": op.name, "written": written(op), "typings": typings[op.name],
             "cost": op.cost, "laws": sorted(op.laws), "meaning": op.meaning}
            for op in _operators(grammar)
        ],
    }  # fmt: skip


def listing(grammars: Sequence[Grammar], max_cost: int) -> RenderableType:
    """What each grammar measures, how many published CAMs it holds, its trees of each cost."""
    made_of = plain_table(title="Grammars (sycam grammars show NAME says more)")
    made_of.add_column("grammar", no_wrap=True)
    made_of.add_column("measures")
    made_of.add_column("operators", justify="right")
    made_of.add_column("published CAMs", justify="right")
    for grammar in grammars:
        said = summary(grammar, max_cost)
        counts = (str(len(said["operators"])), str(len(said["published"])))
        made_of.add_row(shown(grammar.name), " ".join(said["leaves"]), *counts)
    return Group(made_of, _trees(grammars, max_cost))


def _trees(grammars: Sequence[Grammar], max_cost: int) -> Table:
    table = plain_table(title="Trees by cost")
    table.add_column("grammar", no_wrap=True)
    for cost in range(1, max_cost + 1):
        table.add_column(str(cost), justify="right", overflow="fold")
    for grammar in grammars:
        table.add_row(shown(grammar.name), *(f"{n:,}" for n in grammar.tree_counts(max_cost)))
    return table


def detail(grammar: Grammar, max_cost: int) -> RenderableType:
    """The grammar's size, leaves with their prices, operators and published CAMs."""
    said = description(grammar, max_cost)
    leaves = plain_table(title="Leaves that are measured")
    for title in ("leaf", "sort", "price", "meaning"):
        leaves.add_column(title, overflow="fold")
    for leaf in said["leaves"]:
        leaves.add_row(*(shown(leaf[key]) for key in ("written", "sort", "price", "meaning")))
    operators = plain_table(title="Operators and constants")
    operators.add_column("written", no_wrap=True)
    operators.add_column("takes and gives", no_wrap=True)
    operators.add_column("cost", justify="right")
    operators.add_column("meaning and laws", overflow="fold")
    for op in said["operators"]:
        meaning = shown(op["meaning"])
        if op["laws"]:
            meaning += f" [dim]({', '.join(op['laws'])})[/]"
        typings = "\n".join(op["typings"])
        operators.add_row(shown(op["written"]), typings, str(op["cost"]), meaning)
    known = ", ".join(said["published"]) or "none"
    return Group(
        _trees([grammar], max_cost),
        leaves,
        operators,
        Text(f"Published CAMs that it holds: {known}"),
        Text("Formulas of your own may hold any number, like 0.37 * mean(G)."),
    )


def written(op: Operator) -> str:
    """How an operator is written in an expression.

    >>> from sycam.language import OPERATORS
    >>> [written(OPERATORS[name]) for name in ("one", "mul", "above")]
    ['1', 'a * b', 'above(a, b)']
    """
    if op.is_leaf:
        return op.symbol
    if op.precedence:
        return f"a {op.symbol} b"
    return f"{op.name}({', '.join('abcdefgh'[: op.arity])})"


def _measured(grammar: Grammar) -> list[Operator]:
    return [p.operator for p in grammar.productions if p.operator.name in grammar.leaves]


def _operators(grammar: Grammar) -> list[Operator]:
    """The operators and constants, in the order of the operator table."""
    found = {p.operator.name: p.operator for p in grammar.productions}
    return [op for name, op in found.items() if name not in grammar.leaves]


def _typings(grammar: Grammar) -> dict[str, list[str]]:
    """The typings of each operator that the grammar uses, like ``map -> weight``."""
    sorts = {owner: p.sort for p in grammar.productions for owner in p.owners}
    typings: dict[str, list[str]] = {}
    for p in grammar.productions:
        given = ", ".join(sorts[a] for a in p.arguments)
        text = f"{given} -> {p.sort}" if given else p.sort
        typings.setdefault(p.operator.name, [])
        if text not in typings[p.operator.name]:
            typings[p.operator.name].append(text)
    return typings
