"""Outlines on a picture, of the ground truth and of regions."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

LIGHT = "white"  # the inner line of the ground truth


def _lines(light: str) -> tuple[tuple[str, float], ...]:
    """A light line within a dark one: one of them shows on whatever image and heat lie below."""
    return ("black", 2.4), (light, 1.0)


def draw_contour(axis: Axes, mask: np.ndarray, light: str = LIGHT) -> None:
    """Draw the contour of a mask, of each of its parts and holes, over an image.

    What reaches the image's edge is closed there, so that a mask of the whole image shows as a
    frame; a mask that marks nothing shows as nothing.

    Args:
        axis: shows the image, one unit per pixel.
        mask: bool ``[H,W]``, of the image's size.
        light: colour of the inner line.
    """
    if not mask.any():
        return
    height, width = mask.shape
    padded = np.pad(mask.astype(np.float32), 1)
    columns, rows = np.arange(-1, width + 1), np.arange(-1, height + 1)
    for colour, points in _lines(light):
        drawn = axis.contour(columns, rows, padded, levels=[0.5], colors=colour, linewidths=points)
        drawn.set_clip_on(False)  # or half of a line at the edge would be lost
    axis.set_xlim(-0.5, width - 0.5)  # contour() widens them by the margin
    axis.set_ylim(height - 0.5, -0.5)


def draw_boxes(axis: Axes, boxes: np.ndarray) -> None:
    """Draw the outline of each box over an image: of boxes that overlap, the contour of their union
    hides how many there are.

    Args:
        axis: shows the image, one unit per pixel, the first pixel's centre at 0.
        boxes: ``[n, 4]``, x0, y0, x1, y1 in pixels, edges of the image being 0 and its size.
    """
    for colour, points in _lines(LIGHT):
        for x0, y0, x1, y1 in boxes - 0.5:
            axis.add_patch(
                Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour,
                          linewidth=points, zorder=2, clip_on=False)
            )  # fmt: skip
