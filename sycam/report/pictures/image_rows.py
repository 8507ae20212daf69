"""What pictures show of images: heatmaps, classes, ground truth and the metrics' figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sycam.data.images import ImageSet
from sycam.drawing.headings import shortened
from sycam.drawing.overlays import ImageRow
from sycam.errors import SycamError
from sycam.evidence import Evidence, Stack
from sycam.methods import Method, find_method
from sycam.metrics import Context, Metric, find_metric
from sycam.networks.outputs import probabilities
from sycam.problem.applicable import check_scorable, check_volumes
from sycam.problem.explained_network import ExplainedNetwork
from sycam.runs.result import Result
from sycam.scoring.scorer import Scorer

AT_ONCE = 16  # images whose activations are in memory together

Figures = Mapping[str, Mapping[str, Sequence[float] | np.ndarray]]
"""Text of a metric to the method's title to what the metric says of each image, NaN for nothing."""


def image_rows(
    explained: ExplainedNetwork,
    images: ImageSet,
    columns: Mapping[str, str],
    result: Result | None = None,
    figures: Figures | None = None,
) -> list[ImageRow]:
    """Heatmaps of images with all that is known of them.

    Args:
        explained: the network.
        images: N to explain.
        columns: title to formula, see :func:`sycam.report.pictures.explain.columns_of`.
        result: of the run, if it is one's.
        figures: of these N images; measured under the run's metrics if None.

    Returns:
        N rows.
    """
    methods = {title: find_method(formula) for title, formula in columns.items()}
    metrics = _metrics(result) if figures is None and result is not None else []
    known = explained.class_names if result is None else result.record.network.class_names
    named = [*methods.values(), *metrics]
    leaves = frozenset().union(*(one.leaves for one in named))
    rows: list[ImageRow] = []
    for start in range(0, len(images), AT_ONCE):
        part = range(start, min(start + AT_ONCE, len(images)))
        some = images.subset(part)
        evidence, context = explained.measure(some, leaves=leaves, gradients=False)
        with torch.no_grad():
            maps = {
                title: method.heatmaps(evidence, context).maps[0].float().cpu().numpy()
                for title, method in methods.items()
            }
        said = (
            _measured(metrics, methods, some, evidence, context)
            if figures is None
            else {m: {t: v[start : part.stop] for t, v in of.items()} for m, of in figures.items()}
        )
        captions = _captions(some, evidence, explained, known)
        for i, caption in enumerate(captions):
            heatmaps = {title: values[i] for title, values in maps.items()}
            rows.append(image_row(some, i, caption, heatmaps, _texts(said, i)))
    return rows


def recorded_figures(
    result: Result, columns: Mapping[str, str], chosen: Sequence[int]
) -> Figures | None:
    """What the run's held-out evidence says of some of the held-out images.

    Args:
        result: of the run.
        columns: see :func:`image_rows`.
        chosen: places among the held-out images.

    Returns:
        None where not every method has a figure of every such image on record.
    """
    rows = {row.name: row for row in result.validation.rows}
    if result.validation.winner is not None:  # which may stand there by a published CAM's name
        rows[result.best.expression] = result.validation.winner
    if not columns.keys() <= rows.keys():
        return None
    goals = result.record.settings.metrics
    figures = {goal: {title: rows[title].under(goal).scores for title in columns} for goal in goals}
    every = [scores for of in figures.values() for scores in of.values()]
    if any(len(scores) <= max(chosen) for scores in every):
        return None
    return {
        goal: {title: [scores[i] for i in chosen] for title, scores in of.items()}
        for goal, of in figures.items()
    }


def _metrics(result: Result) -> list[Metric]:
    """The run's, but those from Python, which are not on record."""
    found = []
    for text in result.record.settings.metrics:
        try:
            found.append(find_metric(text))
        except SycamError:
            continue
    return found


def _measured(
    metrics: Sequence[Metric],
    methods: Mapping[str, Method],
    images: ImageSet,
    evidence: Evidence | Stack,
    context: Context,
) -> Figures:
    """Figures of those metrics that are defined for these images and methods."""
    figures = {}
    marked = images.marked
    for metric in metrics:
        try:
            check_volumes(metric, images)
            check_scorable(metric, methods.values())
            metric.check(context)
            scorer = Scorer(metric, evidence, context)
            values = {title: scorer.score_method(m).values for title, m in methods.items()}
        except SycamError:  # one that needs masks, where there are none
            continue
        if any(scores.ndim != 1 for scores in values.values()):
            continue  # of all images together
        if metric.needs_masks:
            known = np.isin(np.arange(len(images)), marked or [])
            values = {title: np.where(known, scores, np.nan) for title, scores in values.items()}
        figures[metric.text] = values
    return figures


def _texts(figures: Figures, i: int) -> dict[str, str]:
    """By title, a line per metric that says something of image ``i``."""
    lines: dict[str, list[str]] = {}
    for metric, of in figures.items():
        for title, values in of.items():
            if np.isfinite(values[i]):
                line = f"{shortened(metric, 26)} {values[i]:.3f}"
                lines.setdefault(title, []).append(line)
    return {title: "\n".join(of) for title, of in lines.items()}


def _captions(
    images: ImageSet,
    evidence: Evidence | Stack,
    explained: ExplainedNetwork,
    known: Sequence[str] | None,
) -> Iterator[str]:
    names = [shortened(Path(name).name, 30) for name in images.names]
    if evidence.outputs is None:
        yield from names
        return
    chance, classes = probabilities(evidence.outputs, explained.reading.link).max(1)
    for name, c, p in zip(names, classes.tolist(), chance.tolist(), strict=True):
        said = shortened(known[c], 24) if known else f"class {c}"
        yield f"{name}\n{said} ({p:.0%})"


def image_row(
    images: ImageSet,
    i: int,
    caption: str,
    heatmaps: Mapping[str, np.ndarray],
    figures: Mapping[str, str],
) -> ImageRow:
    """Image ``i`` of those given; of a volume the slice that has most of the object, or that in
    the middle.

    Args:
        images: N images.
        i: which of them.
        caption: its name, class and the like, in lines.
        heatmaps: by the method's title, ``[H,W]`` in [0, 1], ``[D,H,W]`` of a volume.
        figures: by the method's title, what metrics say, in lines.
    """
    mask = None if images.masks is None else images.masks[i].cpu().numpy()
    if len(images.shape) == 3:
        boxes = None if images.boxes is None else images.boxes[i]
        return ImageRow(images.picture(i), caption, heatmaps, figures, mask, boxes=boxes)
    slices = images.shape[1]
    depth = slices // 2
    if mask is not None and mask.any():  # the slice that has most of the object
        depth = int(mask.sum((1, 2)).argmax())
    flat = replace(images.subset([i]), images=images.images[i : i + 1, :, depth], masks=None)
    caption = f"{caption}\nslice {depth + 1} of {slices}"
    shown = None if mask is None else mask[depth]
    return ImageRow(flat.picture(0), caption, heatmaps, figures, shown, depth)
