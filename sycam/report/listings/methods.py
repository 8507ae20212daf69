"""Methods for people and for programs: what each computes, what it reads, where it comes from.

``python -m sycam.report.listings.methods > docs/methods.md`` writes the page on all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sycam.evidence import MEASURED
from sycam.language import Operator
from sycam.methods import KINDS, METHODS, Method
from sycam.report.listings.grammars import written
from sycam.report.plain_table import plain_table
from sycam.support.text.terminal import shown


def summary(method: Method) -> dict[str, Any]:
    """What the list of methods says of one; plain data."""
    return {
        "name": method.name,
        "kind": method.kind,
        "expression": None if method.expression is None else str(method.expression),
        "formula": method.formula,
        "sort": method.sort,
        "cost": method.cost,
        "reads": [leaf["written"] for leaf in _leaves(method)],
        "paper": method.paper,
        "note": method.note,
    }


def description(method: Method) -> dict[str, Any]:
    """All of one method; plain data."""
    return summary(method) | {
        "latex": method.latex,
        "algebra": _algebra(method),
        "leaves": _leaves(method),
        "operators": [
            {"name": op.name, "written": written(op), "meaning": op.meaning}
            for op in _operators(method)
        ],
    }


def listing(methods: Iterable[Method]) -> RenderableType:
    """The methods by kind, a paragraph each."""
    parts: list[RenderableType] = []
    for kind, members in groupby(methods, key=lambda m: m.kind):
        parts.append(f"[bold]{kind}[/]: {KINDS[kind]}\n")
        for method in members:
            name = f"[bold cyan]{shown(method.name)}[/]"
            parts.append(Padding(f"{name}  {shown(method.formula)}", (0, 0, 0, 2)))
            more = "\n".join(filter(None, (_facts(method), method.paper, method.note)))
            parts.append(Padding(Text(more, style="dim"), (0, 0, 1, 6)))
    parts.append("sycam methods show NAME says more; it takes an expression of your own, too")
    return Group(*parts)


def detail(method: Method) -> RenderableType:
    """One method: formula, LaTeX, what its leaves and operators mean, what the leaves take."""
    said = description(method)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("name", Text(method.name, style="bold cyan"))
    facts.add_row("kind", f"{method.kind}: {KINDS[method.kind]}")
    facts.add_row("formula" if method.expression is None else method.sort, shown(method.formula))
    facts.add_row("LaTeX", shown(method.latex))
    if said["algebra"]:
        facts.add_row(
            "algebra", f"{shown(said['algebra'])} [dim](division taken as exact, by 0 as 0)[/]"
        )
    facts.add_row("facts", _facts(method))
    for title in ("paper", "note"):
        if said[title]:
            facts.add_row(title, shown(said[title]))
    parts: list[RenderableType] = [facts]
    if said["leaves"]:
        leaves = plain_table(title="\nLeaves")
        for title in ("leaf", "meaning", "price an image"):
            leaves.add_column(title, overflow="fold")
        for leaf in said["leaves"]:
            leaves.add_row(*(shown(leaf[key]) for key in ("written", "meaning", "price")))
        parts.append(leaves)
    if said["operators"]:
        operators = plain_table(title="Operators")
        for title in ("operator", "meaning"):
            operators.add_column(title, overflow="fold")
        for op in said["operators"]:
            operators.add_row(shown(op["written"]), shown(op["meaning"]))
        parts.append(operators)
    return Group(*parts)


def page(methods: Collection[Method]) -> str:
    """The page of the documentation on methods, in Markdown."""
    of_kind = {kind: [m for m in methods if m.kind == kind] for kind in KINDS}
    chosen = {kind: members for kind, members in of_kind.items() if members}
    parts = [_INTRODUCTION, *(f"| [{kind}](#{kind}) | {KINDS[kind]} |" for kind in chosen)]
    for kind, members in chosen.items():
        parts.append(f"\n## {kind.capitalize()}\n\n{_capital(KINDS[kind])}.\n")
        parts.append("\n".join(map(_section, members)))
    parts.append(_LEAVES)
    for leaf in MEASURED.values():
        op = leaf.operator
        if not leaf.stands_in_for:
            parts.append(f"| `{op.symbol}` | {op.meaning} | {op.price} |")
    return "\n".join(parts) + "\n"


def _section(method: Method) -> str:
    """Of one method: a heading, its formula as text and in LaTeX, and what is said of it."""
    lines = [f"### {method.name}\n", f"`{method.formula}`: {_facts(method)}.\n"]
    lines.append(f"$$\n{method.latex}\n$$\n")
    if method.note:
        lines.append(f"{_capital(method.note)}.\n")
    if method.paper:
        lines.append(f"Source: {method.paper}.\n")
    return "\n".join(lines)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _algebra(method: Method) -> str | None:
    """The formula as sympy simplifies it; None where that says nothing new."""
    if method.expression is None:
        return None
    from sycam.language.symbolic import simplify  # sympy takes half a second to import

    text = str(simplify(method.expression))
    return None if text in (str(method.expression), repr(method.expression)) else text


def _facts(method: Method) -> str:
    reads = ", ".join(leaf["written"] for leaf in _leaves(method)) or "nothing of the layer"
    cost = "computed directly" if method.cost is None else f"cost {method.cost}"
    return f"{method.sort}, {cost}, reads {reads}"


def _leaves(method: Method) -> list[dict[str, str]]:
    """What the method reads, in the order of the table of leaves."""
    found = []
    for leaf in MEASURED.values():
        if leaf.name not in method.leaves:
            continue
        op = leaf.operator
        said = {"name": leaf.name, "written": op.symbol, "meaning": op.meaning, "price": op.price}
        if leaf.stands_in_for:
            said["written"] += "'"
            said["meaning"] += "; as the grad-cam package measures it"
        found.append(said)
    return found


def _operators(method: Method) -> list[Operator]:
    """The operators of the expression, outermost first, without leaves and constants."""
    nodes = [] if method.expression is None else [*method.expression.nodes()][::-1]
    return list(dict.fromkeys(node.operator for node in nodes if not node.operator.is_leaf))


_INTRODUCTION = """\
# Methods

CAMs and controls that are scored beside the candidates of a search, and that `sycam evaluate` and
`sycam.CAM` take by name. This page is written by `python -m sycam.report.listings.methods`, from
the definitions themselves; `sycam methods show NAME` says more of one, in algebra and with its
operators ([the language](language.md)).

A *weight* is a number for each channel, a *map* one for each channel and place; the heatmap is the
ReLU of the activations `A` times these, summed over channels, enlarged and scaled to [0, 1].
Formulas that searches found are in the [zoo](zoo.md).

| kind | what they are |
|---|---|\
"""
_LEAVES = """
## What formulas read

Each is measured once for all formulas of a search; the price is that of one image.

| leaf | what it is | price |
|---|---|---|\
"""


if __name__ == "__main__":
    print(page(METHODS.values()), end="")
