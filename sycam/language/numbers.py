"""Numbers in expressions: any decimal of up to six significant digits is a leaf of its own."""

from __future__ import annotations

import math
import re
from weakref import WeakValueDictionary

from torch import Tensor

from sycam.errors import ExpressionError
from sycam.language.signatures import SCALAR, Operator, Overload

DIGITS = 6  # significant, to which numbers are rounded
SMALLEST, LARGEST = 1e-37, 1e38  # in float32, in which networks compute, nothing beyond is a number
_LONGEST = 40  # characters
_WRITTEN = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")

# So that a number is one object as long as any expression holds it.
_operators: WeakValueDictionary[float, Operator] = WeakValueDictionary()


def read_number(text: str) -> float:
    """The value of a decimal without sign (``0.37``, ``.5``, ``5e-1``), to six digits.

    Raises:
        ExpressionError: no such decimal, or one that is too long, too large or too small.
    """
    if len(text) > _LONGEST:
        raise ExpressionError(
            f"number {text[:_LONGEST]}… has {len(text)} characters (at most {_LONGEST}; "
            f"{DIGITS} significant digits count)"
        )
    if not _WRITTEN.fullmatch(text):
        raise ExpressionError(f"{text!r} is no number; write a decimal, like 0.37 or 2e-5")
    value = float(text)
    vanished = not value and re.search("[1-9]", text.lower().partition("e")[0])
    if vanished or math.isinf(value):
        raise _out_of_range(text)
    return rounded(value)


def rounded(value: float) -> float:
    """A number that is not negative, to six significant digits.

    Raises:
        ExpressionError: NaN, infinite, or neither 0 nor from 1e-37 to 1e38.
    """
    if not (value == 0 or SMALLEST <= value <= LARGEST):  # NaN is neither
        raise _out_of_range(str(value))
    return float(number_text(value))


def _out_of_range(text: str) -> ExpressionError:
    return ExpressionError(
        f"number {text} is out of range: it must be 0 or from {number_text(SMALLEST)} to "
        f"{number_text(LARGEST)}, before its sign"
    )


def number_text(value: float) -> str:
    """How a number is written: the shortest decimal of six significant digits.

    >>> [number_text(v) for v in (2.0, 0.370, 1 / 3, 0.00001, 2.5e6)]
    ['2', '0.37', '0.333333', '1e-5', '2.5e6']
    """
    mantissa, _, exponent = f"{value:.{DIGITS}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def constant(name: str, latex: str, value: float) -> Operator:
    """The leaf of a value, written as :func:`number_text` does."""
    text = number_text(value)
    typing = (Overload((), SCALAR, no_function),)
    return Operator(name, typing, latex, f"the constant {text}", symbol=text, value=value)


def number_operator(value: float) -> Operator:
    """The leaf of a number of :func:`rounded`, always the same object; its text is its name."""
    operator = _operators.get(value)
    if operator is None:
        text = number_text(value)
        operator = _operators.setdefault(value, constant(text, _latex(text), value))
    return operator


def _latex(text: str) -> str:
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    power = f"10^{{{{{exponent}}}}}"  # the braces of a template are doubled
    return power if mantissa == "1" else rf"{mantissa} \cdot {power}"


def is_number(op: Operator) -> bool:
    """Whether a leaf is a number that is none of the operator table's constants."""
    return op.value is not None and op.name == op.symbol


def magnitude(value: float) -> float:
    """``|value|`` to six significant digits.

    Raises:
        ExpressionError: as :func:`rounded`, or ``value`` is no number.
    """
    try:
        return rounded(math.fabs(value))
    except (TypeError, ValueError, OverflowError):
        raise ExpressionError(f"a number is needed, like 0.37, got {value!r:.80}") from None


def no_function(*_: Tensor) -> Tensor:
    """What the overload of a leaf holds."""
    raise TypeError("a leaf is looked up, not computed")
