"""Figures of methods over the levels of several kinds of noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sycam.drawing.axes import dress, entitle
from sycam.errors import OptionError
from sycam.support.text.shortening import apart

_LONGEST = 44  # characters of a name
Point = tuple[str, float, str, float, float, float]  # noise, level, method, mean, low, high
_MARKS = "oDs^vPX"


def draw_noise_levels(points: Mapping[str, Sequence[Point]], title: str = "") -> Figure:
    """A row of panels for each figure, a column for each kind of noise, a line for each method.

    Args:
        points: figure's name to its values: kind of noise, level, method, mean, and low and high
            end of the interval; a mean that is NaN is left out.
        title: over the whole picture.

    Raises:
        OptionError: no point.
    """
    every = [point for listed in points.values() for point in listed]
    if not every:
        raise OptionError("there is no level of noise to draw")
    kinds = list(dict.fromkeys(point[0] for point in every))
    texts = apart(list(dict.fromkeys(point[2] for point in every)), _LONGEST)
    figure = Figure(
        figsize=(1.4 + 2.1 * len(kinds), 0.8 + 1.9 * len(points) + 0.1 * len(texts)),
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(points), len(kinds), sharex="col", sharey="row", squeeze=False)
    colours = colormaps["tab10" if len(texts) <= 10 else "tab20"].colors
    for row, (name, listed) in zip(grid, points.items(), strict=True):
        for kind, axis in zip(kinds, row, strict=True):
            for place, method in enumerate(texts):
                line = [p for p in listed if p[0] == kind and p[2] == method and p[3] == p[3]]
                levels, means = [p[1] for p in line], [p[3] for p in line]
                colour = colours[place % len(colours)]
                axis.vlines(levels, [p[4] for p in line], [p[5] for p in line], colour, lw=0.8)
                axis.plot(
                    levels, means, marker=_MARKS[place % len(_MARKS)], ms=3.5, lw=1.2,
                    color=colour, label=texts[method],
                )  # fmt: skip
            below = f"level of {kind} noise" if name == list(points)[-1] else ""
            dress(axis, below, name if kind == kinds[0] else "")
    handles, labels = grid[0][0].get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=7)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return entitle(figure, title)
