"""Text that others wrote, made safe where it is printed.

Names of files, formulas, metrics and grammars may hold characters that a terminal obeys: escape
sequences, line ends that forge another line, marks that turn the order of letters round.
"""

from __future__ import annotations

import json
import re
from typing import Any

from rich.console import Console
from rich.markup import escape

# Controls (C0, DEL, C1), the soft hyphen, marks of direction and other invisible ones, line and
# paragraph separators, surrogates, tags. Joiners (U+200C, U+200D) stay: scripts and emoji need
# them.
_OBEYED = (
    r"\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    r"\ufff9-\ufffb\U000e0000-\U000e007f"
)
_FIELD = re.compile(rf"[\x00-\x1f{_OBEYED}]")
_LINES = re.compile(rf"[\x00-\x08\x0b-\x1f{_OBEYED}]")


def printable(value: object, lines: bool = False) -> str:
    """The text with every character that a terminal would obey written as ``\\uXXXX``.

    Args:
        value: its ``str`` is taken.
        lines: leave ends of lines and tabs as they are.

    >>> printable("road\\x1b[2J\\nVerified.")
    'road\\\\u001b[2J\\\\u000aVerified.'
    """
    return (_LINES if lines else _FIELD).sub(_code, str(value))


def shown(value: object, lines: bool = False) -> str:
    """:func:`printable` for rich, whose markup in it is shown as it stands."""
    return escape(printable(value, lines))


def open_console(stderr: bool = False) -> Console:
    """Where tables and messages are printed; numbers and codes like ``:name:`` stay as they are."""
    return Console(stderr=stderr, highlight=False, emoji=False)


def json_text(value: Any, **options: Any) -> str:
    """``json.dumps`` that also escapes what :func:`printable` does, and stays the same data.

    Args:
        value: plain data.
        options: of ``json.dumps``; ``ensure_ascii=False`` leaves letters as they are, for files.
    """
    return _LINES.sub(_json_code, json.dumps(value, **options))


def _code(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _json_code(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]  # beyond the first plane a pair
