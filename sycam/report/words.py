"""A formula in English: one sentence for the whole heatmap, and a line for every sign."""

from __future__ import annotations

from collections.abc import Iterator

from sycam.errors import SycamError
from sycam.language import Expression, Operator, parse
from sycam.language.signatures import COMMUTATIVE, HEAT, MAP, SALIENCY, SUM
from sycam.report.listings.grammars import written


def in_a_sentence(text: str) -> str:
    """What the heatmap of an expression is, as an English sentence.

    The sentence says all: what is added before or after what is told by the order of its words,
    and by parentheses where several things are joined within one.

    Args:
        text: an expression; one that uses operators of a user that are not declared here gives
            an empty text.

    >>> print(in_a_sentence("mean(G)"))  # doctest: +NORMALIZE_WHITESPACE
    The heatmap is the positive part of the sum over channels of the activations, each channel
    weighted by the average over places of the gradients.
    """
    try:
        expression = parse(text)
    except SycamError:
        return ""
    if expression.sort == SALIENCY:
        return f"The heatmap is {_said(expression)}."
    return f"The heatmap is the positive part of {_combined(expression)}."


def in_words(text: str) -> list[tuple[str, str]]:
    """What each leaf and operator of an expression is, in the order of reading.

    Args:
        text: an expression; one that uses operators of a user that are not declared here gives
            nothing.

    >>> in_words("mean(relu(G))")[0][0]
    'mean(a)'
    """
    try:
        expression = parse(text)
    except SycamError:
        return []
    found: dict[str, str] = {}

    def walk(node: Expression) -> None:
        if node.operator.value is None:
            found.setdefault(written(node.operator), node.operator.meaning)
        for child in node.children:
            walk(child)

    walk(expression)
    return list(found.items())


def _combined(expression: Expression) -> str:
    """Weights as the sum that they make of the activations; a heat is one already."""
    if expression.sort == HEAT:
        return _said(expression)
    each = "place" if expression.sort == MAP else "channel"
    return f"the sum over channels of the activations, each {each} weighted by {_said(expression)}"


def _said(node: Expression) -> str:
    op = node.operator
    if op.value is not None:
        return op.symbol
    if op.name == "neg" and node.children[0].operator.value is not None:
        return f"minus {node.children[0].operator.symbol}"
    if op.is_leaf:
        return op.phrase
    operands = list(_operands(node, op))
    if op.precedence and all(one.sort == SALIENCY for one in operands):
        # Maps of layers are long: they are read one after another.
        sign = "; plus " if op.precedence == SUM else "; times "
        return sign.join(_apart(one, one.operator.precedence > 0) for one in operands)
    parts = [
        _combined(one) if node.overload.weighs else _apart(one, _needs_end(one, len(operands) > 1))
        for one in operands
    ]
    if not op.phrase:
        return f"the {op.name.replace('_', ' ')} of {' and '.join(parts)}"
    return op.phrase.format(", ".join(parts[:-1]) or parts[0], *parts[-1:])


def _operands(node: Expression, op: Operator) -> Iterator[Expression]:
    """Arguments; of ``a + b + c`` and ``a * b * c`` all of them."""
    for child in node.children:
        if op.precedence and COMMUTATIVE in op.laws and child.operator is op:
            yield from _operands(child, op)
        else:
            yield child


def _needs_end(node: Expression, among_others: bool) -> bool:
    """Whether an operand needs parentheses: what joins maps everywhere, since its words do not say
    how many follow; of several operands those that hold commas or an "and" of their own."""
    if node.sort == SALIENCY:
        return among_others or node.operator.precedence > 0
    return among_others and any(part.operator.arity > 1 for part in node.nodes())


def _apart(node: Expression, parted: bool) -> str:
    return f"({_said(node)})" if parted else _said(node)
