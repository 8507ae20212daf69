"""Expressions in LaTeX."""

from __future__ import annotations

from sycam.language.expression import CALL, Expression
from sycam.language.operators import OPERATORS
from sycam.language.signatures import HEAT, Operator

_CLOSED = {"relu", "abs", "mean", "symlog", "symsqrt", "sign", "minmax", "softmax", "above"}
_DELIMITED = {"relu", "abs", "mean", "symlog", "symsqrt", "sign", "minmax", "softmax", "exp", "div"}
_OWN = frozenset(OPERATORS)  # what users declare later is judged by its template
_OPEN = {"sum", "max", "min", "std", "topmean"}  # written before what they reduce, without an end


def to_latex(expression: Expression) -> str:
    r"""LaTeX of the weight ``w_k`` (or of the per-place weight ``W_k``).

    >>> from sycam.language import parse
    >>> print(to_latex(parse("mean(relu(G)) * max(A)")))
    \overline{\mathrm{ReLU}(G_k)} \cdot \max_{ij} A_k
    """
    op = expression.operator
    if op.is_leaf:
        return op.latex.format()
    if op.name == "smooth":
        (child,) = expression.children
        return op.latex.format(to_latex(child) if child.sort == HEAT else _weighted_sum(child))
    parts = []
    for child in expression.children:
        text = to_latex(child)
        if not op.precedence:
            single = child.operator.is_leaf and "^" not in text  # a number may be a power of ten
            bare = _delimits(op) or single or child.operator.name in _CLOSED
        elif op.name == "div":
            bare = True
        else:
            strength = child.operator.precedence or CALL
            if child.operator.name == "div":
                strength = CALL
            right = len(parts) == 1
            bare = strength >= op.precedence + right and not (
                right and child.operator.name == "neg"
            )
            if op.name == "mul" and not right and _is_open(child):
                bare = False
        parts.append(text if bare else rf"\left({text}\right)")
    return op.latex.format(*parts)


def heatmap_latex(expression: Expression) -> str:
    """LaTeX of the whole class activation map that the expression's weights give."""
    inside = to_latex(expression) if expression.sort == HEAT else _weighted_sum(expression)
    return rf"\mathrm{{ReLU}}\left({inside}\right)"


def _weighted_sum(expression: Expression) -> str:
    weight = to_latex(expression)
    if expression.operator.precedence == 1 or _is_open(expression):
        weight = rf"\left({weight}\right)"
    return rf"\sum_k {weight} \cdot A_k"


def _is_open(expression: Expression) -> bool:
    """Whether a factor written after the expression would read as part of its last reduction."""
    op = expression.operator
    if op.name in ("mul", "neg"):
        return _is_open(expression.children[-1])
    return op.name in _OPEN or (op.name not in _OWN and op.latex.endswith("{0}"))


def _delimits(op: Operator) -> bool:
    """Whether the operator's own LaTeX shows where its argument begins and ends."""
    if op.name in _OWN:
        return op.name in _DELIMITED
    return any(wrapped in op.latex for wrapped in ("({0}", r"\left({0}", "{{{0}}}", "|{0}"))
