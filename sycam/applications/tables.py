"""A table of texts as lines of plain text."""

from __future__ import annotations

from collections.abc import Sequence

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]  # title, head, lines


def as_text(table: Table) -> str:
    """Title, head and lines, the first column to the left and figures to the right.

    >>> print(as_text(("Scores", ("method", "dice"), [("grad-cam", "0.5")])))
    Scores
    method    dice
    grad-cam   0.5
    """
    title, head, rows = table
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join((title, *(_line(row, widths) for row in (head, *rows))))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        text.rjust(width) if place else text.ljust(width)
        for place, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
