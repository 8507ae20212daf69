"""Expressions: immutable, typed, hash-consed trees, so that equality is identity; their text."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakValueDictionary

from sycam.errors import ExpressionError
from sycam.language.mirroring import mirrored, split_mirrored
from sycam.language.numbers import magnitude
from sycam.language.operators import number_leaf, operator, place
from sycam.language.signatures import Operator, Overload
from sycam.language.sites import CAM


class Expression:
    """A node of the expression language. Build it with :func:`apply`; equal trees are one object.

    Attributes:
        operator: the operator or leaf at this node.
        overload: the operator's typing that this node uses.
        children: argument expressions.
        sort: ``"scalar"``, ``"weight"``, ``"map"``, ``"heat"`` or ``"saliency"``.
        cost: sum of the operators' costs.
    """

    __slots__ = ("__weakref__", "children", "cost", "operator", "overload", "sort")

    operator: Operator
    overload: Overload
    children: tuple[Expression, ...]
    sort: str
    cost: int

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("expressions are immutable")

    def __repr__(self) -> str:
        return f"Expression({str(self)!r})"

    def __str__(self) -> str:
        return to_text(self)

    def __reduce__(self) -> tuple:
        return (apply, (self.operator.name, *self.children))

    def nodes(self) -> Iterator[Expression]:
        """Every distinct subexpression, children before parents, this one last."""
        seen: set[int] = set()

        def walk(node: Expression) -> Iterator[Expression]:
            if id(node) in seen:
                return
            seen.add(id(node))
            for child in node.children:
                yield from walk(child)
            yield node

        yield from walk(self)

    @property
    def leaves(self) -> frozenset[str]:
        """Names of the leaves that must be measured (numbers left out); of those that it reads on
        flipped images as well, see :mod:`sycam.language.mirroring`."""
        names: set[str] = set()
        for node in self.nodes():
            if node.operator.is_leaf and node.operator.value is None:
                names.add(node.operator.name)
            elif node.overload.pairs:
                plain, _ = split_mirrored(node.children[0].leaves)
                names.update(map(mirrored, plain | {"activations"}))
        return frozenset(names)

    @property
    def pairs(self) -> bool:
        """Whether it is computed from images in pairs, see
        :class:`~sycam.language.signatures.Overload`."""
        return any(node.overload.pairs for node in self.nodes())

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the layers that it reads, in the order in which they are written."""
        named = [node.operator.site for node in self.nodes() if node.operator.site]
        return tuple(dict.fromkeys(named))

    def sort_key(self) -> tuple:
        """A total order that does not depend on the history of the process: cost, then shape."""
        return (self.cost, place(self.operator), tuple(c.sort_key() for c in self.children))


CALL = 9  # a call binds tighter than every infix symbol


def to_text(expression: Expression) -> str:
    """Infix text with as few parentheses as the grammar of expressions needs.

    ``parse(to_text(e)) is e`` for every expression.
    """
    op = expression.operator
    if op.is_leaf:
        return op.symbol
    if op.name == "neg" and expression.children[0].operator.value is not None:
        return f"-{to_text(expression.children[0])}"
    if not op.precedence:
        return f"{op.name}({', '.join(map(to_text, expression.children))})"
    left, right = expression.children
    # Left-associative: an equal precedence needs parentheses only on the right.
    return f"{_wrapped(left, op.precedence)} {op.symbol} {_wrapped(right, op.precedence + 1)}"


def _wrapped(child: Expression, at_least: int) -> str:
    text = to_text(child)
    return f"({text})" if (child.operator.precedence or CALL) < at_least else text


_interned: WeakValueDictionary[tuple, Expression] = WeakValueDictionary()


def apply(name: str, *children: Expression) -> Expression:
    """The expression that applies operator ``name`` to ``children``.

    A number's name is its text, as in ``apply("0.37")``.

    Raises:
        UnknownNameError: no such operator.
        ExpressionError: the operator has no typing for these arguments, or a number out of range.

    >>> str(apply("mean", apply("gradients")))
    'mean(G)'
    """
    op = operator(name)
    # By the operator itself: a user may replace one of the same name. What the interned node
    # holds stays alive with it, so that no identity is used twice.
    key = (id(op), *map(id, children))
    interned = _interned.get(key)
    if interned is not None:
        return interned
    overload = op.overload(tuple(child.sort for child in children))
    if overload is None:
        raise ExpressionError(_mistyped(op, children))
    node = object.__new__(Expression)
    for slot, value in (
        ("operator", op),
        ("overload", overload),
        ("children", tuple(children)),
        ("sort", overload.result),
        ("cost", op.cost + sum(child.cost for child in children)),
    ):
        object.__setattr__(node, slot, value)
    _interned[key] = node
    return node


def number(value: float) -> Expression:
    """The scalar of a number, to six significant digits; a negative one is ``neg`` of a number.

    Raises:
        ExpressionError: no number, NaN or infinite, or neither 0 nor from 1e-37 to 1e38 before
            its sign.

    >>> number(-0.37)
    Expression('-0.37')
    """
    leaf = apply(number_leaf(magnitude(value)).name)
    return apply("neg", leaf) if value < 0 else leaf


def unnamed(expression: Expression) -> Expression:
    """A formula that names one layer as a formula of the only layer there is.

    Its heatmaps at that layer are the same; the saliency map ``cam[NAME](x)`` becomes ``x``.

    >>> from sycam.language import parse
    >>> unnamed(parse("cam[layer4](mean(G))"))
    Expression('mean(G)')
    >>> unnamed(parse("maximum(cam[layer4](G), 0.5 * cam[layer4](A))"))
    Expression('maximum(cam(G), 0.5 * cam(A))')
    """
    made: dict[Expression, Expression] = {}
    for node in expression.nodes():
        name = CAM.name if node.operator.site else node.operator.name
        made[node] = apply(name, *(made[child] for child in node.children))
    whole = made[expression]
    return whole.children[0] if expression.operator.site else whole


def _mistyped(op: Operator, children: tuple[Expression, ...]) -> str:
    given = ", ".join(f"{child} ({child.sort})" for child in children) or "nothing"
    if op.is_leaf:
        return f"{op.name!r} is a leaf and takes no arguments, but was given {given}"
    return f"{op.name!r} takes {op.signature}, but was given {given}"
