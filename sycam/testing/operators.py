"""The conformance test of operators: what every one of the table, and of yours, must satisfy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from sycam.errors import OptionError
from sycam.language.declaring import ARITY_OF_LAW
from sycam.language.operators import isolated
from sycam.language.operators import operator as find_operator
from sycam.language.signatures import (
    COMMUTATIVE,
    EVEN,
    IDEMPOTENT,
    INVOLUTION,
    LAWS,
    ODD,
    SCALE_FREE,
    Operator,
    Overload,
)
from sycam.support.caches import keep_compiled_private
from sycam.testing.tensors import DTYPES, Input, adversarial_inputs, random_input

FACTORS = (0.5, 8.0, 3.0)  # the first two are exact in binary
SEEDS = range(100, 400, 100)


@dataclass(frozen=True)
class OperatorReport:
    """What :func:`check_operator` found.

    Attributes:
        operator: its name.
        typings: each as text.
        inputs: number of adversarial inputs.
        laws: the declared laws, all of which hold.
        hints: laws that held on every input but are not declared. The search is quicker for a
            law that it knows.
        foldable: whether places may be laid out again; where False, the operator looks at
            neighbouring places and mixes the slices of a volume.
    """

    operator: str
    typings: tuple[str, ...]
    inputs: int
    laws: tuple[str, ...]
    hints: tuple[str, ...]
    foldable: bool

    def __str__(self) -> str:
        count = f"{len(self.typings)} typing{'s' * (len(self.typings) > 1)}"
        text = f"{self.operator}: {count}, no fault on {self.inputs} inputs"
        if self.laws:
            text += f"; {', '.join(self.laws)} hold{'s' * (len(self.laws) == 1)}"
        if self.hints:
            text += f"; not declared, but seen to hold: {', '.join(self.hints)}"
        if not self.foldable:
            text += "; looks at neighbouring places: for images only, not for volumes"
        return text


def check_operator(operator: str | Operator, compile: bool = False) -> OperatorReport:
    """Check an operator on random and adversarial inputs, in float32 and float64.

    For every typing: finite input gives no NaN (infinity is allowed: the search drops such
    candidates); the result has the shape of its sort and the input's dtype; it is the same each
    time; arguments are not changed; leading dimensions are free, and no image or candidate sees
    another; the order of channels does not matter; every declared law holds.

    Args:
        operator: its name, or the operator itself.
        compile: also compare with ``torch.compile`` of the function (seconds a typing).

    Returns:
        A short report, with the laws that could be declared as well.

    Raises:
        AssertionError: what failed, on which kind of input.
        UnknownNameError: no operator has that name.
        OptionError: it is a leaf, which computes nothing.
    """
    op = find_operator(operator) if isinstance(operator, str) else operator
    if op.is_leaf:
        raise OptionError(f"{op.name!r} is a leaf: it is measured, and there is nothing to check")
    typings = [_Typing(op, overload) for overload in op.overloads]
    inputs = 0
    for typing in typings:
        typing.check_value(random_input(typing.overload, 0))
        typing.check_leading_dimensions()
        typing.check_channel_order()
        for dtype in DTYPES:
            for given in adversarial_inputs(typing.overload, dtype):
                typing.check_value(given)
                for law in op.laws:
                    typing.check_law(law, given)
                inputs += 1
        if compile:
            typing.check_compiled()
    return OperatorReport(
        op.name,
        tuple(typing.label for typing in typings),
        inputs,
        tuple(law for law in LAWS if law in op.laws),
        tuple(law for law in LAWS if law not in op.laws and _seems_to_hold(law, op, typings)),
        all(typing.is_foldable() for typing in typings),
    )


def isolated_operators() -> AbstractContextManager[None]:
    """A context for tests: operators that are declared inside are forgotten at its end."""
    return isolated()


class _Typing:
    """One typing of an operator under test."""

    def __init__(self, op: Operator, overload: Overload):
        self.op, self.overload = op, overload
        self.label = f"{', '.join(overload.arguments)} -> {overload.result}"

    def fail(self, kind: str, fault: str) -> AssertionError:
        return AssertionError(
            f"operator {self.op.name!r} ({self.label}) on {kind!r} input: {fault}"
        )

    def compute(self, given: Input, function: Callable | None = None) -> Tensor:
        """The value; what the function raises is its fault."""
        overload = self.overload if function is None else Overload(
            self.overload.arguments, self.overload.result, function,
            self.overload.weighs, self.overload.neighbours, self.overload.pairs,
        )  # fmt: skip
        try:
            value = overload.compute(given.arguments, given.activations)
        except Exception as error:
            raise self.fail(given.kind, f"raised {type(error).__name__}: {error}") from error
        if not isinstance(value, Tensor):
            raise self.fail(given.kind, f"gave {type(value).__name__}, expected a torch.Tensor")
        return value

    def check_value(self, given: Input) -> None:
        """No NaN, the right shape and dtype, the same twice, arguments untouched."""
        dtype = given.arguments[0].dtype
        kind = f"{given.kind}, {str(dtype).removeprefix('torch.')}"
        before = [t.clone() for t in (*given.arguments, given.activations)]
        value = self.compute(given)
        after = (*given.arguments, given.activations)
        if not all(map(torch.equal, before, after)):
            raise self.fail(kind, "the function changed its argument in place")
        if value.isnan().any():
            raise self.fail(kind, f"{int(value.isnan().sum())} of {value.numel()} entries are NaN")
        expected = self.overload.shape(given.arguments, given.activations)
        if value.shape != expected:
            raise self.fail(kind, f"gave shape {tuple(value.shape)}, expected {expected}")
        if value.dtype != dtype:
            raise self.fail(kind, f"gave {value.dtype}, expected the input's dtype")
        if not torch.equal(self.compute(given), value):
            raise self.fail(kind, "gave another value the second time")

    def check_leading_dimensions(self) -> None:
        """Candidates and images at once equal each alone."""
        given, other = random_input(self.overload, 1), random_input(self.overload, 50)
        value = self.compute(given)
        both = Input(
            "random",
            tuple(map(torch.stack, zip(given.arguments, other.arguments, strict=True))),
            given.activations,
        )
        stacked = self.compute(both)
        if stacked.shape != (2, *value.shape):
            raise self.fail(
                "a stack of candidates",
                f"gave shape {tuple(stacked.shape)}, expected {(2, *value.shape)}: "
                "leading dimensions must be free, so count dimensions from the end",
            )
        with_other = self.compute(Input("random", other.arguments, given.activations))
        for made, alone in zip(stacked, (value, with_other), strict=True):
            if not _close(made, alone):
                raise self.fail("a stack of candidates", "one candidate's value sees another's")
        if self.overload.pairs:
            return  # an image sees the one that it is in a pair with
        first = self.compute(
            Input("random", tuple(a[:1] for a in given.arguments), given.activations[:1])
        )
        if not _close(first, value[:1]):
            raise self.fail("one image alone", "the value of an image sees the other images")

    def check_channel_order(self) -> None:
        """Channels in another order give the same values in that order."""
        given = random_input(self.overload, 2)
        value = self.compute(given)
        order = torch.tensor([3, 0, 5, 1, 4, 2])

        def permuted(t: Tensor) -> Tensor:
            return t.index_select(-3, order) if t.shape[-3] == len(order) else t

        moved = self.compute(
            Input("random", tuple(map(permuted, given.arguments)), permuted(given.activations))
        )
        if not _close(moved, permuted(value)):
            raise self.fail(
                "channels in another order", "the value is not that of the channels, reordered"
            )

    def is_foldable(self) -> bool:
        """Whether laying out the places in one row changes nothing but the layout."""
        if self.overload.neighbours or self.overload.pairs:
            return True  # it is told the layout, or turns rows around, which slices share

        def folded(t: Tensor) -> Tensor:
            return t.flatten(-2)[..., None, :]

        given = random_input(self.overload, 3)
        row = Input("random", tuple(map(folded, given.arguments)), folded(given.activations))
        return _close(self.compute(row), folded(self.compute(given)))

    def check_compiled(self) -> None:
        """``torch.compile`` gives the same value, on ordinary input and on zeros."""
        keep_compiled_private()
        function = torch.compile(self.overload.function, dynamic=False)
        plain = random_input(self.overload, 4, torch.float32)
        zeros = Input("zeros", tuple(map(torch.zeros_like, plain.arguments)), plain.activations)
        for given in (plain, zeros):
            if not _close(self.compute(given, function), self.compute(given)):
                raise self.fail(given.kind, "torch.compile gives another value")

    def check_law(self, law: str, given: Input) -> None:
        """AssertionError where the law is broken; an overflow breaks none."""
        value = self.compute(given)
        if not value.isfinite().all():
            return
        for made, expected in self.consequences(law, given, value):
            if made.isfinite().all() and not _close(made, expected):
                difference = (made - expected).abs().max()
                raise self.fail(
                    f"{given.kind}, {str(value.dtype).removeprefix('torch.')}",
                    f"it is declared {law} but is not: values that should agree differ by up to "
                    f"{difference:.3g} at a largest value of {expected.abs().max():.3g}",
                )

    def consequences(
        self, law: str, given: Input, value: Tensor
    ) -> Sequence[tuple[Tensor, Tensor]]:
        """Pairs of tensors that agree where the law holds."""

        def at(*arguments: Tensor) -> Tensor:
            return self.compute(Input(given.kind, arguments, given.activations))

        if law == COMMUTATIVE:
            return [(at(*given.arguments[::-1]), value)]
        if law in (IDEMPOTENT, INVOLUTION):
            outer = self.op.overload((self.overload.result,))
            assert outer is not None  # only an operator that takes what it gives declares these
            again = _Typing(self.op, outer).compute(Input(given.kind, (value,), given.activations))
            return [(again, value if law == IDEMPOTENT else given.arguments[0])]
        if law in (EVEN, ODD):
            return [(at(-given.arguments[0]), value if law == EVEN else -value)]
        if given.extreme:
            return []
        pairs = []
        for c in FACTORS:
            for i, argument in enumerate(given.arguments):
                scaled = at(*given.arguments[:i], c * argument, *given.arguments[i + 1 :])
                pairs.append((scaled, value if law == SCALE_FREE else c * value))
        return pairs


def _close(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding, relative to the largest entry."""
    if a.shape != b.shape:
        return False
    if torch.equal(a, b):
        return True
    limits = torch.finfo(b.dtype)
    tolerance = 200 * limits.eps * b.abs().max() + limits.smallest_normal
    return bool(((a - b).abs() <= tolerance).all())


def _seems_to_hold(law: str, op: Operator, typings: Sequence[_Typing]) -> bool:
    """Whether a law that is not declared held on every input."""
    if ARITY_OF_LAW.get(law, op.arity) != op.arity:
        return False
    if law in (IDEMPOTENT, INVOLUTION) and not all(
        op.overload((typing.overload.result,)) for typing in typings
    ):
        return False
    try:
        for typing in typings:
            inputs = [random_input(typing.overload, seed) for seed in SEEDS]
            inputs += [g for dtype in DTYPES for g in adversarial_inputs(typing.overload, dtype)]
            for given in inputs:
                typing.check_law(law, given)
    except AssertionError:
        return False
    return True
