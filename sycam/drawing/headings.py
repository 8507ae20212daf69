"""Long texts over pictures: on several lines, or without their middle."""

from __future__ import annotations

import re
from collections.abc import Sequence

PER_INCH = 13  # characters of a title, about
_SLACK = 3  # characters by which a line may be too long rather than break within a word


def in_lines(name: str, width: int = 26) -> str:
    """A long text on several lines of about one length, broken after spaces, of which none before
    an operator; of a word that is longer than a line, after an opening bracket, a comma or the @
    before a layer; of a layer's name that is, before its dots.

    >>> print(in_lines("cam[features.5](G) + cam[features.1](smooth(G))"))
    cam[features.5](G) +
    cam[features.1](smooth(G))
    """
    longest = width + _SLACK
    words = [
        [part for piece in _pieces(word, r"(?<=[(,@])", longest)
         for part in _pieces(piece, r"(?=[.](?=[^0-9]))", longest)]
        for word in re.split(r" (?![-+*/] )", name)
    ]  # fmt: skip
    fewest = len(_filled(words, width))
    # Not filled to the full width: the last line would be a scrap.
    return "\n".join(next(f for w in range(1, width + 1) if len(f := _filled(words, w)) <= fewest))


def _pieces(text: str, at: str, longest: int) -> list[str]:
    return re.split(at, text) if len(text) >= longest else [text]


def _filled(words: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lines that are shorter than a width where that can be, of words in their pieces."""
    lines = [""]
    for pieces in words:
        for piece, gap in zip(pieces, (" ", *("" for _ in pieces[1:])), strict=True):
            if lines[-1] and len(lines[-1]) + len(piece) >= width:
                lines.append("")
                gap = ""
            lines[-1] += (gap if lines[-1] else "") + piece
    return lines


def shortened(text: str, length: int) -> str:
    """A long text without its middle: ends tell names of files and formulas apart."""
    if len(text) <= length:
        return text
    kept = length - 1
    return f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"
