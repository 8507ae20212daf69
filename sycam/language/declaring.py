"""Operators that users add to the table, each one torch function."""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from sycam.errors import OptionError
from sycam.language.operators import LEAVES, OPERATORS, register
from sycam.language.signatures import (
    COMMUTATIVE,
    EVEN,
    IDEMPOTENT,
    INVOLUTION,
    LAWS,
    ODD,
    SORT_SHAPES,
    Operator,
    Overload,
)
from sycam.language.sources import is_declared

Function = TypeVar("Function", bound=Callable[..., Tensor])

# Of the laws that only make sense for one number of arguments.
ARITY_OF_LAW = {COMMUTATIVE: 2, IDEMPOTENT: 1, INVOLUTION: 1, EVEN: 1, ODD: 1}


def operator(
    *typings: str,
    latex: str | None = None,
    laws: Iterable[str] = (),
    name: str | None = None,
    cost: int = 1,
) -> Callable[[Function], Function]:
    r"""Declare a torch function as an operator of the expression language.

    From then on expressions can use it, and grammar files by its name
    (``| "median" "(" map ")" -> median``). Values keep three trailing dimensions:
    ``[..., K, h, w]`` for a map, ``[..., K, 1, 1]`` for a weight, ``[..., 1, 1, 1]`` for a scalar
    of the image and ``[..., 1, h, w]`` for a heat (a weighted sum, before the ReLU). Leading
    dimensions are free (images, or candidates and images); a volume's slices lie below one
    another in h. The function must never make NaN from finite input, nor change its arguments:
    :func:`sycam.testing.check_operator` tests that, the laws and the shapes.

    Args:
        typings: ``"map -> weight"``, or several, like ``"weight -> weight", "map -> map"``;
            arguments are separated by commas (``"map, scalar -> map"``).
        latex: LaTeX in which ``{0}``, ``{1}`` are the arguments; other braces stay as they are.
        laws: algebraic laws that hold for every input, of ``commutative``, ``idempotent``,
            ``involution``, ``even``, ``odd``, ``scale-free`` and ``homogeneous`` (see
            :mod:`sycam.language.operators`). The search builds no tree that they make redundant.
        name: the operator's name; the function's if None.
        cost: what it adds to an expression's cost, at least 1.

    Returns:
        A decorator that gives the function back unchanged; the first line of its docstring
        becomes the operator's meaning.

    Raises:
        OptionError: a name that is taken or no lowercase identifier, an unknown sort or law, a
            function of another number of arguments, LaTeX without a place for each argument.

    Declaring a function of the same file and name again replaces the operator, so that a
    notebook's cell can be run twice.

    Example:
        >>> import sycam
        >>> from torch import Tensor, nn, rand
        >>> @sycam.operator("map -> weight", latex=r"\operatorname{median}_{ij} {0}",
        ...                 laws=("homogeneous",))
        ... def median(t: Tensor) -> Tensor:
        ...     '''The lower median over the places of each channel.'''
        ...     return t.flatten(-2).median(-1).values[..., None, None]
        >>> print(sycam.testing.check_operator("median"))
        median: 1 typing, no fault on 34 inputs; homogeneous holds
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> sycam.CAM(net, "1", "median(G) * max(A)")(rand(5, 3, 8, 8)).shape
        torch.Size([5, 8, 8])
    """
    if not typings or not all(isinstance(t, str) for t in typings):
        raise OptionError(
            "sycam.operator takes the sorts of arguments and result as text: write "
            '@sycam.operator("map -> weight")'
        )
    if not isinstance(cost, int) or isinstance(cost, bool) or cost < 1:
        raise OptionError(f"cost of an operator must be a positive integer, got {cost!r}")

    def declare(function: Function) -> Function:
        label = _name(function, name)
        overloads = _overloads(typings, function, label)
        arity = len(overloads[0].arguments)
        register(
            Operator(
                label,
                overloads,
                _template(latex, label, arity),
                (inspect.getdoc(function) or "").partition("\n")[0],
                cost,
                _laws(laws, overloads, label),
            )
        )
        return function

    return declare


def _name(function: Callable, name: str | None) -> str:
    if not inspect.isfunction(function) or function.__name__ == "<lambda>":
        raise OptionError(
            f"an operator must be a function written with def, got {function!r}; wrap it in one"
        )
    label = function.__name__ if name is None else name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", str(label)) or keyword.iskeyword(label):
        raise OptionError(
            f"operator name {label!r} must be a lowercase identifier (a-z, 0-9 and _), as grammars "
            "name it; give another with name="
        )
    if label in LEAVES:
        raise OptionError(
            f"operator name {label!r} is how the leaf {LEAVES[label].name!r} is written; "
            "give another with name="
        )
    if label in OPERATORS:
        known = OPERATORS[label].overloads[0].function
        if _origin(known) != _origin(function):
            place = f"'{_origin(known)[0]}'" if is_declared(OPERATORS[label]) else "SyCAM"
            raise OptionError(
                f"there already is an operator {label!r}, of {place}; give another with name="
            )
    return label


