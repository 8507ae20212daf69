"""What an operator is: its sorts, its typings, its laws, and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

SCALAR, WEIGHT, MAP, HEAT, SALIENCY = "scalar", "weight", "map", "heat", "saliency"
BROADCAST = (SCALAR, WEIGHT, MAP)  # narrowest first: what infix operators combine
WEIGHTING = (WEIGHT, MAP)  # what multiplies the activations, before they are summed
SORT_SHAPES = {
    SCALAR: "[N]", WEIGHT: "[N,K]", MAP: "[N,K,h,w]", HEAT: "[N,h,w]", SALIENCY: "[N,h,w]"
}  # fmt: skip

COMMUTATIVE = "commutative"  # f(a, b) = f(b, a)
IDEMPOTENT = "idempotent"  # f(f(a)) = f(a)
INVOLUTION = "involution"  # f(f(a)) = a
EVEN = "even"  # f(-a) = f(a)
ODD = "odd"  # f(-a) = -f(a)
SCALE_FREE = "scale-free"  # f(c a) = f(a) for c > 0
HOMOGENEOUS = "homogeneous"  # f(c a) = c f(a) for c > 0 (in every argument alone, if several)
# How the LaTeX of an operator stands beside other LaTeX:
CLOSED = "closed"  # as an argument of a call it needs no parentheses
DELIMITED = "delimited"  # its own arguments need none: it shows where they begin and end
OPEN = (
    "open"  # its argument stands last, without an end: a factor after it would read as part of it
)
OPEN_AS_LAST = "open as its last argument"  # it ends with its last argument, and is open if that is
SIGNED = "signed"  # it begins with a sign: no infix symbol may stand directly before it

SUM, PRODUCT = 1, 2  # how strongly the infix symbols bind

LAWS = (COMMUTATIVE, IDEMPOTENT, INVOLUTION, EVEN, ODD, SCALE_FREE, HOMOGENEOUS)


@dataclass(frozen=True)
class Overload:
    """One typing of an operator: argument sorts, result sort and the torch function.

    ``weighs`` marks a function of weights that combines them with the activations: it takes the
    activations after its arguments. ``neighbours`` marks one that looks at the places around a
    place: it takes the depth of the grid last (1 for images; see :mod:`sycam.language.numerics`).
    ``pairs`` marks one of images in pairs, each followed by itself flipped left-right, in the last
    leading dimension: what an expression that holds it is computed from, see
    :mod:`sycam.heatmaps.pairs`.
    """

    arguments: tuple[str, ...]
    result: str
    function: Callable[..., Tensor]
    weighs: bool = False
    neighbours: bool = False
    pairs: bool = False

    def compute(self, values: Sequence[Tensor], activations: Tensor, depth: int = 1) -> Tensor:
        """Apply the function to the arguments' values."""
        extra = ([activations] if self.weighs else []) + ([depth] if self.neighbours else [])
        return self.function(*values, *extra)

    def shape(self, values: Sequence[Tensor], activations: Tensor) -> tuple[int, ...]:
        """The shape that the result's sort has for these arguments."""
        given = list(zip(self.arguments, values, strict=True))
        if self.weighs:
            given.append((MAP, activations))
        channels = max((t.shape[-3] for sort, t in given if sort in WEIGHTING), default=1)
        sides = [tuple(t.shape[-2:]) for sort, t in given if sort not in (SCALAR, WEIGHT)]
        height, width = max(sides, default=(1, 1))
        trailing = {
            SCALAR: (1, 1, 1),
            WEIGHT: (channels, 1, 1),
            MAP: (channels, height, width),
            HEAT: (1, height, width),
            SALIENCY: (1, height, width),
        }
        leading = torch.broadcast_shapes(*(t.shape[:-3] for t in values))
        return (*leading, *trailing[self.result])


@dataclass(frozen=True)
class Operator:
    """An operator or leaf of the expression language.

    Attributes:
        name: how grammars refer to it (the alias of a production).
        overloads: its typings; a leaf has one without arguments and without function.
        latex: template whose ``{0}``, ``{1}`` are the arguments' LaTeX.
        meaning: one line for people.
        phrase: template of what it is within an English sentence, whose ``{0}``, ``{1}`` are the
            arguments' words; "the NAME of {0}" if empty, as of users' operators.
        cost: what it adds to an expression's cost, at least 1.
        laws: the algebraic laws that hold for every input (checked numerically by the tests).
        symbol: how a leaf is written (``"A"``), or the sign of an infix operator (``"*"``).
        precedence: of an infix operator ``SUM`` or ``PRODUCT``; 0 for call syntax.
        value: the number, for constants.
        price: for a leaf, what measuring it takes on an image.
        algebra: from the module sympy and the arguments, what it is in ordinary algebra; None where
            that has no sign for it, or sympy reads it badly (of nested signs it makes pages of
            cases). See :func:`sycam.language.symbolic.simplify`.
        bracketing: how its LaTeX stands beside other LaTeX, of ``CLOSED``, ``DELIMITED``, ``OPEN``,
            ``OPEN_AS_LAST`` and ``SIGNED``; None to judge by the template, as of users' operators.
        degrees: for each argument the r of ``f(c a) = c^r f(a)`` for c > 0, of that argument
            alone; None where there is none. Empty where the laws say all (see :meth:`degree`).
        site: of an operator that reads a target layer, the layer's name; empty for the only one.
        ranges: for each argument that may be a number to tune, the lowest and highest value that
            can matter, whatever the network; None for others. Empty if there is no such argument.
    """

    name: str
    overloads: tuple[Overload, ...]
    latex: str
    meaning: str
    cost: int = 1
    laws: frozenset[str] = field(default_factory=frozenset)
    symbol: str = ""
    precedence: int = 0
    value: float | None = None
    price: str = ""
    algebra: Callable[..., Any] | None = None
    bracketing: frozenset[str] | None = None
    degrees: tuple[float | None, ...] = ()
    ranges: tuple[tuple[float, float] | None, ...] = ()
    site: str = ""
    phrase: str = ""

    @property
    def arity(self) -> int:
        return len(self.overloads[0].arguments)

    @property
    def is_leaf(self) -> bool:
        return self.arity == 0

    def degree(self, argument: int) -> float | None:
        """The r of ``f(c a) = c^r f(a)`` for that argument and every c > 0, if there is one."""
        if self.degrees:
            return self.degrees[argument]
        return 1 if HOMOGENEOUS in self.laws else 0 if SCALE_FREE in self.laws else None

    @property
    def signature(self) -> str:
        """The argument sorts that the operator takes, for people."""
        return " or ".join(sorted({f"({', '.join(o.arguments)})" for o in self.overloads}))

    def overload(self, sorts: tuple[str, ...]) -> Overload | None:
        """The typing for these argument sorts, or None where there is none."""
        return next((o for o in self.overloads if o.arguments == sorts), None)
