"""Values of options as text: ``20``, ``0.5``, ``true``, ``none``, ``plateau``, ``20+40+60``."""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from collections.abc import Collection, Iterable, Sequence
from numbers import Integral, Real

from sycam.errors import OptionError

_NUMBER = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]-?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*(?:-[A-Za-z][A-Za-z0-9_.]*)*")
_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
_TRUTH = {"true": True, "false": False}
_WORDS = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a word",
    type(None): "none",
}


class _MisfitError(Exception):
    """Text that is no value of a type."""


def written(value: object, kind: object = inspect.Parameter.empty) -> str:
    """A value as :func:`read_option` reads it.

    Args:
        value: of an option.
        kind: the option's type; without one, the text says what of it is several.

    >>> written((50.0,)), written((50.0,), Sequence[float]), written((30.0, 70.0))
    ('50+', '50', '30+70')
    """
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return repr(float(value)).removesuffix(".0").replace("e+", "e")
    if isinstance(value, str):
        return quoted(value) if value.lower() in ("none", *_TRUTH) else bare_or_quoted(value, _WORD)
    if isinstance(value, Iterable):
        items = [written(item) for item in value]
        # The sign at the end tells a list of one from what it holds, where it may be either.
        return "+".join(items) + ("+" if len(items) == 1 and _list_of(kind) is None else "")
    return bare_or_quoted(str(value), _WORD)


def bare_or_quoted(text: str, plain: re.Pattern) -> str:
    """The text, in quotation marks where it is not plain."""
    return text if plain.fullmatch(text) else quoted(text)


def quoted(text: str) -> str:
    """The text in quotation marks that it does not hold."""
    return f'"{text}"' if "'" in text else f"'{text}'"


def unquoted(text: str) -> str:
    """The text without the quotation marks around it."""
    return text[1:-1] if _QUOTED.fullmatch(text) else text


def split(text: str, sign: str) -> list[str]:
    """The parts between a sign, which counts for nothing inside quotation marks."""
    return re.findall(rf"(?:{_QUOTED.pattern}|[^{sign}])+", text)


def read_option(name: str, text: str, parameter: inspect.Parameter) -> object:
    """The value that ``text`` gives an option.

    Args:
        name: of the option, for the message.
        text: e.g. ``"20+40+60"``.
        parameter: the option with its type; without one, the text decides.

    Raises:
        OptionError: the text is no value of the option's type.
    """
    try:
        return _fitted(text, parameter.annotation)
    except _MisfitError:
        hint = "; a + between metrics needs spaces around it" if "+" in text else ""
        raise OptionError(
            f"option {name}={text} is not understood; expected "
            f"{expectation(parameter.annotation)}{hint}"
        ) from None


def _fitted(text: str, kind: object) -> object:
    origin, arms = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        # A word is any text, so that it comes last.
        for arm in sorted(arms, key=lambda arm: arm is str):
            try:
                return _fitted(text, arm)
            except _MisfitError:
                continue
        raise _MisfitError
    if origin is typing.Literal:
        values = [value for value in arms if written(value) == text]
        return values[0] if values else _misfit()
    held = _list_of(kind)
    if held is not None:
        return _several(text, held, arms)
    if kind in _WORDS:
        return _one(text, kind)
    if isinstance(kind, type) and kind is not inspect.Parameter.empty:
        raise _MisfitError  # nothing that text can say
    return _guess(text)


def _list_of(kind: object) -> type | None:
    """The kind of list that a type is; None if it is none, or may be something else, too."""
    held = typing.get_origin(kind) or kind
    if isinstance(held, type) and issubclass(held, Collection) and held is not str:
        return held
    return None


def _several(text: str, held: type, arms: tuple) -> object:
    parts = split(text, "+")
    kinds: Sequence[typing.Any] = [arms[0] if arms else inspect.Parameter.empty] * len(parts)
    if held is tuple and arms and arms[-1] is not Ellipsis:
        if len(arms) != len(parts):
            raise _MisfitError
        kinds = arms
    return tuple(_fitted(part, kind) for part, kind in zip(parts, kinds, strict=True))


def _one(text: str, kind: type) -> object:
    if kind is str:
        if not (_WORD.fullmatch(text) or _QUOTED.fullmatch(text)):
            raise _MisfitError
        return unquoted(text)
    if kind is bool:
        return _TRUTH[text.lower()] if text.lower() in _TRUTH else _misfit()
    if kind is type(None):
        return None if text.lower() == "none" else _misfit()
    if not _NUMBER.fullmatch(text):
        raise _MisfitError
    try:
        number = kind(text)
    except ValueError:  # 0.5 is no whole number
        raise _MisfitError from None
    return number if kind is int or math.isfinite(number) else _misfit()


def _guess(text: str) -> object:
    """The value of text whose type nothing says."""
    if len(split(text, "+")) > 1 or text.endswith("+"):
        return _several(text, tuple, ())
    for kind in (type(None), bool, int, float, str):
        try:
            return _one(text, kind)
        except _MisfitError:
            continue
    raise _MisfitError


def _misfit() -> typing.NoReturn:
    raise _MisfitError


def expectation(kind: object) -> str:
    """A type in words."""
    origin, arms = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(expectation, arms))
    if origin is typing.Literal:
        return " or ".join(map(written, arms))
    if _list_of(kind) is not None:
        return f"{expectation(arms[0]) if arms else 'a value'}, or several joined by +"
    return _WORDS.get(kind, "a value that only Python can give")
