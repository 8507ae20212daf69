"""Tables with a column of formulas, which are shortened from the middle where there is no room."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from sycam.report.plain_table import plain_table
from sycam.support.schema import Bounds
from sycam.support.text.shortening import PARTS, apart
from sycam.support.text.terminal import printable, shown

_PROSE = re.compile(
    r"(?<=\s)\([\w.+-]+|" + PARTS.pattern, re.DOTALL
)  # a bracket stays with its word
_TITLE = re.compile(r"[^\s:=-]+[:=-]?(?:\s+[↑↓])?\s*|.", re.DOTALL)
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
        tight, groups, room = self._layout(options.max_width)
        widths: dict[str, int] = {}
        for formula, mark, *_ in self._rows:
            text = _without_echo(formula, mark, room)
            widths[text] = min(room - cell_len(mark), widths.get(text, room))
        shorts, like = apart(widths), self._table
        short_of = {
            (formula, mark): shorts[_without_echo(formula, mark, room)]
            for formula, mark, *_ in self._rows
        }
        for number, group in enumerate(groups):
            if number:
                yield ""
            title = None if number else like.title
            caption = like.caption if number == len(groups) - 1 else None
            yield self._filled(self._empty(tight, title, caption), group, short_of)
        if self._below:
            for formula, short in shorts.items():
                if short == formula:
                    continue
                for line in wrapped(f"{short} = {formula}", options.max_width, "    "):
                    yield Text(line, style="dim", overflow="fold")
        if tight or self._table.caption:  # else the edge of the table stands there
            yield ""

    def _layout(self, width: int) -> tuple[bool, list[list[tuple[int, str]]], int]:
        """Whether gaps are narrow, which columns stand beside each other by their places and
        titles, in one table or in several, and the room of formulas."""
        count = len(self._table.columns)
        longest = max((cell_len(name + mark) for name, mark, _, _ in self._rows), default=0)
        titles = [str(column.header) for column in self._table.columns]
        wide = self._widths(titles)
        room = width - sum(wide) - 3 * count - 4
        if longest <= room:
            return False, [list(enumerate(titles))], room
        # Narrow gaps come before shortened formulas, and so do titles of two lines.
        room = width - sum(wide) - 2 * count
        if longest <= room:
            return True, [list(enumerate(titles))], room
        folds = [_folded(title, cells) for title, cells in zip(titles, self._cells(), strict=True)]
        narrow = self._widths(folds)
        room = width - sum(narrow) - 2 * count
        if room >= _LEAST:
            return True, [list(enumerate(folds))], room
        # Figures are never cut.
        groups = _groups([2 + columns for columns in narrow], width - _LEAST)
        room = width - max(sum(2 + narrow[i] for i in group) for group in groups)
        room = max(_LEAST, min(room, longest))
        heads = [
            [(i, (titles if sum(2 + wide[j] for j in group) + room <= width else folds)[i])
             for i in group]
            for group in groups
        ]  # fmt: skip
        return True, heads, room

    def whole(self) -> Table:
        """The table with all formulas in full, however wide it gets."""
        like = self._table
        heads = [(i, str(column.header)) for i, column in enumerate(like.columns)]
        return self._filled(self._empty(False, like.title, like.caption), heads)

    def _cells(self) -> list[list[str]]:
        """Of each column but that of the formulas, in markup."""
        return [[row[2][i] for row in self._rows] for i in range(len(self._table.columns))]

    def _widths(self, heads: Sequence[str]) -> list[int]:
        """Of the columns but that of the formulas, under such titles."""
        return [
            max(_width(text) for text in (head, *cells))
            for head, cells in zip(heads, self._cells(), strict=True)
        ]

    def _filled(
        self,
        table: Table,
        heads: Sequence[tuple[int, str]],
        short_of: Mapping[tuple[str, str], str] | None = None,
    ) -> Table:
        """With some columns by their places and titles, and all rows; formulas as they are
        shortened, if they are."""
        if self._first:
            table.add_column(self._title, no_wrap=True, vertical="bottom")
        for place, head in heads:
            like = self._table.columns[place]
            table.add_column(head, justify=like.justify, no_wrap=True, vertical="bottom")
        if not self._first:
            table.add_column(self._title, no_wrap=True, vertical="bottom")
        for formula, mark, cells, style in self._rows:
            name = Text(formula if short_of is None else short_of[formula, mark]).append(
                mark, style="dim" if style is None else ""
            )
            figures = [cells[place] for place, _ in heads]
            row: list[RenderableType] = [name, *figures] if self._first else [*figures, name]
            table.add_row(*row, style=style)
        return table

    def _empty(self, tight: bool, title: str | Text | None, caption: str | Text | None) -> Table:
        """Without columns; with narrow gaps and no margin if `tight`."""
        like = self._table
        return Table(
            title=title,
            caption=caption,
            box=like.box,
            title_justify=like.title_justify,
            caption_justify=like.caption_justify,
            show_edge=not tight,
            pad_edge=not tight,
            padding=(0, 1, 0, 0) if tight else (0, 1),
        )


def text_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> FormulaTable:
    """A table of texts as they stand, whose first column names its rows; others are figures."""
    table = plain_table(shown(title))
    for name in head[1:]:
        table.add_column(name, justify="right")
    listed = FormulaTable(table, head[0], first=True)
    for name, *figures in rows:
        listed.add_row(name, *map(shown, figures))
    return listed


def _width(markup: str) -> int:
    """Columns of the longest line."""
    return max(cell_len(line) for line in Text.from_markup(markup).plain.split("\n"))


def _folded(head: str, cells: Sequence[str]) -> str:
    """A title in two lines, where that makes its column narrower."""
    words = _TITLE.findall(head)
    least = max((_width(text) for text in cells), default=0)
    folds = [("".join(words[:i]).strip(), "".join(words[i:]).strip()) for i in range(len(words))]
    return "\n".join(min(folds, key=lambda lines: max(least, *map(_width, lines)))).strip()


def _without_echo(formula: str, mark: str, room: int) -> str:
    """A method's name, where there is no room for it without the beginning that the mark behind it
    says as well: ``blurred-hirescam blurred``."""
    if not mark or cell_len(formula + mark) <= room:
        return formula
    return formula.removeprefix(f"{mark.strip()}-")


def _groups(widths: Sequence[int], most: int) -> list[list[int]]:
    """Places of columns that stand beside each other, in several tables if they must."""
    groups: list[list[int]] = [[]]
    for place, width in enumerate(widths):
        if groups[-1] and sum(widths[i] for i in groups[-1]) + width > most:
            groups.append([])
        groups[-1].append(place)
    return groups


def wrapped(text: str, width: int, indent: str = "") -> Sequence[str]:
    """Lines of a text with formulas, which end between words, within a formula between names; a
    name that is wider stays whole.

    Args:
        text: in words and formulas.
        width: of the console.
        indent: of the lines after the first.
    """
    lines, line = [], ""
    for part in _pieces(text, width - len(indent)):
        if line.strip() and cell_len(line) + cell_len(part.rstrip()) > width:
            lines.append(line.rstrip())
            line = indent + part.lstrip()
        else:
            line += part
    return [*lines, line.rstrip()]


def _pieces(text: str, width: int) -> Iterator[str]:
    """What is not broken: words, formulas that fit into a line, and the names of those that do
    not."""
    depth, start = 0, 0
    for place, character in enumerate([*text, " "]):
        depth = max(0, depth + (character in "([{") - (character in ")]}"))
        if place == len(text) or (character == " " and not depth):
            word = text[start : place + 1]
            yield from [word] if cell_len(word.rstrip()) <= width else _PROSE.findall(word)
            start = place + 1
