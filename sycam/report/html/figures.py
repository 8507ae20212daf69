"""The drawings of the page: what is placed where, in parts of the width or units of a viewBox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from sycam.drawing.axes import CONTROL, GRID, INK, KNOWN, MANY, OURS, ROUND
from sycam.drawing.vector import inline_svg
from sycam.report.html.curves import Curves
from sycam.report.tables import shown_rows
from sycam.runs.pictures import front_figure, heldout_figure
from sycam.runs.result import Result

_WIDTH, _HEIGHT, _MARGIN = 560, 260, 44  # of the drawing of curves
# Dashes tell the lines apart where colours do not.
_DASHES = ("", "7 4", "2 3", "10 3 2 3", "1 6")
_COLOURS = {
    OURS: "var(--c0)", KNOWN: "var(--c1)", CONTROL: "var(--c4)", MANY: "var(--line)",
    GRID: "var(--line)", INK: "var(--ink)",
}  # fmt: skip
_PICTURES = {
    "front": (
        front_figure,
        "Front of the formulas on the search images, with the published CAMs beside.",
    ),
    "agreement": (
        heldout_figure,
        "Search figures against held-out figures of the front's formulas and the known methods.",
    ),
}


@dataclass(frozen=True)
class Place:
    """A method in the drawing of a leaderboard.

    Attributes:
        name, kind: of its row.
        mean: its held-out figure.
        low, at, high: interval and mean, in per cent of the width.
    """

    name: str
    kind: str
    mean: float
    low: float
    at: float
    high: float


@dataclass(frozen=True)
class Board:
    """Held-out means with their intervals under one goal.

    Attributes:
        places: best first, of many methods those that a terminal shows, too.
        more: how many methods are left out.
        ticks: text and place in per cent of the width.
    """

    places: tuple[Place, ...]
    more: int
    ticks: tuple[tuple[str, float], ...]


def boards(result: Result) -> dict[str, Board]:
    """The leaderboard under each goal that has finite figures."""
    rows, more = shown_rows(result)
    made = {}
    for goal in result.validation.goals if rows else ():
        found = [(row, row.under(goal).heldout) for row in rows]
        found = [(r, i) for r, i in found if all(map(isfinite, (i.mean, i.low, i.high)))]
        if not found:
            continue
        higher = result.validation.directions[goal]
        found.sort(key=lambda pair: -pair[1].mean if higher else pair[1].mean)
        low, high = min(i.low for _, i in found), max(i.high for _, i in found)
        low, width = (low, high - low) if high > low else (low - 0.5, 1.0)
        ticks, texts = round_ticks(low, low + width, 5)

        def at(value: float, low: float = low, width: float = width) -> float:
            return 100 * (value - low) / width

        made[goal] = Board(
            tuple(
                Place(r.name, r.kind, i.mean, at(i.low), at(i.mean), at(i.high)) for r, i in found
            ),
            more,
            tuple((text, at(v)) for v, text in zip(ticks, texts, strict=True)),
        )
    return made


def pictures(result: Result) -> dict[str, Markup | None]:
    """The run's pictures of figures as SVG; None where there is nothing to draw."""
    made: dict[str, Markup | None] = {}
    for name, (figure_of, alt) in _PICTURES.items():
        figure = figure_of(result)
        # Ours, and what users named stands in it as escaped text.
        made[name] = None if figure is None else Markup(inline_svg(figure, name, alt, _COLOURS))
    return made


def drawings(curves: Curves | None) -> list[dict[str, Any]]:
    """Lines of the two drawings of removal, in the units of their viewBox."""
    if curves is None or not curves.removed:
        return []
    values = [v for c in curves.curves for v in (*c.morf, *c.lerf)]
    low, high = min([*values, 0.0]), max([*values, 0.0])
    span = (high - low) or 1.0
    last = max(curves.removed) or 100.0

    def x(share: float) -> float:
        return _MARGIN + (_WIDTH - 1.5 * _MARGIN) * share / last

    def y(value: float) -> float:
        return _MARGIN / 2 + (_HEIGHT - 1.5 * _MARGIN) * (high - value) / span

    def drawing(side: str, title: str, told: str) -> dict[str, Any]:
        lines = []
        for curve, dash in zip(curves.curves, _DASHES, strict=False):
            fade = getattr(curve, side)
            shown = zip((0.0, *curves.removed), (0.0, *fade), strict=True)
            points = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in shown)
            lines.append(
                {"name": curve.name, "points": points, "dash": dash, "mean": sum(fade) / len(fade)}
            )
        return {"title": title, "told": told, "lines": lines}

    ticks = [{"at": y(v), "text": t} for v, t in zip(*round_ticks(low, high, 5), strict=True)]
    shares = [{"at": x(s), "text": f"{t} %"} for s, t in zip(*round_ticks(0, last, 5), strict=True)]
    frame = {"width": _WIDTH, "height": _HEIGHT, "ticks": ticks, "shares": shares,
             "left": _MARGIN, "right": _WIDTH - _MARGIN / 2, "bottom": _HEIGHT - _MARGIN,
             "images": curves.images}  # fmt: skip
    return [
        frame | drawing("morf", "Most relevant pixels removed first", "falling early is good"),
        frame | drawing("lerf", "Least relevant pixels removed first", "falling late is good"),
    ]


def round_ticks(low: float, high: float, count: int) -> tuple[list[float], Sequence[str]]:
    """Round figures from low to high, at most one more than ``count``, and their texts, all with
    as many decimals as the finest needs.

    >>> round_ticks(-0.31, 0.12, 5)
    ([-0.3, -0.2, -0.1, 0.0, 0.1], ['−0.3', '−0.2', '−0.1', '0.0', '0.1'])
    """
    slack = 1e-9 * (high - low)
    values = MaxNLocator(count, steps=ROUND).tick_values(low, high)
    kept = [float(f"{v:.12g}") + 0.0 for v in values if low - slack <= v <= high + slack]
    decimals = max((len(f"{v:.10f}".rstrip("0").partition(".")[2]) for v in kept), default=0)
    return kept, [f"{v:.{decimals}f}".replace("-", "−") for v in kept]
