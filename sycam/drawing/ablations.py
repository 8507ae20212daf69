"""Images with the regions of a heatmap, and without them, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sycam.drawing.contours import draw_contour
from sycam.drawing.headings import PER_INCH, in_lines
from sycam.drawing.overlays import PLAIN, draw_image, overlay
from sycam.drawing.plot import on_any_ground
from sycam.drawing.style import USUAL, Style

HEADINGS = ("image", "heatmap", "without its regions", "without them, shifted")
REGION = "#ffd400"  # of the outlines, within black: no heat at their edge, and few photographs
_SIDE, _CAPTION, _TITLE = 2.1, 0.55, 0.3  # inches of a panel, of the texts around it, of a title


@dataclass(frozen=True, eq=False)
class AblatedView:
    """What is shown of one image under one method.

    Attributes:
        caption: the image's name, the method or both, in lines.
        picture, ablated, shifted: uint8 ``[H,W,3]``: as it is, without the regions, and without
            one shifted copy of them.
        heatmap: ``[H,W]`` in [0, 1].
        regions, moved: bool ``[H,W]``.
        said: what the network says of the first, third and fourth picture, and what stands below
            the heatmap, in the order of the panels.
        allowed: bool ``[H,W]``, the mask; None where there is none.
    """

    caption: str
    picture: np.ndarray
    heatmap: np.ndarray
    ablated: np.ndarray
    shifted: np.ndarray
    regions: np.ndarray
    moved: np.ndarray
    said: tuple[str, str, str, str]
    allowed: np.ndarray | None = None


def draw_ablations(views: Sequence[AblatedView], title: str = "", style: Style = USUAL) -> Figure:
    """A row per view: the image with its mask, its heatmap with the outlines of the regions, the
    image without the regions, and without a shifted copy of them.

    Args:
        views: one or more.
        title: over the whole picture.
        style: of the heatmaps.
    """
    height, across = views[0].picture.shape[:2]
    each = 0.95 * _SIDE * height / across + _CAPTION
    title = in_lines(title, int(PER_INCH * _SIDE * len(HEADINGS)))
    top = _TITLE + 0.15 * title.count("\n") if title else 0.1
    figure = Figure(figsize=(_SIDE * len(HEADINGS), each * len(views) + top), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(views), len(HEADINGS), squeeze=False, subplot_kw=PLAIN)
    for row, view in zip(grid, views, strict=True):
        shown = (
            view.picture,
            overlay(view.picture, view.heatmap, style),
            view.ablated,
            view.shifted,
        )
        for axis, picture, text in zip(row, shown, view.said, strict=True):
            draw_image(axis, picture, view.allowed if axis is row[0] else None, text)
        for axis, mask in ((row[1], view.regions), (row[2], view.regions), (row[3], view.moved)):
            draw_contour(axis, mask, REGION)
        row[0].set_title(view.caption, fontsize=8, loc="left", parse_math=False)
    for axis, heading in zip(grid[0][1:], HEADINGS[1:], strict=True):
        axis.set_title(heading, fontsize=8)
    if title:
        figure.suptitle(title, fontsize=9, parse_math=False)
    on_any_ground(figure)
    return figure
