"""The table that all lists, results and progress on a terminal are printed in."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table


def plain_table(title: str | None = None, caption: str | None = None) -> Table:
    """An empty table with a line under its head only, title and caption at the left."""
    return Table(
        title=title,
        caption=caption,
        box=SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
    )
