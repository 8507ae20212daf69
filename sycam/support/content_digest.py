"""Digests of content: tensors, networks and functions that are alike give the same results."""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import inspect
import secrets
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

_PLAIN = bool | int | float | complex | str | bytes | None | torch.dtype | torch.device | PurePath
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))  # parameters, hooks, mode: told otherwise, or not
_nonces: WeakKeyDictionary[object, str] = WeakKeyDictionary()


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's type, shape and values."""
    data = tensor.detach().cpu().contiguous()
    said = f"{data.dtype}{tuple(data.shape)}".encode()
    return hashlib.sha256(said + data.flatten().view(torch.uint8).numpy().tobytes()).hexdigest()


def network_digest(network: nn.Module) -> str:
    """SHA-256 of what a network computes, as far as it can be read.

    Structure (as it prints itself), parameters, all buffers, the methods of each module's class
    (with what they call and read, see :func:`content_digest`; of an installed package's class the
    text of ``forward``) and the plain values, functions and tensors among a module's attributes,
    but for private lists, sets and mappings.
    """
    return _Content().network(network)


def content_digest(value: object) -> str | None:
    """SHA-256 of what decides a value or what a callable computes; None where it cannot be read.

    Plain values, tensors, arrays, networks, functions and classes, bound methods, partial
    applications, containers of these, and objects by their class and their attributes. A function
    counts with its defaults, its closure and what it reads of its module: other functions, classes
    and values. Of what Python, an installed package or SyCAM defines only text or name counts.
    """
    try:
        text = _Content().of(value)
    except (_UnreadableError, RecursionError):
        return None
    return hashlib.sha256(text.encode()).hexdigest()


def version_digest(value: object) -> str:
    """:func:`content_digest` of a function or class; where it cannot be read a digest that only
    this process knows, so that no run takes its results for those of another."""
    return content_digest(value) or _nonces.setdefault(value, secrets.token_hex(32))


def function_text(function: FunctionType) -> str:
    """The function's text without its decorators; OSError where it is not known."""
    # A decorator may have put another function's text in the place of this one's.
    text = textwrap.dedent(inspect.getsource(function.__code__))
    try:
        node = ast.parse(text).body[0]
    except SyntaxError:  # a lambda, with half of the statement that holds it
        return text
    return "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno])


def globals_read(function: FunctionType) -> dict[str, object]:
    """What the function reads of its module when it is defined or called, by name."""
    names = {
        i.argval
        for code in codes(function.__code__)
        for i in dis.get_instructions(code)
        if i.opname == "LOAD_GLOBAL"
    }
    return {n: function.__globals__[n] for n in sorted(names) if n in function.__globals__}


