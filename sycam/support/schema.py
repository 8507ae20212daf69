"""Dataclasses to plain data and back: the annotations of their fields are the schema."""

from __future__ import annotations

import inspect
import json
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import PurePath
from typing import Annotated, Any, TypeVar, overload

from sycam.errors import SycamError
from sycam.support.bounded_json import SchemaError

_SAID = 80  # characters of a value in a message
_ABSENT = "absent"

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Bounds:
    """Least and greatest value of a number, or length of a list, as in ``Annotated[int, ...]``."""

    least: float
    most: float


@dataclass(frozen=True)
class Arguments:
    """A mapping of what a dataclass or function takes by name, checked but handed on as it is.

    Attributes:
        of: the dataclass or function.
        whole: whether what has a default must be there as well.
        but: names that may be absent even so.
    """

    of: Callable[..., Any]
    whole: bool = False
    but: tuple[str, ...] = ()


class _Undefined:
    """A number that may be NaN, for which JSON has null."""


Count = Annotated[int, Bounds(0, 2**63)]
Figure = Annotated[float, _Undefined()]  # NaN where it is undefined
_WITHIN = Bounds(-(2**63), 2**63)  # of a whole number that states no bounds


def absent() -> Any:
    """A field that is left out of the plain data where it is None."""
    return field(default=None, metadata={_ABSENT: True})


def to_plain(value: Any) -> Any:
    """Objects, lists, texts and numbers as JSON has them; NaN and infinity become None.

    Args:
        value: dataclasses, mappings, sequences, texts, numbers and None in each other.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | int) or value is None:
        return value
    if is_dataclass(value):
        parts = ((f, getattr(value, f.name)) for f in fields(value))
        return {f.name: to_plain(v) for f, v in parts if not (v is None and _ABSENT in f.metadata)}
    if isinstance(value, Mapping):
        return {k: to_plain(v) for k, v in value.items()}
    if isinstance(value, Sequence):
        return [to_plain(v) for v in value]
    raise TypeError(f"{type(value).__name__} is not plain data")


@overload
def from_plain(kind: type[Kind], data: Any, where: str = "") -> Kind: ...


@overload  # a union or an Annotated type is no class
def from_plain(kind: Any, data: Any, where: str = "") -> Any: ...


def from_plain(kind: Any, data: Any, where: str = "") -> Any:
    """The value that :func:`to_plain` wrote, checked against its type.

    A dataclass takes an object with its fields; of these a field with a default may be absent, and
    further keys are ignored, as another version may have written them.

    Args:
        kind: a dataclass, ``int``, ``float``, ``str``, ``bool``, ``None``, ``Any``,
            ``Sequence[...]``, ``tuple[..., ...]``, ``Mapping[str, ...]``, a union of these, or
            ``Annotated`` with :class:`Bounds`, :class:`Arguments` or as :data:`Figure`.
        data: of JSON.
        where: what is read, for messages.

    Raises:
        SchemaError: at the first value that is not as expected.
    """
    return _read(kind, data, where, ())


def _read(kind: Any, data: Any, where: str, notes: tuple[Any, ...]) -> Any:
    origin, arms = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _read(arms[0], data, where, arms[1:])
    for note in notes:
        if isinstance(note, Arguments):
            known = _named(note.of)
            given = _values(known, data, where, note.whole, note.but)
            if strange := sorted(data.keys() - given.keys()):
                raise SchemaError(f"{where} has {strange[0][:_SAID]!r}, which is not known")
            return data
    if kind is Any:
        return data
    if isinstance(kind, type) and is_dataclass(kind):
        values = _values(_named(kind), data, where)
        try:
            return kind(**values)
        except SycamError as error:
            raise SchemaError(f"{where or 'it'}: {error}") from None
    if origin in (typing.Union, types.UnionType):
        return _one_of(arms, data, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        _expect(isinstance(data, dict), "an object", data, where)
        return {k: _read(arms[1], v, _at(where, k), ()) for k, v in data.items()}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        _expect(isinstance(data, list), "a list", data, where)
        _check_bounds(len(data), notes, where, " entries")
        if arms[0] is Any:
            return tuple(data)
        return tuple(_read(arms[0], v, _at(where, place), ()) for place, v in enumerate(data))
    return _plain(kind, data, where, notes)


def _values(
    known: Mapping[str, tuple[Any, bool]],
    data: Any,
    where: str,
    whole: bool = False,
    but: Sequence[str] = (),
) -> dict[str, Any]:
    """Those of an object's values whose names and types are known; whole: all of them, but for
    those that may be absent."""
    _expect(isinstance(data, dict), "an object", data, where)
    found = {}
    for name, (inner, required) in known.items():
        if name in data:
            found[name] = _read(inner, data[name], _at(where, name), ())
        elif required or (whole and name not in but):
            raise SchemaError(f"{where or 'it'} lacks {name!r}")
    return found


@cache
def _named(kind: Callable[..., Any]) -> dict[str, tuple[Any, bool]]:
    """What is given by name, with its type and whether it must be given."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {
        name: (hints[name], one.default is inspect.Parameter.empty)
        for name, one in inspect.signature(kind).parameters.items()
    }


def _at(where: str, key: str | int) -> str:
    return f"{where}.{str(key)[:_SAID]}" if where else str(key)[:_SAID]


def _one_of(arms: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in arms:
        return None
    arms = tuple(arm for arm in arms if arm is not type(None))
    for arm in arms[:-1]:
        try:
            return _read(arm, data, where, ())
        except SchemaError:
            continue
    # The last says what is wrong, which is all that there is to say of an optional value.
    return _read(arms[-1], data, where, ())


def _plain(kind: Any, data: Any, where: str, notes: tuple[Any, ...]) -> Any:
    number = isinstance(data, int | float) and not isinstance(data, bool)
    if kind is float:
        if data is None and any(isinstance(note, _Undefined) for note in notes):
            return math.nan
        _expect(number, "a number", data, where)
    elif kind is int:
        _expect(number and isinstance(data, int), "a whole number", data, where)
    elif kind is bool:
        _expect(isinstance(data, bool), "true or false", data, where)
    elif kind is str or (isinstance(kind, type) and issubclass(kind, PurePath)):
        _expect(isinstance(data, str), "a text", data, where)
    else:
        _expect(kind is type(None) and data is None, "null", data, where)
    if number:
        _check_bounds(data, notes, where)
    return data


def _check_bounds(number: float, notes: tuple[Any, ...], where: str, what: str = "") -> None:
    within = next((note for note in notes if isinstance(note, Bounds)), None)
    if within is None and (what or isinstance(number, float)):
        return
    within = within or _WITHIN
    if not within.least <= number <= within.most:
        said = str(number)[:_SAID]
        raise SchemaError(
            f"{where or 'it'} has {said}{what}; expected {within.least} to {within.most}"
        )


def _expect(good: bool, expected: str, data: Any, where: str) -> None:
    if not good:
        try:
            said = json.dumps(data)
        except (ValueError, RecursionError):
            said = type(data).__name__
        said = said if len(said) <= _SAID else f"{said[:_SAID]} …"
        raise SchemaError(f"{where or 'it'} is {said}; expected {expected}")
