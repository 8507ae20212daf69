"""Expressions in LaTeX."""

from __future__ import annotations

from sycam.language.expression import CALL, Expression
from sycam.language.signatures import (
    CLOSED,
    DELIMITED,
    HEAT,
    OPEN,
    OPEN_AS_LAST,
    PRODUCT,
    SALIENCY,
    SIGNED,
    SUM,
    Operator,
)


def to_latex(expression: Expression) -> str:
    r"""LaTeX of the weight ``w_k`` (or of the per-place weight ``W_k``).

    >>> from sycam.language import parse
    >>> print(to_latex(parse("mean(relu(G)) * max(A)")))
    \overline{\mathrm{ReLU}(G_k)} \cdot \max_{ij} A_k
    """
    op = expression.operator
    if op.is_leaf:
        return op.latex.format()
    if expression.overload.weighs:
        return op.latex.format(*map(_weighted_sum, expression.children))
    parts = []
    for child in expression.children:
        text = to_latex(child)
        bare = DELIMITED in _bracketing(op) or (
            _stands_beside(child, op, right=len(parts) == 1)
            if op.precedence
            else _stands_in_a_call(child, text)
        )
        parts.append(text if bare else rf"\left({text}\right)")
    return op.latex.format(*parts)


def heatmap_latex(expression: Expression) -> str:
    """LaTeX of the whole class activation map that the expression's weights give."""
    if expression.sort == SALIENCY:
        return to_latex(expression)
    inside = to_latex(expression) if expression.sort == HEAT else _weighted_sum(expression)
    return rf"\mathrm{{ReLU}}\left({inside}\right)"


def _weighted_sum(expression: Expression) -> str:
    weight = to_latex(expression)
    if expression.operator.precedence == SUM or _is_open(expression):
        weight = rf"\left({weight}\right)"
    return rf"\sum_k {weight} \cdot A_k"


def _stands_in_a_call(child: Expression, text: str) -> bool:
    """Whether it needs no parentheses as an argument of an operator that shows no end of it."""
    if CLOSED in _bracketing(child.operator):
        return True
    return child.operator.is_leaf and "^" not in text  # a number may be a power of ten


def _stands_beside(child: Expression, op: Operator, right: bool) -> bool:
    """Whether it needs no parentheses beside an infix operator's symbol."""
    strength = child.operator.precedence
    if not strength or DELIMITED in _bracketing(child.operator):
        strength = CALL
    if strength < op.precedence + right:
        return False
    if right:
        return SIGNED not in _bracketing(child.operator)
    return op.precedence < PRODUCT or not _is_open(child)


def _is_open(expression: Expression) -> bool:
    """Whether a factor written after the expression would read as part of its last reduction."""
    bracketing = _bracketing(expression.operator)
    if OPEN_AS_LAST in bracketing:
        return _is_open(expression.children[-1])
    return OPEN in bracketing


def _bracketing(op: Operator) -> frozenset[str]:
    """As the table says; of what users declare, by the template."""
    if op.bracketing is not None:
        return op.bracketing
    wrappings = ("({0}", r"\left({0}", "{{{0}}}", "|{0}")
    delimited = any(wrapped in op.latex for wrapped in wrappings)
    return frozenset([DELIMITED] * delimited + [OPEN] * op.latex.endswith("{0}"))
