"""What an operator is: its sorts, its typings, its laws, and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

SCALAR, WEIGHT, MAP, HEAT = "scalar", "weight", "map", "heat"
BROADCAST = (SCALAR, WEIGHT, MAP)  # narrowest first: what infix operators combine
SORT_SHAPES = {SCALAR: "[N]", WEIGHT: "[N,K]", MAP: "[N,K,h,w]", HEAT: "[N,h,w]"}

COMMUTATIVE = "commutative"  # f(a, b) = f(b, a)
IDEMPOTENT = "idempotent"  # f(f(a)) = f(a)
INVOLUTION = "involution"  # f(f(a)) = a
EVEN = "even"  # f(-a) = f(a)
ODD = "odd"  # f(-a) = -f(a)
SCALE_FREE = "scale-free"  # f(c a) = f(a) for c > 0
HOMOGENEOUS = "homogeneous"  # f(c a) = c f(a) for c > 0 (in every argument alone, if several)
LAWS = (COMMUTATIVE, IDEMPOTENT, INVOLUTION, EVEN, ODD, SCALE_FREE, HOMOGENEOUS)


@dataclass(frozen=True)
class Overload:
    """One typing of an operator: argument sorts, result sort and the torch function.

    ``weighs`` marks a function of weights that combines them with the activations: it takes the
    activations after its arguments. ``neighbours`` marks one that looks at the places around a
    place: it takes the depth of the grid last (1 for images; see :mod:`sycam.language.numerics`).
    """

    arguments: tuple[str, ...]
    result: str
    function: Callable[..., Tensor]
    weighs: bool = False
    neighbours: bool = False

    def compute(self, values: Sequence[Tensor], activations: Tensor, depth: int = 1) -> Tensor:
        """Apply the function to the arguments' values."""
        extra = ([activations] if self.weighs else []) + ([depth] if self.neighbours else [])
        return self.function(*values, *extra)


@dataclass(frozen=True)
class Operator:
    """An operator or leaf of the expression language.

    Attributes:
        name: how grammars refer to it (the alias of a production).
        overloads: its typings; a leaf has one without arguments and without function.
        latex: template whose ``{0}``, ``{1}`` are the arguments' LaTeX.
        meaning: one line for people.
        cost: what it adds to an expression's cost, at least 1.
        laws: the algebraic laws that hold for every input (checked numerically by the tests).
        symbol: how a leaf is written (``"A"``), or the sign of an infix operator (``"*"``).
        precedence: binding strength of the infix symbol; 0 for call syntax.
        value: the number, for constants.
        price: for a leaf, what measuring it takes on an image.
        algebra: from the module sympy and the arguments, what it is in ordinary algebra; None where
            that has no sign for it, or sympy reads it badly (of nested signs it makes pages of
            cases). See :func:`sycam.language.symbolic.simplify`.
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

    @property
    def arity(self) -> int:
        return len(self.overloads[0].arguments)

    @property
    def is_leaf(self) -> bool:
        return self.arity == 0

    @property
    def signature(self) -> str:
        """The argument sorts that the operator takes, for people."""
        return " or ".join(sorted({f"({', '.join(o.arguments)})" for o in self.overloads}))

    def overload(self, sorts: tuple[str, ...]) -> Overload | None:
        """The typing for these argument sorts, or None where there is none."""
        return next((o for o in self.overloads if o.arguments == sorts), None)
