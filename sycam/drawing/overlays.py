"""Overlays of heatmaps on images, side by side, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from sycam.drawing.plot import on_any_ground, written
from sycam.drawing.style import USUAL, Style

PLAIN = {"xticks": (), "yticks": ()}  # ticks that nobody sees take a fifth of the time
COLDEST = 0.25  # share of the colour where there is no heat, of that where it is hottest


def overlay(picture: np.ndarray, heatmap: np.ndarray, style: Style = USUAL) -> np.ndarray:
    """A heatmap over an image: cold places show the image, hot places the colour.

    Args:
        picture: uint8 ``[H,W,3]``.
        heatmap: ``[H,W]`` in [0, 1].
        style: colours and how much of them.

    Returns:
        uint8 ``[H,W,3]``.
    """
    import matplotlib

    colours = matplotlib.colormaps[style.colour_map](heatmap)[..., :3] * 255
    grey = picture.mean(-1, keepdims=True) * 0.7  # dimmed, so that colour means heat only
    share = (style.opacity * (COLDEST + (1 - COLDEST) * heatmap))[..., None]
    return (grey * (1 - share) + colours * share).round().clip(0, 255).astype(np.uint8)


def draw_grid(
    pictures: Sequence[np.ndarray],
    columns: Mapping[str, Tensor],
    captions: Sequence[str],
    path: Path,
    title: str = "",
    style: Style = USUAL,
    within: Path | None = None,
) -> Path:
    """One row per image: the image, then its overlay under each method.

    Args:
        pictures: N arrays uint8 ``[H,W,3]``.
        columns: method to heatmaps ``[N,H,W]``.
        captions: N, one per image.
        path: PNG file to write.
        title: over the whole picture.
        style: of the overlays.
        within: the run's folder, see :func:`sycam.support.files.write_whole`.

    Raises:
        RunError: the file cannot be written.
    """
    side = 2.1
    figure = Figure(figsize=(side * (1 + len(columns)), side * 1.12 * len(pictures) + 0.7))
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(pictures), 1 + len(columns), squeeze=False, subplot_kw=PLAIN)
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        heatmaps = [maps[i].cpu().numpy() for maps in columns.values()]
        shown = [picture, *(overlay(picture, heatmap, style) for heatmap in heatmaps)]
        for axis, image in zip(axes[i], shown, strict=True):
            axis.imshow(image, interpolation="bilinear")
            axis.set_axis_off()
        axes[i][0].set_title(caption, fontsize=8, loc="left", parse_math=False)
    for axis, name in zip(axes[0][1:], columns, strict=True):
        axis.set_title(in_lines(name), fontsize=8, parse_math=False)
    if title:
        figure.suptitle(title, fontsize=9, parse_math=False)
    figure.tight_layout()
    on_any_ground(figure)
    return written(figure, path, within)


def in_lines(name: str, width: int = 26) -> str:
    """A long formula on several lines, broken after spaces."""
    lines = [""]
    for word in name.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return "\n".join(lines)
