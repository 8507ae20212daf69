"""Overlays of heatmaps on images, side by side, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sycam.drawing.contours import draw_boxes, draw_contour
from sycam.drawing.headings import PER_INCH, in_lines
from sycam.drawing.plot import on_any_ground, written
from sycam.drawing.style import USUAL, Style

PLAIN = {"xticks": (), "yticks": ()}  # ticks that nobody sees take a fifth of the time
_SIDE = 2.1  # inches of a panel
_CAPTION, _LINE = 0.4, 0.12  # above a panel, and a line below
_HEADING = 0.15  # a line of a column's heading, or of the title
COLDEST = 0.25  # share of the colour where there is no heat, of that where it is hottest


@dataclass(frozen=True, eq=False)
class ImageRow:
    """What is shown of one image.

    Attributes:
        picture: uint8 ``[H,W,3]``; of a volume, the slice ``depth``.
        caption: its name, class and the like, in lines.
        heatmaps: by the method's title, float32 ``[H,W]`` in [0, 1], or ``[D,H,W]`` of a volume.
        figures: by the method's title, what the metrics say of its heatmap, in lines.
        mask: bool ``[H,W]``, the ground truth; None where it is not known.
        depth: which slice of a volume is shown; None for flat images.
        boxes: ``[n,4]`` that the mask is the union of, in pixels; None where it is no such union.
    """

    picture: np.ndarray
    caption: str
    heatmaps: Mapping[str, np.ndarray]
    figures: Mapping[str, str] = field(default_factory=dict)
    mask: np.ndarray | None = None
    depth: int | None = None
    boxes: np.ndarray | None = None

    def flat(self, title: str) -> np.ndarray:
        """``[H,W]`` a method's heatmap, as far as it is shown."""
        heatmap = self.heatmaps[title]
        return heatmap if self.depth is None else heatmap[self.depth]

    @property
    def truth(self) -> str:
        """What the contour on the image is."""
        if self.mask is None:
            return ""
        if self.boxes is not None and len(self.boxes) > 1:
            return f"outlines: ground truth, {len(self.boxes)} boxes"
        return "contour: ground truth" if self.mask.any() else "ground truth: nothing marked"


def overlay(picture: np.ndarray, heatmap: np.ndarray, style: Style = USUAL) -> np.ndarray:
    """A heatmap over an image: cold places show the image, hot places the colour.

    Args:
        picture: uint8 ``[H,W,3]``.
        heatmap: ``[H,W]`` in [0, 1]; of a volume's ``[D,H,W]`` the slice in the middle is shown,
            as its picture is.
        style: colours and how much of them.

    Returns:
        uint8 ``[H,W,3]``.
    """
    colours = coloured(heatmap, style)
    grey = picture.mean(-1, keepdims=True) * 0.7  # dimmed, so that colour means heat only
    share = (style.opacity * (COLDEST + (1 - COLDEST) * heatmap))[..., None]
    return (grey * (1 - share) + colours * share).round().clip(0, 255).astype(np.uint8)


def coloured(heatmap: np.ndarray, style: Style = USUAL) -> np.ndarray:
    """A heatmap ``[H,W]`` in [0, 1] in the style's colours: ``[H,W,3]`` in [0, 255]."""
    import matplotlib

    return matplotlib.colormaps[style.colour_map](heatmap)[..., :3] * 255


def draw_grid(
    rows: Sequence[ImageRow],
    path: Path,
    title: str = "",
    style: Style = USUAL,
    within: Path | None = None,
) -> Path:
    """One row per image: the image, then its overlay under each method, with the ground truth's
    contour on all of them and the metrics' figures below.

    Args:
        rows: one or more, of the same methods.
        path: PNG file to write.
        title: over the whole picture.
        style: of the overlays.
        within: the run's folder, see :func:`sycam.support.files.write_whole`.

    Raises:
        RunError: the file cannot be written.
    """
    return written(grid_figure(rows, title, style), path, within)


def grid_figure(rows: Sequence[ImageRow], title: str = "", style: Style = USUAL) -> Figure:
    """The figure of :func:`draw_grid`; arguments as there."""
    columns = list(rows[0].heatmaps)
    width = _SIDE * (1 + len(columns))
    lines = max(text.count("\n") + 1 for row in rows for text in ("", *row.figures.values()))
    height, across = rows[0].picture.shape[:2]
    above = max(row.caption.count("\n") - 1 for row in rows)  # beyond two lines
    each = 0.92 * _SIDE * height / across + _CAPTION + _LINE * (lines + above)
    title = in_lines(title, int(PER_INCH * width))
    headings = [in_lines(name) for name in columns]
    top = _HEADING * max([0, *(text.count("\n") - 1 for text in headings)])  # beyond two lines
    top += 0.2 + _HEADING * (title.count("\n") + 1) if title else 0.1
    figure = Figure(figsize=(width, each * len(rows) + top), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), 1 + len(columns), squeeze=False, subplot_kw=PLAIN)
    for row, (first, *others) in zip(rows, axes, strict=True):
        draw_image(first, row.picture, row.mask, row.truth, row.boxes)
        first.set_title(row.caption, fontsize=8, loc="left", parse_math=False)
        for axis, name in zip(others, columns, strict=True):
            shown = overlay(row.picture, row.flat(name), style)
            draw_image(axis, shown, row.mask, row.figures.get(name, ""), row.boxes)
    for axis, heading in zip(axes[0][1:], headings, strict=True):
        axis.set_title(heading, fontsize=8, parse_math=False)
    if title:
        figure.suptitle(title, fontsize=9, parse_math=False)
    on_any_ground(figure)
    return figure


def draw_image(
    axis: Axes,
    image: np.ndarray,
    mask: np.ndarray | None,
    below: str = "",
    boxes: np.ndarray | None = None,
) -> None:
    """Show an image ``[H,W,3]`` with the contour of its mask, or the outlines of the boxes that the
    mask is the union of, and a text below."""
    axis.imshow(image, interpolation="bilinear")
    if boxes is not None and len(boxes):
        draw_boxes(axis, boxes)
    elif mask is not None:
        draw_contour(axis, mask)
    for side in axis.spines.values():  # not set_axis_off(), which hides the text below, too
        side.set_visible(False)
    axis.patch.set_visible(False)
    axis.set_xlabel(below, fontsize=7, labelpad=2, parse_math=False)
