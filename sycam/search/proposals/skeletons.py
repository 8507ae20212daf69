"""Expressions whose numbers are free, wherever the size of a number can matter to the heatmap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sycam.errors import OptionError
from sycam.language import Expression, apply
from sycam.language.expression import number
from sycam.language.operators import OPERATORS
from sycam.language.signatures import PRODUCT, SUM, WEIGHTING, Operator

DIGITS = 3  # significant, of tuned numbers: more would not be told apart on a few hundred images
FACTORS = 32.0  # a number is tuned from its 32nd part to its 32-fold


@dataclass(frozen=True)
class _Slot:
    """A tunable number; as a ``factor`` it was put there, and 1 leaves it out."""

    index: int
    factor: bool


@dataclass(frozen=True)
class _Applied:
    operator: Operator
    children: tuple[_Template, ...]


_Template = Expression | _Slot | _Applied


@dataclass(frozen=True)
class Skeleton:
    """An expression whose numbers are free.

    Attributes:
        expression: where it comes from.
        names: of the numbers, ``c1``, ``c2``, ….
        initial: their values in the expression; 1 for a factor that it does not have.
        bounds: the lowest and highest value of each, all positive.
    """

    expression: Expression
    names: tuple[str, ...]
    initial: tuple[float, ...]
    bounds: tuple[tuple[float, float], ...]
    _template: _Template = field(repr=False)

    def at(self, values: Sequence[float]) -> Expression:
        """The expression with these numbers, rounded to three significant digits.

        ``at(initial)`` is the expression itself where its numbers have no more digits.

        Raises:
            OptionError: not one number above 0 for each name.
        """
        if len(values) != len(self.names) or not all(v > 0 for v in values):
            raise OptionError(
                f"{self.expression} has {len(self.names)} number(s) above 0 to set, got {values}"
            )
        kept = [float(f"{v:.{DIGITS}g}") for v in values]

        def build(template: _Template) -> Expression:
            if isinstance(template, Expression):
                return template
            if isinstance(template, _Slot):
                return number(kept[template.index])
            first = template.children[0]
            if isinstance(first, _Slot) and first.factor and kept[first.index] == 1:
                return build(template.children[1])
            return apply(template.operator.name, *map(build, template.children))

        return build(self._template)


def skeletons(expression: Expression) -> Skeleton:
    """The expression with a free number wherever its value can matter to the heatmap.

    A heatmap is scaled to [0, 1], so a factor of the whole formula says nothing, and one that
    passes through to it (out of ``relu``, ``square``, a product) as little. What counts is the size
    of summands against each other: all but one get a factor, or have their own made free; the size
    of what goes into ``exp``, ``symlog`` or ``softmax``, which are not homogeneous; and thresholds.
    Signs stay as they are, and so does 0.

    >>> from sycam.language import parse
    >>> skeleton = skeletons(parse("2 * (mean(G) + max(A))"))
    >>> skeleton.names, skeleton.at([0.37])
    (('c1',), Expression('2 * (mean(G) + 0.37 * max(A))'))
    """
    maker = _Maker()
    template = maker.unscaled(expression)
    names = tuple(f"c{i}" for i in range(1, len(maker.initial) + 1))
    return Skeleton(expression, names, tuple(maker.initial), tuple(maker.bounds), template)


class _Maker:
    def __init__(self) -> None:
        self.initial: list[float] = []
        self.bounds: list[tuple[float, float]] = []
        # The same subexpression in two places keeps the same numbers in both.
        self._known: dict[Expression, _Template] = {}

    def unscaled(self, node: Expression) -> _Template:
        """The template of a node whose own scale says nothing, or is set elsewhere."""
        if node.operator.is_leaf:
            return node
        if node not in self._known:
            self._known[node] = self._inside(node)
        return self._known[node]

    def _inside(self, node: Expression) -> _Template:
        op = node.operator
        if op.precedence == SUM:
            return self._sum(node, _reference(list(_summands(node))))
        made = []
        for i, child in enumerate(node.children):
            if op.ranges and (limits := op.ranges[i]) is not None:
                made.append(self._ranged(child, limits))
            elif op.degree(i) is not None:
                made.append(self.unscaled(child))
            else:
                made.append(self.scaled(child))
        return _Applied(op, tuple(made))

    def scaled(self, node: Expression) -> _Template:
        """The template of a node whose scale matters: by a number that it has, or a new factor."""
        if node.operator.value is not None:
            return self._slot(node.operator.value) if node.operator.value else node
        if node.operator.precedence == SUM:
            return self._sum(node, None)
        if node.children and _passes_scale(node):
            chosen = next((i for i, c in enumerate(node.children) if _has_number(c)), None)
            if chosen is not None:
                made = (
                    self.scaled(c) if i == chosen else self.unscaled(c)
                    for i, c in enumerate(node.children)
                )
                return _Applied(node.operator, tuple(made))
        inside = self.unscaled(node)
        return inside if node.sort not in WEIGHTING else _times(self._slot(1, factor=True), inside)

    def _sum(self, node: Expression, reference: Expression | None) -> _Template:
        """A sum whose summands get numbers, all but the first occurrence of the reference."""
        left = [reference]

        def made(part: Expression) -> _Template:
            if part.operator.precedence == SUM:
                return _Applied(part.operator, tuple(map(made, part.children)))
            if part in left:
                left.clear()
                return self.unscaled(part)
            return self.scaled(part)

        return made(node)

    def _ranged(self, node: Expression, limits: tuple[float, float]) -> _Template:
        """The template of an argument whose value counts, such as a threshold."""
        if not node.operator.value:
            return self.scaled(node)
        value = node.operator.value
        return self._slot(value, bounds=(min(limits[0], value), max(limits[1], value)))

    def _slot(
        self, initial: float, factor: bool = False, bounds: tuple[float, float] | None = None
    ) -> _Slot:
        self.initial.append(float(initial))
        self.bounds.append(bounds or (initial / FACTORS, initial * FACTORS))
        return _Slot(len(self.initial) - 1, factor)


def _times(factor: _Slot, template: _Template) -> _Template:
    """The factor in front of the leftmost of a product: ``c * A * G``, not ``c * (A * G)``."""
    if isinstance(template, Expression) and template.operator.precedence == PRODUCT:
        template = _Applied(template.operator, template.children)
    if isinstance(template, _Applied) and template.operator.precedence == PRODUCT:
        first, second = template.children
        return _Applied(template.operator, (_times(factor, first), second))
    return _Applied(OPERATORS["mul"], (factor, template))


def _summands(node: Expression) -> Iterator[Expression]:
    if node.operator.precedence == SUM:
        for child in node.children:
            yield from _summands(child)
    else:
        yield node


def _reference(summands: list[Expression]) -> Expression:
    """The summand that the others are measured by: one that has no number of its own, if any."""
    return next((s for s in summands if not _has_number(s)), summands[0])


def _passes_scale(node: Expression) -> bool:
    """Whether a positive factor of an argument is one of the result, whatever its power."""
    return all(node.operator.degree(i) for i in range(node.operator.arity))


def _has_number(node: Expression) -> bool:
    """Whether the node's scale is that of a number in it."""
    if node.operator.is_leaf:
        return bool(node.operator.value)
    return _passes_scale(node) and any(map(_has_number, node.children))
