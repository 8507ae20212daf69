"""Attacked images beside what they were, with the budgets and how each pixel was moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sycam.drawing.plot import on_any_ground
from sycam.errors import OptionError

_HEADS = ("full budget", "moved")  # between both images


@dataclass(frozen=True, eq=False)
class Attacked:
    """One image.

    Attributes:
        title, attacked: what is said over it as it was, and over the attacked image.
        before, after: uint8 ``[H,W,3]``.
        marked: bool ``[H,W]``, where it had the full budget.
        moved: ``[H,W]`` from -1 to 1, mean over channels, in shares of the full budget.
    """

    title: str
    attacked: str
    before: np.ndarray
    after: np.ndarray
    marked: np.ndarray
    moved: np.ndarray


def draw_perturbations(attacked: Sequence[Attacked], title: str = "") -> Figure:
    """A row per image: as it was, its marked pixels in white, how each pixel was moved (red up,
    blue down), and the attacked image.

    Args:
        attacked: the images.
        title: over the whole picture.

    Raises:
        OptionError: no image.
    """
    if not attacked:
        raise OptionError("there is no image to draw")
    figure = Figure(figsize=(6.4, 0.5 + 1.75 * len(attacked)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(attacked), len(_HEADS) + 2, squeeze=False)
    for row, one in zip(grid, attacked, strict=True):
        for axis in row:
            axis.set_axis_off()
        row[0].imshow(one.before, interpolation="nearest")
        row[1].imshow(one.marked, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        row[2].imshow(one.moved, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        row[3].imshow(one.after, interpolation="nearest")
        heads = (one.title, *_HEADS, one.attacked)
        for axis, head in zip(row, heads, strict=True):
            axis.set_title(head, fontsize=7, parse_math=False)
    if title:
        figure.suptitle(title, fontsize=9, parse_math=False)
    on_any_ground(figure)
    return figure
