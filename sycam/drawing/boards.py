"""Methods one below the other: means with their intervals, and mean ranks."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sycam.drawing.axes import CONTROL, GRID, INK, KNOWN, OURS, better, dress, entitle, ring
from sycam.errors import OptionError
from sycam.scoring.ranks import MeanRanks
from sycam.support.text.shortening import apart

_LONGEST = 44  # characters of a name


def draw_leaderboard(
    rows: Sequence[tuple[str, float, float, float]],
    goal: str,
    higher_is_better: bool,
    winner: str | None = None,
    controls: Collection[str] = (),
    title: str = "",
) -> Figure:
    """Means with their intervals, one line per method, in the order given.

    Args:
        rows: name, mean, and low and high end of the interval.
        goal: the metric's text.
        higher_is_better: its direction.
        winner: one of the names, drawn in SyCAM's colour.
        controls: names that are drawn in grey.
        title: over the whole picture.

    Raises:
        OptionError: no row.
    """
    if not rows:
        raise OptionError("there is no row to draw")
    figure = Figure(figsize=(7.4, 0.9 + 0.27 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    for place, (name, mean, low, high) in enumerate(rows):
        colour = OURS if name == winner else CONTROL if name in controls else KNOWN
        axis.plot([low, high], [place, place], color=colour, lw=1.6, zorder=2)
        axis.plot([mean], [place], marker="o" if name == winner else "D", color=colour, ms=5)
        if name == winner:
            ring(axis, mean, place)
    _named(axis, [name for name, *_ in rows])
    dress(axis, f"{better(goal, higher_is_better)}, 95 % intervals", "")
    return entitle(figure, title)


def draw_ranks(
    ranks: MeanRanks,
    winner: str | None = None,
    ours: Collection[str] = (),
    controls: Collection[str] = (),
    shown: Collection[str] | None = None,
    title: str = "",
    counted: str = "images",
) -> Figure:
    """Mean ranks, one line per method, with bars beside those that do not differ.

    The diagram of Demšar 2006 (figure 1), turned so that names of any length and any number of
    methods have room.

    Args:
        ranks: of the methods.
        winner: one of the names, which is ringed.
        ours: names that are drawn in SyCAM's colour, beside the winner.
        controls: names that are drawn in grey.
        shown: names that are drawn; all if None. The ranks stay those among all methods.
        title: over the whole picture.
        counted: what the methods were ranked on.

    Raises:
        OptionError: none of the names is shown.
    """
    places = {n: r for n, r in zip(ranks.names, ranks.ranks, strict=True)
              if shown is None or n in shown}  # fmt: skip
    if not places:
        raise OptionError("there is no method to draw")
    groups = [[n for n in group if n in places] for group in ranks.cliques]
    lanes = lanes_of([group for group in groups if len(group) > 1], list(places))
    figure = Figure(
        figsize=(5.2 + 0.09 * len(lanes), 1.2 + 0.2 * len(places)), layout="constrained"
    )
    FigureCanvasAgg(figure)
    axis, bars = figure.subplots(1, 2, sharey=True, width_ratios=[46, 1 + len(lanes)])
    for place, (name, rank) in enumerate(places.items()):
        colour = OURS if name in (winner, *ours) else CONTROL if name in controls else KNOWN
        axis.plot([rank], [place], marker="o" if colour == OURS else "D", color=colour, ms=5)
        if name == winner:
            ring(axis, rank, place)
    for lane, spans in enumerate(lanes):
        for first, last in spans:
            bars.plot([lane, lane], [first - 0.2, last + 0.2], color=INK, lw=2.2)
    bars.set_axis_off()
    bars.set_xlim(-1, max(len(lanes), 1))
    best = min(places.values())
    axis.axvspan(best, best + ranks.critical_difference, color=GRID, zorder=0)
    _named(axis, list(places))
    said = f"mean rank of {len(ranks.names)} methods on {ranks.items} {counted}, 1 is the best"
    dress(axis, said, "")
    return entitle(figure, title)


def _named(axis: Axes, names: Sequence[str]) -> None:
    """The methods' names beside their lines, the first on top."""
    texts = apart(names, _LONGEST)
    axis.set_yticks(range(len(names)), [texts[name] for name in names], fontsize=7)
    for label in axis.get_yticklabels():
        label.set_parse_math(False)
    axis.invert_yaxis()


def lanes_of(groups: Sequence[Sequence[str]], names: Sequence[str]) -> list[list[tuple[int, int]]]:
    """First and last place of each group, in as few lanes as keep them apart."""
    lanes: list[list[tuple[int, int]]] = []
    for group in groups:
        span = names.index(group[0]), names.index(group[-1])
        free = next((lane for lane in lanes if lane[-1][1] < span[0]), None)
        if free is None:
            lanes.append([span])
        else:
            free.append(span)
    return lanes
