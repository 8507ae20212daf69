"""Expressions as sympy trees: one to one for programs, simplified by algebra for people.

The tree of :func:`to_sympy` says what is computed: each operator is a function of its own that
sympy knows nothing about, so that nothing is reordered, merged or cancelled (``A * G / G`` is not
``A`` where G is 0). The form of :func:`simplify` is for reading alone.

Importing this module imports sympy, which takes half a second: ``import sycam`` does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache

import sympy

from sycam.errors import ExpressionError, SycamError
from sycam.language.expression import Expression, apply
from sycam.language.numbers import DIGITS, is_number, number_text
from sycam.language.operators import LEAVES


class Operation(sympy.Function):
    """An operator of the table applied to arguments, which sympy leaves as it is.

    Subclasses are made by :func:`operation`, one an operator, and bear its name.
    """

    is_real = True  # as every value of the language; lets simplify() drop an |t|^2


@cache
def operation(name: str) -> type[Operation]:
    """The sympy function that stands for the operator called ``name``."""
    return type(name, (Operation,), {})


@lru_cache(maxsize=4096)
def leaf(symbol: str) -> sympy.Expr:
    """A leaf as sympy writes it: a real symbol, or an exact number."""
    if symbol not in LEAVES or LEAVES[symbol].value is not None:
        return sympy.Rational(symbol)  # a Float would make sympy evaluate what it is given to
    return sympy.Symbol(symbol, real=True)


def to_sympy(
    expression: Expression, named: Mapping[Expression, sympy.Expr] | None = None
) -> sympy.Expr:
    """The tree of an expression, node by node, in functions that sympy does not evaluate.

    ``from_sympy(to_sympy(e)) is e`` for every expression, also after ``sympy.cse``.

    Args:
        expression: of any sort.
        named: trees that stand for some of its subexpressions.

    >>> from sycam.language import parse
    >>> to_sympy(parse("mean(relu(G)) * 2"))
    mul(mean(relu(G)), 2)
    """
    made: dict[Expression, sympy.Expr] = dict(named or {})
    for node in expression.nodes():
        op = node.operator
        if node in made:
            continue
        if op.is_leaf:
            made[node] = leaf(op.symbol)
        else:
            made[node] = operation(op.name)(*(made[child] for child in node.children))
    return made[expression]


def from_sympy(
    tree: sympy.Expr, named: Mapping[sympy.Symbol, Expression] | None = None
) -> Expression:
    """The expression of a tree of :func:`to_sympy`.

    Args:
        tree: functions of the operator table, leaves and numbers; no ordinary algebra.
        named: what other symbols stand for, such as those that ``sympy.cse`` introduces.

    Raises:
        ExpressionError: a node that no operator or leaf stands for, or arguments of wrong sorts.

    >>> from sycam.language import parse
    >>> from_sympy(to_sympy(parse("A * G / G")))
    Expression('A * G / G')
    """
    made: dict[sympy.Basic, Expression] = dict(named or {})

    def build(node: sympy.Basic) -> Expression:
        expression = made.get(node)
        if expression is None:
            expression = made[node] = apply(_name(node), *map(build, node.args))
        return expression

    try:
        return build(tree)
    except RecursionError:
        raise ExpressionError("the sympy tree is nested too deeply") from None
    except SycamError as error:
        raise type(error)(f"in the sympy tree {tree}: {error}") from None


def _name(node: sympy.Basic) -> str:
    if isinstance(node, Operation):
        return type(node).__name__
    for symbol, op in LEAVES.items():
        if node == leaf(symbol):
            return op.name
    if isinstance(node, sympy.Rational) and node >= 0:
        text = number_text(float(node))
        if sympy.Rational(text) == node:  # not so of a third
            return text
    raise ExpressionError(
        f"{node} ({type(node).__name__}) is no operator or leaf of the language; expected a tree "
        "of to_sympy(), not one of ordinary algebra"
    )


def simplify(expression: Expression) -> sympy.Expr:
    """The expression in ordinary algebra, simplified by sympy: for people, never for computing.

    What algebra has no sign for (``mean``, ``softmax``, ``symlog``, …) stays a function by its
    name. The form may differ in meaning from the expression: division is taken as exact, so that
    what cancels is lost where it is 0 (``A * G / G`` becomes ``A``, but is 0 where G is), unless
    the divisor is 0 everywhere: ``A / 0`` is 0, as it computes;
    ``exp`` is taken without its ceiling at t = 20; and whether a symbol is one number per image, a
    channel or a place is not seen. Numbers are computed with exactly, and shown to six digits.

    >>> from sycam.language import parse
    >>> simplify(parse("neg(A - G) + square(abs(A)) / A"))
    G
    """
    made: dict[Expression, sympy.Expr] = {}
    for node in expression.nodes():
        op = node.operator
        arguments = [made[child] for child in node.children]
        if op.is_leaf:
            made[node] = leaf(op.symbol)
        elif op.algebra is None:
            made[node] = operation(op.name)(*arguments)
        else:
            made[node] = op.algebra(sympy, *arguments)
    simple = sympy.simplify(made[expression], ratio=1)  # never longer than it was
    if not any(is_number(node.operator) for node in made):
        return simple
    fractions = (r for r in simple.atoms(sympy.Rational) if r.q > 2)  # 37/100, as sympy sees 0.37
    return simple.xreplace({r: sympy.Float(r, DIGITS) for r in fractions})