def _origin(function: Callable) -> tuple[str, str]:
    """File (module, where there is none, as in a notebook) and qualified name."""
    file = function.__globals__.get("__file__")
    return (str(Path(file).resolve()) if file else function.__module__, function.__qualname__)


def _overloads(typings: Iterable[str], function: Callable, name: str) -> tuple[Overload, ...]:
    overloads = tuple(_overload(text, function, name) for text in typings)
    arity = len(overloads[0].arguments)
    if any(len(o.arguments) != arity for o in overloads):
        raise OptionError(
            f"operator {name!r} has typings of different numbers of arguments "
            f"({'; '.join(typings)}); declare one operator for each number"
        )
    if len({o.arguments for o in overloads}) < len(overloads):
        raise OptionError(f"operator {name!r} gives two typings for the same arguments: {typings}")
    parameters = inspect.signature(function).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    demanded = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if len(positional) != arity or demanded:
        raise OptionError(
            f"operator {name!r} has {arity} argument(s) by its typing, but its function takes "
            f"{inspect.signature(function)}; expected {arity} positional parameter(s), any other "
            "after * and with a default"
        )
    return overloads


def _overload(text: str, function: Callable, name: str) -> Overload:
    given, arrow, made = text.partition("->")
    arguments = tuple(sort.strip() for sort in given.split(","))
    sorts = (*arguments, made.strip())
    if not arrow or not all(sort in SORT_SHAPES for sort in sorts):
        wrong = [sort for sort in sorts if sort not in SORT_SHAPES] if arrow else []
        unknown = f": {', '.join(map(repr, wrong))} is no sort" if wrong else ""
        raise OptionError(
            f"typing {text!r} of operator {name!r} is not understood{unknown}; expected sorts of "
            f"{', '.join(SORT_SHAPES)}, like 'map -> weight' or 'map, scalar -> map'"
        )
    return Overload(arguments, sorts[-1], function)


def _laws(laws: Iterable[str], overloads: tuple[Overload, ...], name: str) -> frozenset[str]:
    if isinstance(laws, str):
        laws = (laws,)
    laws = frozenset(laws)
    if unknown := sorted(map(str, laws - set(LAWS))):
        raise OptionError(
            f"law {unknown[0]!r} of operator {name!r} is not known; expected some of "
            f"{', '.join(LAWS)}"
        )
    arity = len(overloads[0].arguments)
    for law in sorted(laws):
        if ARITY_OF_LAW.get(law, arity) != arity:
            raise OptionError(
                f"law {law!r} of operator {name!r} speaks of {ARITY_OF_LAW[law]} argument(s), but "
                f"the operator has {arity}; leave it out"
            )
        nests = all(any(o.result == p.arguments[0] for p in overloads) for o in overloads)
        if law in (IDEMPOTENT, INVOLUTION) and not nests:
            raise OptionError(
                f"law {law!r} of operator {name!r} speaks of applying it twice, but it does not "
                "take what it gives; leave it out"
            )
    return laws


def _template(latex: str | None, name: str, arity: int) -> str:
    r"""Plain LaTeX to a format string.

    >>> _template(r"\frac{{0}}{2 + {1}}", "f", 2)
    '\\frac{{{0}}}{{2 + {1}}}'
    """
    if latex is None:
        places = ", ".join(f"{{{i}}}" for i in range(arity))
        escaped = name.replace("_", r"\_")
        latex = rf"\operatorname{{{escaped}}}\left({places}\right)"
    pieces = re.split(r"\{(\d+)\}", latex)
    for i in range(1, len(pieces), 2):
        known = int(pieces[i]) < arity
        pieces[i] = f"{{{pieces[i]}}}" if known else f"{{{{{pieces[i]}}}}}"
    pieces[::2] = [piece.replace("{", "{{").replace("}", "}}") for piece in pieces[::2]]
    missing = [f"{{{i}}}" for i in range(arity) if f"{{{i}}}" not in pieces[1::2]]
    if missing or latex.count("{") != latex.count("}"):
        fault = f"has no {' and no '.join(missing)}" if missing else "has braces that do not match"
        raise OptionError(
            f"latex {latex!r} of operator {name!r} {fault}; expected LaTeX in which {{0}}, {{1}} "
            "stand for the arguments"
        )
    return "".join(pieces)
