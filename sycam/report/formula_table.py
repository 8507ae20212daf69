"""Tables with a column of formulas, which are shortened from the middle where there is no room."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from sycam.report.plain_table import plain_table
from sycam.support.schema import Bounds
from sycam.support.text.shortening import PARTS, apart
from sycam.support.text.terminal import printable

_PROSE = re.compile(
    r"(?<=\s)\([\w.+-]+|" + PARTS.pattern, re.DOTALL
)  # a bracket stays with its word
_LEAST = 17  # columns that a formula and its mark get, however narrow the console


@dataclass(frozen=True)
class RowText:
    """A row of a :class:`FormulaTable`.

    Attributes:
        formula: as it is, without markup.
        cells: of the other columns, in markup.
        mark: what stands behind the formula, never shortened.
        style: of the row.
    """

    formula: str
    cells: tuple[str, ...]
    mark: str = ""
    style: str | None = None


@dataclass(frozen=True)
class TableText:
    """A :class:`FormulaTable` as plain data; its texts are in markup.

    Attributes:
        columns: title and ``"left"`` or ``"right"`` of each but that of the formulas.
        heading: of the column of formulas.
        rows: from above.
        title, caption: of the table.
        first: whether formulas come first, or last.
        below: whether the formulas that were shortened follow in full.
    """

    columns: tuple[Annotated[tuple[str, ...], Bounds(2, 2)], ...]
    heading: str
    rows: tuple[RowText, ...]
    title: str | None = None
    caption: str | None = None
    first: bool = False
    below: bool = True


class FormulaTable:
    """A table whose first or last column are formulas, no wider than the console if it can be.

    What is too long for the room that the other columns leave is shortened from the middle, between
    names, no two formulas alike, and stands in full below the table.

    Args:
        table: with all its columns but that of the formulas, and no rows.
        title: of the column of formulas.
        first: whether it comes first, or last.
        below: whether the formulas that were shortened follow in full.
    """

    def __init__(self, table: Table, title: str, *, first: bool = False, below: bool = True):
        self._table, self._title, self._first, self._below = table, title, first, below
        self._rows: list[tuple[str, str, list[str], str | None]] = []

    def add_row(self, formula: str, *cells: str, mark: str = "", style: str | None = None) -> None:
        """Add a row.

        Args:
            formula: as it is, without markup.
            cells: of the other columns, in markup.
            mark: what stands behind the formula, never shortened.
            style: of the row.
        """
        self._rows.append((printable(formula), mark and f" {mark}", list(cells), style))

    @property
    def plain(self) -> TableText:
        """All of it, however wide the console."""
        like = self._table
        return TableText(
            columns=tuple((str(c.header), c.justify) for c in like.columns),
            heading=self._title,
            rows=tuple(RowText(f, tuple(c), mark[1:], style) for f, mark, c, style in self._rows),
            title=None if like.title is None else str(like.title),
            caption=None if like.caption is None else str(like.caption),
            first=self._first,
            below=self._below,
        )

    @classmethod
    def of(cls, plain: TableText) -> FormulaTable:
        """The table that was made plain."""
        table = plain_table(plain.title, plain.caption)
        for title, justify in plain.columns:
            table.add_column(title, justify="left" if justify == "left" else "right")
        made = cls(table, plain.heading, first=plain.first, below=plain.below)
        count = len(plain.columns)
        for row in plain.rows:
            cells = [*row.cells, *[""] * count][:count]
            made.add_row(row.formula, *cells, mark=row.mark, style=row.style)
        return made

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        others, count = 0, len(self._table.columns)
        for i, column in enumerate(self._table.columns):
            texts = [str(column.header), *(cells[i] for _, _, cells, _ in self._rows)]
            others += max(Text.from_markup(text).cell_len for text in texts)
        longest = max((cell_len(name + mark) for name, mark, _, _ in self._rows), default=0)
        room, tight = options.max_width - others - 3 * count - 4, False
        if longest > room:  # narrow gaps come before shortened formulas
            room, tight = max(_LEAST, options.max_width - others - 2 * count), True
        widths: dict[str, int] = {}
        for formula, mark, *_ in self._rows:
            least = min(room - cell_len(mark), widths.get(formula, room))
            widths[formula] = least
        short_of = apart(widths)
        yield self._filled(self._empty(tight), short_of)
        if self._below:
            for formula, short in short_of.items():
                if short == formula:
                    continue
                for line in wrapped(f"{short} = {formula}", options.max_width, "    "):
                    yield Text(line, style="dim", overflow="fold")
        if tight or self._table.caption:  # else the edge of the table stands there
            yield ""

    def whole(self) -> Table:
        """The table with all formulas in full, however wide it gets."""
        return self._filled(self._empty(False))

    def _filled(self, table: Table, short_of: Mapping[str, str] | None = None) -> Table:
        """With all columns and rows; formulas as they are shortened, if they are."""
        if self._first:
            table.add_column(self._title, no_wrap=True)
        for column in self._table.columns:
            table.add_column(column.header, justify=column.justify, no_wrap=True)
        if not self._first:
            table.add_column(self._title, no_wrap=True)
        for formula, mark, cells, style in self._rows:
            name = Text(formula if short_of is None else short_of[formula]).append(
                mark, style="dim" if style is None else ""
            )
            row: list[RenderableType] = [name, *cells] if self._first else [*cells, name]
            table.add_row(*row, style=style)
        return table

    def _empty(self, tight: bool) -> Table:
        """Without columns; with narrow gaps and no margin if `tight`."""
        like = self._table
        return Table(
            title=like.title,
            caption=like.caption,
            box=like.box,
            title_justify=like.title_justify,
            caption_justify=like.caption_justify,
            show_edge=not tight,
            pad_edge=not tight,
            padding=(0, 1, 0, 0) if tight else (0, 1),
        )


def wrapped(text: str, width: int, indent: str = "") -> Sequence[str]:
    """Lines of a text with formulas, which end between names; one that is wider stays whole.

    Args:
        text: in words and formulas.
        width: of the console.
        indent: of the lines after the first.
    """
    lines, line = [], ""
    for part in _PROSE.findall(text):
        if line.strip() and cell_len(line) + cell_len(part) > width:
            lines.append(line.rstrip())
            line = indent + part.lstrip()
        else:
            line += part
    return [*lines, line.rstrip()]
