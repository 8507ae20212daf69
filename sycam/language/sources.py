"""The text of users' functions, for exported modules and for telling two versions apart."""

from __future__ import annotations

import ast
import dis
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType

from sycam.errors import OptionError
from sycam.language import numerics
from sycam.language.signatures import Operator

_PLAIN = (int, float, bool, str, type(None))
_PACKAGES = ("torch", "math")  # what an exported module may import


def is_declared(operator: Operator) -> bool:
    """Whether a user added the operator to the table."""
    # Users declare no leaves, and what the table's operators compute stands in one module.
    return not operator.is_leaf and operator.overloads[0].function.__module__ != numerics.__name__


def version_text(operator: Operator) -> str:
    """What tells two versions of a declared operator apart: the text of its function and of what
    that uses; its own text only where that is all that can be read; empty for SyCAM's own."""
    if not is_declared(operator):
        return ""
    function = operator.overloads[0].function
    try:
        return standalone_source(function)
    except OptionError:
        pass
    try:
        return _own_text(function)
    except OSError:  # typed at a prompt
        codes = list(_codes(function.__code__))
        plain = [c for code in codes for c in code.co_consts if not isinstance(c, CodeType)]
        return f"{[(code.co_code.hex(), code.co_names) for code in codes]} {plain}"


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
            text = _own_text(f)
        except OSError:
            raise _unfit(function, f"the text of {f.__name__!r} is not known") from None
        for name in sorted(_globals(f, text)):
            value = f.__globals__[name]
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

    collect(function)
    head = "\n".join([*imports, *constants])
    return "\n\n\n".join(filter(None, [head, *reversed(definitions.values())])) + "\n"


def _own_text(function: Callable) -> str:
    """The function's text without its decorators; OSError where it is not known."""
    text = textwrap.dedent(inspect.getsource(function))
    node = ast.parse(text).body[0]
    return "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno])


def _globals(function: FunctionType, text: str) -> set[str]:
    """Names of the function's module that it reads when it is defined or called."""
    node = ast.parse(text).body[0]
    defaults = [d for d in (*node.args.defaults, *node.args.kw_defaults) if d is not None]
    names = {n.id for d in defaults for n in ast.walk(d) if isinstance(n, ast.Name)}
    for code in _codes(function.__code__):
        names |= {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    return names & function.__globals__.keys()


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _unfit(function: Callable, reason: str) -> OptionError:
    return OptionError(
        f"operator function {function.__name__!r} cannot go into a module of its own: {reason}; "
        "write it with torch, math and functions and constants of its own file only"
    )
