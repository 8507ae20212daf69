"""What becomes of the class as a heatmap's pixels are removed, as an animated GIF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from sycam.data.images import ImageSet
from sycam.drawing.headings import in_lines
from sycam.drawing.overlays import PLAIN, ImageRow, draw_image, overlay
from sycam.drawing.style import USUAL, Style
from sycam.errors import OptionError, RunError
from sycam.methods import find_method
from sycam.metrics.removal.road import RoadMorf
from sycam.problem.explained_network import ExplainedNetwork
from sycam.scoring.scorer import ranking_maps
from sycam.support.files import write_whole

PAUSE, REST = 500, 2500  # milliseconds that a frame is shown, and the last one
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's
MARKS = "os^DvP"  # so that the lines differ in grey, too
_SIDE = 2.1  # inches of a panel
_DOTS = 100  # an inch


def animate_removal(
    explained: ExplainedNetwork,
    image: ImageSet,
    columns: Mapping[str, str],
    row: ImageRow,
    path: Path,
    style: Style = USUAL,
    within: Path | None = None,
) -> Path:
    """Remove the most relevant pixels by ROAD, method beside method, over the class's probability.

    A frame shows, for each method, its heatmap and the image without its most relevant pixels,
    imputed as :class:`~sycam.metrics.removal.road.RoadMorf` shows it to the network; below, the
    probability of the class so far. A heatmap that finds what the network looks at makes its
    line fall first. The contour of the ground truth is on all of them.

    Args:
        explained: the network of the run.
        image: one image.
        columns: title to formula, see :func:`sycam.report.pictures.explain.columns_of`.
        row: of the image and these methods.
        path: GIF file to write.
        style: of the overlays.
        within: the run's folder, see :func:`sycam.support.files.write_whole`.

    Raises:
        OptionError: a volume, of which a picture shows one slice only.
        RunError: the file cannot be written.
    """
    if image.images.ndim != 4:
        raise OptionError(
            "removal is shown for images, not for volumes, of which a picture is one slice"
        )
    methods = {title: find_method(formula) for title, formula in columns.items()}
    leaves = frozenset().union(*(method.leaves for method in methods.values()))
    evidence, context = explained.measure(image, leaves=leaves)
    metric = RoadMorf()
    with torch.no_grad():
        found = [method.heatmaps(evidence, context) for method in methods.values()]
        ranked = torch.cat([ranking_maps(heatmaps, context) for heatmaps in found])
        fades = metric.curves(ranked, context)["morf"][:, 0] + context.clean[0]
        without = metric.images_without(ranked, context)[:, 0]
    # At percentile q the share 100 - q is removed: turned, so that shares ascend from nothing.
    removed = [0.0, *(100.0 - q for q in reversed(metric.percentiles))]
    whole = context.clean[:1].expand(len(methods), 1)
    probabilities = torch.cat([whole, fades.flip(1)], 1).cpu().numpy()
    shown = torch.cat([context.images[None].expand(len(methods), *context.images.shape),
                       without.flip(1)], 1)  # fmt: skip
    pictures = [_pictures(image, steps) for steps in shown]
    overlays = [overlay(row.picture, row.flat(title), style) for title in columns]
    frames = [
        _frame(row, overlays, [steps[k] for steps in pictures], removed, probabilities, k)
        for k in range(len(removed))
    ]
    return _write(frames, path, within)


def _pictures(image: ImageSet, altered: Tensor) -> list[np.ndarray]:
    """``[M,C,H,W]`` in the input scale as pictures."""
    names = tuple(f"{image.names[0]} {k}" for k in range(len(altered)))
    many = replace(image, images=altered.cpu(), labels=None, masks=None, boxes=None, names=names)
    return [many.picture(k) for k in range(len(altered))]


def _frame(
    row: ImageRow,
    overlays: Sequence[np.ndarray],
    altered: Sequence[np.ndarray],
    removed: Sequence[float],
    probabilities: np.ndarray,
    step: int,
) -> Image.Image:
    titles = list(row.heatmaps)
    count = len(titles)
    figure = Figure(figsize=(max(2, count) * _SIDE, 3.5 * _SIDE), dpi=_DOTS, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, count, height_ratios=[1, 1, 1.1])
    for column, title in enumerate(titles):
        top = figure.add_subplot(grid[0, column], **PLAIN)
        draw_image(top, overlays[column], row.mask, row.figures.get(title, ""), row.boxes)
        top.set_title(in_lines(title), fontsize=8, parse_math=False)
        below = figure.add_subplot(grid[1, column], **PLAIN)
        draw_image(below, altered[column], row.mask, row.truth if column == 0 else "", row.boxes)
        below.set_title(f"{probabilities[column, step]:.0%}", fontsize=8)
    axis = figure.add_subplot(grid[2, :])
    for column in range(count):
        axis.plot(
            removed[: step + 1], probabilities[column, : step + 1], lw=1.4, ms=4,
            color=COLOURS[column % len(COLOURS)], marker=MARKS[column % len(MARKS)],
            label=in_lines(titles[column], 34),
        )  # fmt: skip
    axis.set_xlim(-2, 92)
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlabel(f"most relevant pixels removed: {removed[step]:.0f} %", fontsize=8)
    axis.set_ylabel("probability of the class", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.grid(color="#eceff1", lw=0.6)
    legend = axis.legend(
        fontsize=6.5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _write(frames: Sequence[Image.Image], path: Path, within: Path | None) -> Path:
    pauses = [PAUSE] * (len(frames) - 1) + [REST]
    # One palette for all, or a line would change its colour.
    ends = np.concatenate([np.asarray(frames[0]), np.asarray(frames[-1])])
    palette = Image.fromarray(ends).quantize(256)
    indexed = [frame.quantize(palette=palette) for frame in frames]
    how = {"save_all": True, "append_images": indexed[1:], "duration": pauses, "loop": 0}
    try:
        write_whole(path, lambda file: indexed[0].save(file, "GIF", **how), within=within)
    except OSError as error:
        raise RunError(f"cannot write picture '{path}': {error}") from None
    return path
