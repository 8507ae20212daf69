"""The text of users' functions, for exported modules and for telling two versions apart."""

from __future__ import annotations

import ast
from collections.abc import Callable
from types import FunctionType, ModuleType

from sycam.errors import OptionError
from sycam.language.signatures import Operator
from sycam.support.content_digest import function_text, globals_read, version_digest

_HERE = f"{__package__}."
_PLAIN = (int, float, bool, str, type(None))
_PACKAGES = ("torch", "math")  # what an exported module may import


def is_declared(operator: Operator) -> bool:
    """Whether a user added the operator to the table."""
    # Users declare no leaves, and what the table's operators compute stands in this package.
    ours = operator.is_leaf or operator.overloads[0].function.__module__.startswith(_HERE)
    return not ours


def version_text(operator: Operator) -> str:
    """What tells two versions of a declared operator apart, see
    :func:`sycam.support.content_digest.version_digest`; empty for SyCAM's own."""
    if not is_declared(operator):
        return ""
    return version_digest(operator.overloads[0].function)


def standalone_source(function: Callable) -> str:
    """Text that defines the function and all that it uses, in a module that may import torch.

    What the function uses of its own file goes along: other functions, constants, imports of
    torch and math.

    Raises:
        OptionError: its text is not known, or it uses anything else.
    """
    imports: dict[str, None] = {}
    definitions: dict[FunctionType, str] = {}
    constants: dict[str, None] = {}

    def collect(f: FunctionType) -> None:
        definitions[f] = ""  # so that two functions may call each other
        if f.__closure__:
            raise _unfit(function, f"{f.__name__!r} is defined inside another function")
        try:
            text = function_text(f)
        except OSError:
            raise _unfit(function, f"the text of {f.__name__!r} is not known") from None
        for name, value in sorted(_read(f, text).items()):
            home = getattr(value, "__module__", None) or ""
            if isinstance(value, ModuleType) and value.__name__.split(".")[0] in _PACKAGES:
                alias = "" if name == value.__name__ else f" as {name}"
                imports[f"import {value.__name__}{alias}"] = None
            elif isinstance(value, FunctionType) and value.__globals__ is f.__globals__:
                if value not in definitions:
                    collect(value)
            elif home.split(".")[0] in _PACKAGES and hasattr(value, "__name__"):
                alias = "" if name == value.__name__ else f" as {name}"
                imports[f"from {home} import {value.__name__}{alias}"] = None
            elif isinstance(value, _PLAIN):
                constants[f"{name} = {value!r}"] = None
            else:
                raise _unfit(function, f"{f.__name__!r} uses {name!r} ({type(value).__name__})")
        definitions[f] = text

    if not isinstance(function, FunctionType):
        raise _unfit(function, "it is not written with def")
    collect(function)
    head = "\n".join([*imports, *constants])
    return "\n\n\n".join(filter(None, [head, *reversed(definitions.values())])) + "\n"


def _read(function: FunctionType, text: str) -> dict[str, object]:
    """What the function reads of its module, the names of its defaults included."""
    node = ast.parse(text).body[0]
    defaults = [d for d in (*node.args.defaults, *node.args.kw_defaults) if d is not None]
    names = {n.id for d in defaults for n in ast.walk(d) if isinstance(n, ast.Name)}
    values = function.__globals__
    return globals_read(function) | {n: values[n] for n in names if n in values}


def _unfit(function: Callable, reason: str) -> OptionError:
    return OptionError(
        f"operator function {function.__name__!r} cannot go into a module of its own: {reason}; "
        "write it with torch, math and functions and constants of its own file only"
    )
