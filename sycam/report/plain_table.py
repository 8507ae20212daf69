"""The table that all lists, results and progress on a terminal are printed in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from sycam.support.text.terminal import shown


def plain_table(title: str | None = None, caption: str | None = None) -> Table:
    """An empty table with a line under its head only, title and caption at the left."""
    return Table(
        title=title,
        caption=caption,
        box=SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
    )


def text_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of texts as they stand, whose first column names its rows; others are figures."""
    table = plain_table(shown(title))
    for place, name in enumerate(head):
        table.add_column(name, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(shown, row))
    return table