def codes(code: CodeType) -> Iterator[CodeType]:
    """The byte code of a function and of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


class _UnreadableError(Exception):
    """A value whose content cannot be told."""


class _Content:
    """The content of a value as text; what refers to itself is told once."""

    def __init__(self) -> None:
        self._told: dict[object, int] = {}
        self._modules: dict[int, int] = {}

    def of(self, value: object, depth: int = 0) -> str:
        if depth > 12:
            raise _UnreadableError
        if isinstance(value, _PLAIN):
            return f"{type(value).__name__} {value!r}"
        for tell in (self._array, self._program, self._container):
            if (text := tell(value, depth)) is not None:
                return text
        if hasattr(value, "__wrapped__"):  # functools.cache and its like
            return self.of(value.__wrapped__, depth)
        if not hasattr(value, "__dict__"):
            raise _UnreadableError
        kind = type(value)
        code = _class_text(kind) if _installed(kind.__module__) else self.of(kind, depth)
        return f"{code} {self.of(vars(value), depth + 1)}"

    def _array(self, value: object, _depth: int) -> str | None:
        if isinstance(value, Tensor):
            return tensor_digest(value)
        if isinstance(value, np.ndarray | np.generic):
            if value.dtype.hasobject:
                raise _UnreadableError
            return f"{value.dtype}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()}"
        return self.network(value) if isinstance(value, nn.Module) else None

    def _program(self, value: object, depth: int) -> str | None:
        if isinstance(value, functools.partial):
            return self.of((value.func, value.args, value.keywords), depth + 1)
        if isinstance(value, FunctionType | type):
            if value in self._told:
                return f"again {self._told[value]}"
            self._told[value] = len(self._told)
            if isinstance(value, type):
                return self._class(value, depth)
            return self._function(value, depth)
        if isinstance(value, MethodType):
            return f"{self.of(value.__func__, depth)} {self.of(value.__self__, depth + 1)}"
        if isinstance(value, BuiltinFunctionType):
            return f"{value.__module__}.{value.__qualname__}"
        return _module(value) if isinstance(value, ModuleType) else None

    def _container(self, value: object, depth: int) -> str | None:
        if isinstance(value, Mapping):
            return str([(repr(k), self.of(v, depth + 1)) for k, v in value.items()])
        if isinstance(value, list | tuple):
            return str([self.of(v, depth + 1) for v in value])
        if isinstance(value, set | frozenset):
            # Each for itself: in what order they come is chance.
            return str(sorted(_Content().of(v, depth + 1) for v in value))
        return None

    def network(self, network: nn.Module) -> str:
        """See :func:`network_digest`."""
        if id(network) in self._modules:  # a module may hold, in a list or a method, what holds it
            return f"module {self._modules[id(network)]}"
        self._modules[id(network)] = len(self._modules)
        total = hashlib.sha256(repr(network).encode())
        for name, tensor in (*network.named_parameters(), *network.named_buffers()):
            total.update(f"{name} {tensor_digest(tensor)}".encode())
        for name, module in network.named_modules():
            total.update(f"{name} {self._module_class(type(module))}".encode())
            for key, value in sorted(vars(module).items()):
                # Private containers are where modules keep what they have seen.
                seen = key.startswith("_") and isinstance(value, list | dict | set)
                if key not in _OF_EVERY_MODULE and not seen:
                    total.update(f"{key} {self._read(value) or type(value)}".encode())
        return total.hexdigest()

    def _module_class(self, kind: type) -> str:
        """What the methods of a module's class compute; ``__init__`` shows in what it made."""
        if _installed(kind.__module__):
            return _code(inspect.unwrap(getattr(kind, "forward", kind)))
        parts = [self._module_class(base) for base in kind.__bases__]
        for name, value in vars(kind).items():
            value = getattr(value, "fget", getattr(value, "__func__", value))
            if name == "__init__" or (name.startswith("__") and not callable(value)):
                continue
            # What a function reads of its module may be unreadable; its own text is not.
            text = _code(inspect.unwrap(value)) if isinstance(value, FunctionType) else ""
            parts.append(f"{name} {self._read(value) or text}")
        return str(parts)

    def _read(self, value: object) -> str | None:
        """The content of a value, None where it cannot be told."""
        try:
            return self.of(value)
        except (_UnreadableError, RecursionError):
            return None

    def _function(self, function: FunctionType, depth: int) -> str:
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        parts = [function.__defaults__, function.__kwdefaults__, cells]
        if not _installed(function.__module__):
            # Helpers may call helpers: only containers count as depth.
            read = globals_read(function).items()
            parts += [f"{name} {self.of(value, depth)}" for name, value in read]
        return f"{_code(function)} {self.of(parts, depth + 1)}"

    def _class(self, kind: type, depth: int) -> str:
        if _installed(kind.__module__):
            return f"{kind.__module__}.{kind.__qualname__}"
        methods = [f for f in vars(kind).values() if isinstance(f, FunctionType)]
        return f"{_class_text(kind)} {[self.of(f, depth) for f in (*kind.__bases__, *methods)]}"


def _class_text(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        raise _UnreadableError from None


def _module(module: ModuleType) -> str:
    """An installed module by its name; another by its text."""
    if _installed(module.__name__):
        return module.__name__
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        raise _UnreadableError from None


def _installed(name: str | None) -> bool:
    """Whether a module belongs to Python, to an installed package or to SyCAM."""
    root = str(name).partition(".")[0]
    if root == "sycam" or root in sys.stdlib_module_names:
        return True
    folders = Path(getattr(sys.modules.get(root), "__file__", None) or "").parts
    return "site-packages" in folders or "dist-packages" in folders


def _code(function: Any) -> str:
    """The text of a function; its byte code where there is no text."""
    code = getattr(function, "__code__", None)
    if code is None:
        return repr(function)
    try:
        return function_text(function)
    except OSError:
        return _bytes(code)


def _bytes(code: CodeType) -> str:
    """Byte code with its constants; code among these has an address in its own text."""
    constants = [_bytes(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {constants} {code.co_names}"
