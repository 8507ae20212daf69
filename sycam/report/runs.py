"""Several runs on a terminal: a folder's list, and runs side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType

from sycam.report.front_tables import p_text
from sycam.report.plain_table import plain_table
from sycam.runs.summary import FINISHED, RunComparison, RunSummary
from sycam.support.terminal import shown

_LONGEST = 60  # characters of a setting's value


def runs_table(runs: Sequence[RunSummary]) -> RenderableType:
    """A line per run: what was searched, its winner, and its lead on held-out images."""
    table = plain_table(
        caption="gain: the winner less the published CAM that the search images choose, on the "
        "held-out images, positive favours the winner; p: Holm-corrected"
    )
    table.padding = (0, 1, 0, 0)  # seven columns into 80 characters
    table.add_column("run", overflow="fold", min_width=12)
    table.add_column("network", overflow="fold")
    table.add_column("metric", overflow="fold")
    table.add_column("images", no_wrap=True)
    table.add_column("winner", overflow="fold", min_width=12)
    table.add_column("gain, p", no_wrap=True)
    table.add_column("made", no_wrap=True)
    for one in runs:
        images = "" if one.search_images is None else f"{one.search_images}+{one.heldout_images}"
        table.add_row(
            shown(Path(one.folder).resolve().name) + _state(one),
            shown(one.network or ""),
            shown(one.metric or ""),
            images,
            shown(one.known_as or _winner(one)),
            _gain(one),
            shown(one.created[:10]),
        )
    return table


def comparison_tables(compared: RunComparison) -> RenderableType:
    """The settings that differ, and the outcomes, a column per run."""
    runs = compared.runs
    names = [f"{place}" for place in range(1, len(runs) + 1)]
    parts: list[RenderableType] = [
        f"[bold]{name}[/]  {shown(one.folder)}" + _state(one)
        for name, one in zip(names, runs, strict=True)
    ]
    rows = [(name, [_value(name, v) for v in row]) for name, row in compared.differing.items()]
    parts.append(_side_by_side("Settings that differ", names, rows))
    if not rows:
        parts.append("All settings are the same.")
    outcome = [
        ("winner", [_winner(one) for one in runs]),
        ("search images", [_figure(one.score) for one in runs]),
        ("held out [95 %]", [_interval(one) for one in runs]),
        ("published rival", [one.rival or "" for one in runs]),
        ("gain, p", [_gain(one) for one in runs]),
    ]
    parts.append(_side_by_side("Outcome", names, outcome))
    parts.append(_agreement(compared))
    if not compared.same_figures:
        parts.append(
            "Held-out figures are of other metrics or images: compare what each run says of its "
            "rivals, not the figures themselves."
        )
    return Group(*parts)


def _side_by_side(
    title: str, names: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]
) -> RenderableType:
    table = plain_table(title=title)
    table.add_column("", overflow="fold")
    for name in names:
        table.add_column(name, overflow="fold")
    for name, cells in rows:
        table.add_row(shown(name), *map(shown, cells))
    return table if rows else ""


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
    return "" if found is None else f"{found.mean:.4f} [{found.low:.3f}, {found.high:.3f}]"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _value(name: str, value: Any) -> str:
    if name.endswith("digest"):  # enough of it to tell two apart
        return str(value or "")[:8]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
