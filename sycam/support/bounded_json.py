"""JSON of unknown origin, read within bounds of size, depth, text and numbers."""

from __future__ import annotations

import json
import math
import typing
from pathlib import Path
from typing import Any

from sycam.support.files import read_plain

DEEPEST = 32  # levels of objects and lists in each other
LONGEST = 1_000_000  # characters of one text: a grammar, the longest, has some thousand
_SAID = 80  # characters of a value in a message


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
