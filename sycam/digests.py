"""Digests of content: tensors, networks and functions that are alike give the same results."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType

import numpy as np
import torch
from torch import Tensor, nn

_PLAIN = bool | int | float | complex | str | bytes | None | torch.dtype | torch.device


def tensor_digest(tensor: Tensor) -> str:
    """SHA-256 of a tensor's type, shape and values."""
    data = tensor.detach().cpu().contiguous()
    said = f"{data.dtype}{tuple(data.shape)}".encode()
    return hashlib.sha256(said + data.flatten().view(torch.uint8).numpy().tobytes()).hexdigest()


def network_digest(network: nn.Module) -> str:
    """SHA-256 of what a network computes, as far as it can be read.

    Structure (as it prints itself), parameters, all buffers, the code of each module's class and
    the plain values, functions and tensors among a module's attributes.
    """
    total = hashlib.sha256(repr(network).encode())
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        total.update(f"{name} {tensor_digest(tensor)}".encode())
    for name, module in network.named_modules():
        total.update(f"{name} {_code(type(module).forward)}".encode())
        for key, value in sorted(vars(module).items()):
            if not key.startswith("_") and key != "training":
                total.update(f"{key} {content_digest(value) or type(value)}".encode())
    return total.hexdigest()


def content_digest(value: object) -> str | None:
    """SHA-256 of what decides a value or what a callable computes; None where it cannot be read.

    Plain values, tensors, arrays, networks, functions with their defaults and closures, bound
    methods, partial applications, containers of these, and objects by their class's code and
    their attributes.
    """
    try:
        text = _content(value, 0)
    except (_UnreadableError, RecursionError):
        return None
    return hashlib.sha256(text.encode()).hexdigest()


class _UnreadableError(Exception):
    """A value whose content cannot be told."""


def _content(value: object, depth: int) -> str:
    if depth > 12:
        raise _UnreadableError
    if isinstance(value, _PLAIN):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, Tensor):
        return tensor_digest(value)
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.hasobject:
            raise _UnreadableError
        return f"{value.dtype}{value.shape}{hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, nn.Module):
        return network_digest(value)
    if isinstance(value, functools.partial):
        return _content((value.func, value.args, value.keywords), depth + 1)
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        parts = (value.__defaults__, value.__kwdefaults__, cells)
        return f"{_code(value)} {_content(parts, depth + 1)}"
    if isinstance(value, MethodType):
        return f"{_code(value.__func__)} {_content(value.__self__, depth + 1)}"
    if isinstance(value, BuiltinFunctionType | type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Mapping):
        return str([(repr(k), _content(v, depth + 1)) for k, v in value.items()])
    if isinstance(value, list | tuple):
        return str([_content(v, depth + 1) for v in value])
    if isinstance(value, set | frozenset):
        return str(sorted(_content(v, depth + 1) for v in value))
    if not hasattr(value, "__dict__"):
        raise _UnreadableError
    try:
        code = inspect.getsource(type(value))
    except (OSError, TypeError):
        raise _UnreadableError from None
    return f"{code} {_content(vars(value), depth + 1)}"


def _code(function: object) -> str:
    """The text of a function; its byte code where there is no text."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        return repr(function) if code is None else _bytes(code)


def _bytes(code: CodeType) -> str:
    """Byte code with its constants; code among these has an address in its own text."""
    constants = [_bytes(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {constants} {code.co_names}"
