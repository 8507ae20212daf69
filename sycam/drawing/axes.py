"""Colours, axes and short names that all pictures of figures have in common."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sycam.drawing.headings import PER_INCH, in_lines

OURS, KNOWN, CONTROL, MANY = "#0072b2", "#d55e00", "#777777", "#c8ccd0"  # Okabe and Ito's, greys
GRID, INK = "#eceff1", "#000000"
ROUND = (1, 2, 2.5, 5, 10)  # what ticks are apart, times a power of ten
RING = 12.0  # points across, around the winner


def short(text: str, length: int) -> str:
    """A text without its end, where it is longer."""
    return text if len(text) <= length else text[: length - 1] + "…"


def better(goal: str, higher: bool) -> str:
    """A goal with its direction."""
    return f"{short(goal, 48)} ({'higher' if higher else 'lower'} is better)"


def ring(axis: Axes, x: float, y: float) -> None:
    """Mark the winner."""
    axis.scatter([x], [y], s=RING**2, facecolors="none", edgecolors=OURS, linewidths=1.6,
                 zorder=5, label="offered as the winner")  # fmt: skip


def dress(axis: Axes, x: str, y: str) -> None:
    """Labels of both axes, a light grid, and no frame above and at the right."""
    axis.set_xlabel(x, fontsize=8, parse_math=False)
    axis.set_ylabel(y, fontsize=8, parse_math=False)
    axis.tick_params(labelsize=7)
    axis.grid(color=GRID, lw=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def entitle(figure: Figure, title: str) -> Figure:
    """The figure with a title over the whole of it, if there is one."""
    if title:
        title = in_lines(title, int(PER_INCH * figure.get_figwidth()))
        figure.suptitle(title, fontsize=9, parse_math=False)
    return figure
