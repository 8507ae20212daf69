"""What a result prints, as plain data that is laid out for whichever console prints it.

Nothing here imports torch: whoever asks a finished run again does not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.errors import ConsoleError, StyleError
from rich.segment import Segment, Segments
from rich.text import Text

from sycam.report.formula_table import FormulaTable, TableText, wrapped
from sycam.support.text.terminal import printable

_LABEL = len("Winner   ")


@dataclass(frozen=True)
class Words:
    """A line in rich's markup, which wraps between words."""

    words: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield console.render_str(self.words)


@dataclass(frozen=True)
class Formulas:
    """A line of words and formulas without markup, which wraps between names.

    Attributes:
        formulas: behind a label of nine columns.
        style: of what follows the label.
    """

    formulas: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = wrapped(printable(self.formulas), options.max_width, " " * _LABEL)
        for i, line in enumerate(lines):
            said = Text(line, no_wrap=True, overflow="ignore")
            if self.style:
                said.stylize(self.style, _LABEL if i == 0 else 0)
            yield said


@dataclass(frozen=True)
class ForCopying:
    """A line without markup that a terminal breaks where it must, so that it is copied whole."""

    copied: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(printable(self.copied), overflow="fold")


Part = TableText | Words | Formulas | ForCopying
Page = tuple[Part, ...]


def page_of(printed: RenderableType) -> Page:
    """What is printed, as plain data.

    Args:
        printed: groups of markup, of the lines above and of tables with formulas.
    """
    return tuple(_part(one) for one in flat(printed))


def flat(printed: RenderableType) -> Iterator[RenderableType]:
    """What a group holds, whatever groups are in it."""
    if isinstance(printed, Group):
        for one in printed.renderables:
            yield from flat(one)
    else:
        yield printed


def _part(one: RenderableType) -> Part:
    if isinstance(one, str):
        return Words(one)
    if isinstance(one, FormulaTable):
        return one.plain
    if isinstance(one, Words | Formulas | ForCopying):
        return one
    raise TypeError(f"{type(one).__name__} is not kept")


def laid_out(page: Sequence[Part], console: Console, *, wrap: bool = True) -> Segments | None:
    """The page as this console prints it; None where it holds what no result prints, as a file from
    elsewhere may.

    Args:
        page: as it was kept.
        console: that prints it.
        wrap: whether lines are wrapped to its width.
    """
    parts = [FormulaTable.of(one) if isinstance(one, TableText) else one for one in page]
    options = console.options
    if not wrap:
        options = options.update(no_wrap=True, overflow="ignore")
    try:
        segments = [s for s in console.render(Group(*parts), options) if not s.control]
    except (ConsoleError, StyleError):
        return None
    if any(s.style is not None and s.style.link for s in segments):
        return None
    return Segments([Segment(printable(s.text, lines=True), s.style) for s in segments])
