"""The drawings of the page: what is placed where, in parts of the width or units of a viewBox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from sycam.drawing.axes import CONTROL, GRID, INK, KNOWN, MANY, OURS, ROUND
from sycam.drawing.boards import lanes_of
from sycam.drawing.fronts import parts_of
from sycam.drawing.vector import inline_svg
from sycam.errors import OptionError
from sycam.report.html.curves import Curves
from sycam.report.tables import shown_rows
from sycam.runs.pictures import front_figure, heldout_figure
from sycam.runs.result import Result
from sycam.scoring.ranks import MeanRanks

_WIDTH, _HEIGHT, _MARGIN = 560, 260, 44  # of the drawing of curves
# Dashes tell the lines apart where colours do not.
_DASHES = ("", "7 4", "2 3", "10 3 2 3", "1 6")
_COLOURS = {
    OURS: "var(--c0)", KNOWN: "var(--c1)", CONTROL: "var(--c4)", MANY: "var(--line)",
    GRID: "var(--line)", INK: "var(--ink)",
}  # fmt: skip
_CLASSES = {OURS: "ours", KNOWN: "known", CONTROL: "control"}
_PICTURES = {
    "front": (
        front_figure,
        "Front of the formulas on the search images, with the published CAMs beside; the key "
        "follows.",
    ),
    "agreement": (
        heldout_figure,
        "Search figures against held-out figures of the front's formulas and the known methods; "
        "the key follows.",
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


@dataclass(frozen=True)
class RankPlace:
    """A method in the drawing of mean ranks.

    Attributes:
        name, kind: of its row.
        rank: its mean rank.
        at: the rank in per cent of the width.
        bars: of groups that do not differ, what stands beside it: place across in pixels, top and
            end in per cent.
    """

    name: str
    kind: str
    rank: float
    at: float
    bars: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class RankBoard:
    """Mean ranks under one goal, best first.

    Attributes:
        ranks: with test and critical difference, among all methods.
        places: of those methods that a terminal shows, too.
        wide: pixels that all bars take.
        best, critical: the best rank, and the critical difference, in per cent of the width.
        ticks: text and place in per cent of the width.
    """

    ranks: MeanRanks
    places: tuple[RankPlace, ...]
    wide: int
    best: float
    critical: float
    ticks: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Picture:
    """A picture in parts, which stand side by side where the page has room.

    Attributes:
        panels: SVG elements.
        key: number or letter, what it stands for, and the class of its colour.
    """

    panels: tuple[Markup, ...]
    key: tuple[tuple[str, str, str], ...]


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


def rank_boards(result: Result) -> dict[str, RankBoard]:
    """Mean ranks under each goal that allows to rank the methods image by image."""
    rows, _ = shown_rows(result)
    kinds, made = {row.name: row.kind for row in rows}, {}
    for goal in result.validation.goals if rows else ():
        try:
            ranks = result.ranks(goal)
        except OptionError:  # fewer than three methods, or two images
            continue
        names = [name for name in ranks.names if name in kinds]
        groups = [[name for name in group if name in kinds] for group in ranks.cliques]
        lanes = lanes_of([group for group in groups if len(group) > 1], names)
        low, high = 1.0, max(len(ranks.names), 2)
        ticks, texts = round_ticks(low, high, 5)

        def at(rank: float, low: float = low, high: float = high) -> float:
            return 100 * (rank - low) / (high - low)

        made[goal] = RankBoard(
            ranks,
            tuple(
                RankPlace(name, kinds[name], ranks.rank(name), at(ranks.rank(name)),
                          tuple(_bars(lanes, place)))
                for place, name in enumerate(names)
            ),
            8 * len(lanes),
            at(ranks.ranks[0]),
            at(low + ranks.critical_difference),
            tuple((text, at(v)) for v, text in zip(ticks, texts, strict=True)),
        )  # fmt: skip
    return made


def _bars(lanes: Sequence[Sequence[tuple[int, int]]], place: int) -> Iterator[tuple[int, int, int]]:
    """What of the bars stands beside one line: place across, and top and end in per cent."""
    for lane, spans in enumerate(lanes):
        for first, last in spans:
            if first <= place <= last:
                yield 8 * lane + 4, 20 * (place == first), 100 - 20 * (place == last)


def pictures(result: Result) -> dict[str, Picture | None]:
    """The run's pictures of figures; None where there is nothing to draw."""
    made: dict[str, Picture | None] = {}
    for name, (figure_of, alt) in _PICTURES.items():
        figure = figure_of(result)
        if figure is None:
            made[name] = None
            continue
        panels, key = parts_of(figure)
        # Ours, and what users named stands in it as escaped text.
        drawn = [
            Markup(inline_svg(figure, f"{name}{place}", alt, _COLOURS, panel))
            for place, panel in enumerate(panels)
        ]
        lines = [(*_sign(text), _CLASSES[colour]) for text, colour in key]
        made[name] = Picture(tuple(drawn), tuple(lines))
    return made


def _sign(line: str) -> tuple[str, str]:
    """Number or letter of a line of a key, and what it stands for."""
    sign, _, name = line.partition("  ")
    return (sign, name) if name else ("", line)


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
