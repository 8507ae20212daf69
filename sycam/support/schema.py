"""Checking data of unknown origin: JSON within bounds, and of the shape that is expected."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sycam.support.files import read_plain

DEEPEST = 32  # levels of objects and lists in each other
LONGEST = 1_000_000  # characters of one text: a grammar, the longest, has some thousand
LARGEST = 2**63  # of a whole number: counts of trees grow fast, but the rest is counts and seeds
_SAID = 80  # characters of a value in a message

Measure = float | None  # a figure: JSON has no NaN, which is written as null


class Closed(dict):
    """The shape of an object that has no other keys."""


class SchemaError(ValueError):
    """Data that is not as expected; the message says where, and what was."""


def read_json(path: Path, largest: int) -> Any:
    """The content of a JSON file of a run, in whose folder no link is followed.

    Args:
        path: of the file.
        largest: bytes that it may have.

    Raises:
        OSError: it cannot be read; NotPlainError: a link, no plain file, or too large.
        SchemaError: no JSON, nested too deeply, or holds text or numbers that no
            run writes.
    """
    return parse_json(read_plain(path, largest, within=path.parent))


def parse_json(content: bytes | str, undefined: bool = False) -> Any:
    """JSON within the bounds of this module.

    Args:
        content: the text.
        undefined: whether NaN and infinity may stand for numbers, as Python writes them.

    Raises:
        SchemaError: it is beyond.
    """
    constant = float if undefined else _no_constant
    try:
        data = json.loads(content, parse_constant=constant, parse_float=_finite)
    except SchemaError:
        raise
    except RecursionError:
        raise SchemaError(f"nested more than {DEEPEST} levels deep") from None
    except ValueError as error:
        raise SchemaError(f"no JSON: {error}") from None
    _bounded(data)
    return data


def _no_constant(name: str) -> typing.NoReturn:
    raise SchemaError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise SchemaError(f"{text[:_SAID]} is too large a number")
    return number


def _bounded(data: Any) -> None:
    level = [data]
    for _ in range(DEEPEST):
        if not level:
            return
        deeper: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                for key in value:
                    _check_text(key)
                deeper += value.values()
            elif isinstance(value, list):
                deeper += value
            elif isinstance(value, str):
                _check_text(value)
        level = deeper
    raise SchemaError(f"nested more than {DEEPEST} levels deep")


def _check_text(text: str) -> None:
    if len(text) > LONGEST:
        raise SchemaError(f"a text of {len(text)} characters is too long (at most {LONGEST})")
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise SchemaError(f"the text {ascii(text)[:_SAID]} holds half a character")


def check(data: Any, shape: Any, where: str = "") -> None:
    """Check data against a shape.

    Args:
        data: of JSON.
        shape: ``{key: shape}``, a key ending in ``?`` being optional, of which there may be others
            unless it is :class:`Closed`; ``[shape]``, a list;
            ``(shape,)``, or null; a dataclass (a field with a default is optional); or a type:
            ``int``, ``float``, ``str``, ``bool``, ``None``,
            ``list[...]``, ``tuple[..., ...]``, ``dict[str, ...]``, unions, ``Any``.
        where: what is checked, for the message.

    Raises:
        SchemaError: at the first value that is not as expected.
    """
    origin, arms = typing.get_origin(shape), typing.get_args(shape)
    if shape is Any:
        return
    if isinstance(shape, tuple):
        if data is not None:
            check(data, shape[0], where)
    elif isinstance(shape, dict):
        _keys(data, shape, where, isinstance(shape, Closed))
    elif isinstance(shape, list):
        _expect(isinstance(data, list), "a list", data, where)
        for place, value in enumerate(data):
            check(value, shape[0], f"{where}.{place}")
    elif dataclasses.is_dataclass(shape):
        _keys(data, _fields(shape), where, True)
    elif origin in (typing.Union, types.UnionType):
        _one_of(data, arms, shape, where)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        _expect(isinstance(data, dict), "an object", data, where)
        for key, value in data.items():
            check(value, arms[1], f"{where}.{key[:_SAID]}")
    elif isinstance(origin, type) and issubclass(origin, Sequence):
        _expect(isinstance(data, list), "a list", data, where)
        for place, value in enumerate(data):
            check(value, arms[0], f"{where}.{place}")
    else:
        _plain(data, shape, where)


def _keys(data: Any, shape: Mapping[str, Any], where: str, closed: bool) -> None:
    _expect(isinstance(data, dict), "an object", data, where)
    for key, inner in shape.items():
        name = key.removesuffix("?")
        if name in data:
            check(data[name], inner, f"{where}.{name}" if where else name)
        elif name == key:
            raise SchemaError(f"{where or 'it'} lacks {name!r}")
    known = {key.removesuffix("?") for key in shape}
    if closed and (strange := sorted(set(data) - known)):
        raise SchemaError(f"{where} has {strange[0][:_SAID]!r}, which is not known")


def _one_of(data: Any, arms: tuple, shape: Any, where: str) -> None:
    if data is None and type(None) in arms:
        return
    arms = tuple(arm for arm in arms if arm is not type(None))
    for arm in arms[:-1]:
        try:
            return check(data, arm, where)
        except SchemaError:
            continue
    # The last says what is wrong, which is all that there is to say of an optional value.
    return check(data, arms[-1], where)


def _plain(data: Any, kind: Any, where: str) -> None:
    number = isinstance(data, int | float) and not isinstance(data, bool)
    if kind is float:
        _expect(number, "a number", data, where)
    elif kind is int:
        _expect(number and isinstance(data, int), "a whole number", data, where)
    elif kind is bool:
        _expect(isinstance(data, bool), "true or false", data, where)
    elif kind is str:
        _expect(isinstance(data, str), "a text", data, where)
    else:
        _expect(data is None, "null", data, where)
    if number and not where.endswith(".trees"):
        _expect(-LARGEST < data < LARGEST or isinstance(data, float), "less", data, where)


def _expect(good: bool, expected: str, data: Any, where: str) -> None:
    if not good:
        try:
            said = json.dumps(data)
        except (ValueError, RecursionError):
            said = type(data).__name__
        said = said if len(said) <= _SAID else f"{said[:_SAID]} …"
        raise SchemaError(f"{where or 'it'} is {said}; expected {expected}")


@cache
def _fields(kind: type) -> dict[str, Any]:
    """The shape of a dataclass."""
    hints = typing.get_type_hints(kind)
    required = dataclasses.MISSING
    return {
        f.name if f.default is required and f.default_factory is required else f"{f.name}?":
        hints[f.name]
        for f in dataclasses.fields(kind)
    }  # fmt: skip
