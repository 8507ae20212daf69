"""Several runs on a terminal: a folder's list, and runs side by side."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from sycam.report.formula_table import wrapped
from sycam.report.front_tables import p_text
from sycam.report.plain_table import plain_table
from sycam.runs.summary import FINISHED, RunComparison, RunSummary
from sycam.support.text.shortening import apart
from sycam.support.text.terminal import printable, shown

_LONGEST = 60  # characters of a setting's value
_BREAKS = re.compile(r"(?<=[ ,])(?=\S)|(?<=[.:=_/&-])(?=[A-Za-z])")
_OF_METRIC = ("settings.metrics", "settings.metric_options.", "settings.needs_masks")
_LEAST = 16  # columns that names and winners get in a list, however narrow the console
_ENDLESS = 10_000  # columns
_FRAME = 7  # columns around and between three columns


def runs_table(runs: Sequence[RunSummary]) -> RenderableType:
    """What was searched in each run, its winner, and its lead on held-out images: a line per run,
    or two where the console is narrow."""
    return _Runs(runs)


class _Runs:
    """Never breaks a name: one that is too long for any layout loses its middle, and stands in full
    below."""

    def __init__(self, runs: Sequence[RunSummary]):
        self._runs = runs

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = self._wide()
        if wide.__rich_measure__(console, options.update(width=_ENDLESS)).maximum <= (
            options.max_width
        ):
            yield wide
            return
        yield from self._narrow(options.max_width)

    def _wide(self) -> Table:
        table = _table("run", "network", "metric", "images", "winner", "gain, p", "made")
        for one in self._runs:
            table.add_row(
                shown(_name(one)) + _state(one),
                shown(one.network or ""),
                shown(one.metric or ""),
                _images(one),
                shown(_found(one)),
                _gain(one),
                shown(one.created[:10]),
            )
        return table

    def _narrow(self, width: int) -> Iterator[RenderableType]:
        runs = self._runs
        figures = max([cell_len("images, made"), *(cell_len(_gain(one)) for one in runs)])
        figures = max([figures, *(cell_len(_images(one)) + 12 for one in runs)])
        room = max(2 * _LEAST, width - figures - _FRAME)
        names = [(_name(one), 1 + len(one.state) if one.state != FINISHED else 0) for one in runs]
        first = max([*(cell_len(n) + more for n, more in names),
                     *(cell_len(one.network or "") for one in runs)])  # fmt: skip
        first = max(_LEAST, min(first, room - _LEAST))
        firsts = apart({n: first - more for n, more in names})
        firsts |= apart(dict.fromkeys((one.network or "" for one in runs), first))
        seconds = apart(dict.fromkeys(map(_found, runs), room - first))
        seconds |= apart(dict.fromkeys((one.metric or "" for one in runs), room - first))
        table = _table("run\nnetwork", "winner\nmetric", "gain, p\nimages, made")
        for one in runs:
            table.add_row(
                shown(firsts[_name(one)]) + _state(one), shown(seconds[_found(one)]), _gain(one)
            )
            table.add_row(
                shown(firsts[one.network or ""]),
                shown(seconds[one.metric or ""]),
                f"{_images(one)}  {shown(one.created[:10])}".strip(),
                style="dim",
            )
        yield table
        for text, short in (firsts | seconds).items():
            if short != text:
                for line in wrapped(f"{short} = {text}", width, "    "):
                    yield Text(line, style="dim", overflow="fold")


def _table(*columns: str) -> Table:
    table = plain_table(
        caption="gain: the winner less the published CAM that the search images choose, on the "
        "held-out images, positive favours the winner; p: Holm-corrected"
    )
    table.padding = (0, 1, 0, 0)
    for name in columns:
        table.add_column(name, no_wrap=True)
    return table


def _name(one: RunSummary) -> str:
    return Path(one.folder).resolve().name


def _images(one: RunSummary) -> str:
    return "" if one.search_images is None else f"{one.search_images}+{one.heldout_images}"


def _found(one: RunSummary) -> str:
    return one.known_as or _winner(one)


def comparison_tables(compared: RunComparison) -> RenderableType:
    """The settings that differ, and the outcomes, a column per run."""
    runs = compared.runs
    names = [f"{place}" for place in range(1, len(runs) + 1)]
    parts: list[RenderableType] = [
        f"[bold]{name}[/]  {shown(one.folder)}" + _state(one)
        for name, one in zip(names, runs, strict=True)
    ]
    rows = [(n, [_value(n, v) for v in row]) for n, row in _telling(compared.differing)]
    if rows:
        parts.append(_SideBySide("Settings that differ", names, rows))
    else:
        parts.append("All settings are the same.")
    outcome = [
        ("winner", [_winner(one) for one in runs]),
        ("search images", [_figure(one.score) for one in runs]),
        ("held out [95 %]", [_interval(one) for one in runs]),
        ("published rival", [one.rival or "" for one in runs]),
        ("gain, p", [_gain(one) for one in runs]),
    ]
    parts.append(_SideBySide("Outcome", names, outcome))
    parts.append(_agreement(compared))
    if not compared.same_figures:
        parts.append(
            "Held-out figures are of other metrics or images: compare what each run says of its "
            "rivals, not the figures themselves."
        )
    return Group(*parts)


def _telling(differing: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, Sequence[Any]]]:
    """Without what follows from another difference: metrics by name say what their options are."""
    named = "settings.metric" in differing
    for name, row in differing.items():
        if not (named and name.startswith(_OF_METRIC)):
            yield name, row


class _SideBySide:
    """A column per run, as wide as the console at most; what is longer goes on in further lines,
    from between words.

    Args:
        title: of the table.
        names: of the runs.
        rows: what they are compared in, with a cell per run.
    """

    def __init__(self, title: str, names: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]):
        self._title, self._names, self._rows = title, names, rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        count = len(self._names)
        room = options.max_width - 3 * count - 4
        first = min(max(cell_len(name) for name, _ in self._rows), max(_LEAST, 2 * room // 5))
        each = max(8, (room - first) // count)
        table = plain_table(title=self._title)
        for name in ("", *self._names):
            table.add_column(name, no_wrap=True)
        for name, cells in self._rows:
            lines = [_in_lines(name, first), *(_in_lines(cell, each) for cell in cells)]
            table.add_row(*(shown(text, lines=True) for text in lines))
        yield table


def _in_lines(text: str, width: int) -> str:
    """In so many columns, broken behind spaces and marks."""
    lines = [""]
    for word in _BREAKS.split(printable(text)):
        if lines[-1] and cell_len(lines[-1]) + cell_len(word.rstrip()) > width:
            lines.append("")
        while cell_len(word.rstrip()) > width:  # one word that is longer than all the room
            lines[-1], word = word[:width], word[width:]
            lines.append("")
        lines[-1] += word
    return "\n".join(line.rstrip() for line in lines)


def _agreement(compared: RunComparison) -> str:
    """How many of the runs chose the same formula."""
    count = len(compared.runs)
    if not compared.winners:
        return "No run has a winner."
    formula, most = compared.winners[0]
    if most == count:
        return f"{'Both' if count == 2 else f'All {count}'} runs choose {shown(formula)}."
    if most == 1:
        return f"The {count} runs choose different formulas."
    return f"{most} of {count} runs choose {shown(formula)}."


def _winner(one: RunSummary) -> str:
    if one.winner is None:
        return "" if one.candidates is None else "none"
    return one.winner + (f" = {one.known_as}" if one.known_as else "")


def _gain(one: RunSummary) -> str:
    if one.gain is None or one.p is None:
        return "published" if one.known_as else ""
    return f"{one.gain.mean:+.4f}, {p_text(one.p)}"


def _state(one: RunSummary) -> str:
    return "" if one.state == FINISHED else f" [bold yellow]{one.state}[/]"


def _interval(one: RunSummary) -> str:
    found = one.heldout
    return (
        ""
        if found is None
        else f"{found.mean:.4f} [{found.low:.3f},\N{NO-BREAK SPACE}{found.high:.3f}]"
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _value(name: str, value: Any) -> str:
    if name.endswith("digest"):  # enough of it to tell two apart
        return str(value or "")[:8]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
