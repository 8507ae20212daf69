"""What Python shows of a result: all that the command prints at its end, as text and as HTML."""

from __future__ import annotations

import io
from collections.abc import Iterable
from html import escape

from rich.console import Console, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from sycam.report.formula_table import FormulaTable
from sycam.report.keeping import where_kept
from sycam.report.printed import flat
from sycam.report.tables import result_tables
from sycam.runs.result import Result
from sycam.support.text.html_table import html_table

_STYLE = "white-space: pre; overflow-x: auto; line-height: normal"  # of what is set by columns


def text(result: Result) -> str:
    """Tables, verdict, warnings and the run's folder, as wide as the terminal."""
    console = _console()
    console.print(result_tables(result))
    for line in ("", *where_kept(result)):
        console.print(line, soft_wrap=True)
    return console.file.getvalue().strip("\n")


def html(result: Result) -> str:
    """The same for a notebook, with tables that it sets itself."""
    parts = [*flat(result_tables(result)), *where_kept(result)]
    return f'<div class="sycam-result">{"".join(map(_html, parts))}</div>'


def _console(width: int | None = None) -> Console:
    """Plain text into memory."""
    return Console(
        file=io.StringIO(), width=width, no_color=True, force_terminal=False, force_jupyter=False,
        highlight=False, emoji=False,
    )  # fmt: skip


def _html(part: RenderableType) -> str:
    """A table as one, text with what is bold in it; all else as a terminal shows it."""
    if isinstance(part, str):
        return f"<p>{_lines(part)}</p>" if part.strip() else ""
    if isinstance(part, FormulaTable):
        part = part.whole()
    if isinstance(part, RichTable):
        head = [_plain(column.header) for column in part.columns]
        cells: Iterable = zip(*(column.cells for column in part.columns), strict=True)
        rows = [[_plain(cell) for cell in row] for row in cells]
        below = f"<p><small>{_lines(str(part.caption))}</small></p>" if part.caption else ""
        return html_table(_plain(part.title or ""), head, rows) + below
    console = _console(100)
    console.print(part)
    return f'<pre style="{_STYLE}">{escape(console.file.getvalue())}</pre>'


def _lines(markup: str) -> str:
    """Text with its bold words, a line of it a line."""
    read = Text.from_markup(markup.strip("\n"), emoji=False)
    bold = sorted((s.start, s.end) for s in read.spans if "bold" in str(s.style))
    pieces, at = [], 0
    for start, end in bold:
        pieces += [escape(read.plain[at:start]), f"<b>{escape(read.plain[start:end])}</b>"]
        at = end
    return "".join([*pieces, escape(read.plain[at:])]).replace("\n", "<br>")


def _plain(cell: RenderableType) -> str:
    if isinstance(cell, str):
        return Text.from_markup(cell, emoji=False).plain
    return cell.plain if isinstance(cell, Text) else str(cell)
