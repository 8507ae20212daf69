"""Which heatmaps to draw or keep: of a run's winner, Grad-CAM and the best published CAM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from sycam.data.images import ImageSet, ImageSource, load_files, open_images
from sycam.data.names import DEMO
from sycam.data.preprocessing import Preprocessing
from sycam.drawing.kinds import COMPARISON
from sycam.drawing.overlays import ImageRow, draw_grid
from sycam.drawing.style import USUAL, Style
from sycam.errors import DataError, RunError, SycamError
from sycam.events import Note, Notify, ignore
from sycam.language import parse_weights
from sycam.methods import HABIT, find_method
from sycam.networks import open_network
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images
from sycam.problem.options import ExplainOptions
from sycam.report.pictures.animation import animate_removal
from sycam.report.pictures.image_rows import Figures, image_rows, recorded_figures
from sycam.report.pictures.saved import checked_kinds, distinct_stems, save_heatmaps
from sycam.runs.checking.recorded import recorded_heldout
from sycam.runs.record import DEMO_ORIGIN, RunRecord
from sycam.runs.result import Result
from sycam.runs.trust import file_of_network
from sycam.support.arguments import argument
from sycam.support.permission import reading_a_run

OVERVIEW = "overview.png"
TOGETHER = "images.png"
ROWS = 6


def explain(  # noqa: PLR0913 (public)
    result: Result,
    images: Sequence[str | Path] = (),
    network: nn.Module | str | None = None,
    out: Path | None = None,
    device: str | None = None,
    methods: Sequence[str] = (),
    style: Style = USUAL,
    together: bool = False,
    animate: bool = False,
    save: Sequence[str] = (COMPARISON,),
    metric_files: Sequence[str | Path] = (),
    trust: bool = False,
    notify: Notify = ignore,
) -> list[Path]:
    """Draw the winner's heatmaps beside Grad-CAM's and the best published CAM's, or keep them.

    Pictures have the contour of the ground truth where it is known: of held-out images, and of
    files that the run's own table or folder has masks or boxes of. Below each heatmap stands what
    the run's metrics say of it on that image.

    Args:
        result: a loaded run.
        images: image files, read as the run's own were; the first of the run's held-out images
            if none.
        network: where the run was started from Python, the network.
        out: folder for the files, ``<run>/explanations`` if None.
        device: where to run.
        methods: names or expressions to draw; the winner, Grad-CAM and the best published CAM if
            none.
        style: of the overlays.
        together: one picture of all images, a row each, in place of a picture per image.
        animate: beside each picture a GIF of what becomes of the class as the most relevant
            pixels are removed.
        save: which files, of :data:`sycam.report.pictures.saved.KINDS`: ``"comparison"``, the
            methods side by side with the image (``<out>/cat.png``); ``"overlay"``, the heatmap over
            the image and nothing else (``<out>/overlay/cat.png``); ``"heatmap"``, its colours
            alone; ``"npy"``, float32 ``[H,W]`` in [0, 1] for :func:`numpy.load`. All are of the
            size at which the network sees the image. But for comparisons they are the winner's, or
            of each of ``methods`` (``<out>/overlay/grad-cam/cat.png`` where there are several).
        metric_files, trust: Python files named by the run that may be imported, as for
            :func:`sycam.verify`.
        notify: is told where masks or boxes cannot be read, or the network is not the run's.

    Returns:
        The files: PNG, GIF and npy as asked for.

    Raises:
        SycamError: images, methods or a network that cannot be had; the message says why.
    """
    kinds = checked_kinds(save, together)
    for method in methods:
        find_method(method)  # before anything is measured
    folder = out or (result.path or Path()) / "explanations"
    with reading_a_run(filter(None, [file_of_network(network), *metric_files]), trust):
        explained, found, figures = _again(result, images, network, device, methods, notify)
        compared = COMPARISON in kinds or animate
        columns = {method: method for method in methods} or columns_of(result)
        kept = tuple(columns) if methods else tuple(columns)[:1]  # the winner's
        if not compared:
            columns = {title: columns[title] for title in kept}
            figures = {}  # nobody sees them
        rows = image_rows(explained, found, columns, result, figures)
        files = []
        if together:
            files.append(draw_heatmaps(rows, folder / TOGETHER, result, style=style))
        for i, (stem, row) in enumerate(zip(distinct_stems(found.names), rows, strict=True)):
            if COMPARISON in kinds and not together:
                files.append(draw_heatmaps([row], folder / f"{stem}.png", result, style=style))
            files += save_heatmaps(row, kept, kinds, folder, stem, style, result.path)
            if animate:
                path, one = folder / f"{stem}.gif", found.subset([i])
                files.append(
                    animate_removal(explained, one, columns, row, path, style, result.path)
                )
        return files


def _again(
    result: Result,
    images: Sequence[str | Path],
    network: nn.Module | str | None,
    device: str | None,
    methods: Sequence[str],
    notify: Notify,
) -> tuple[ExplainedNetwork, ImageSet, Figures | None]:
    """The run's network, images to explain it on, and their figures where they are on record."""
    if result.best is None:
        raise RunError("the run has no winner to explain with")
    record = result.record
    network = network or record.network.source
    if network is None:
        raise RunError(
            "the run was started from Python, so its network is not on record; give it by "
            f"{argument('network')}"
        )
    found = _read(images, record, network, notify) if images else _first_heldout(result, network)
    asked = ExplainOptions(
        target=_target(record, found),
        output=record.settings.reading,
        reshape=_reshape(record),
        fusion=record.network.fusion,
    )
    explained = ExplainedNetwork.prepare(
        network, record.network.layers, found, asked, record.settings.seed, device
    )
    if explained.digest != record.network.digest:
        notify(
            Note(
                f"{explained.name} computes something else than the run's network (other weights, "
                "code or package versions): the run's figures are not of these heatmaps"
            )
        )
    columns = {method: method for method in methods} or columns_of(result)
    figures = None if images else recorded_figures(result, columns, range(len(found)))
    return explained, found, figures


def overview(result: Result, explained: ExplainedNetwork, unseen: ImageSet) -> Path:
    """Draw held-out images from the winner's best to its worst, evenly spread by rank."""
    if result.validation.winner is None:
        raise RunError(
            "the run has no held-out evidence yet by which images could be chosen; the same sycam "
            "synthesize command goes on"
        )
    order = np.argsort(result.validation.winner.scores, kind="stable")[::-1]
    chosen = order[np.linspace(0, len(order) - 1, min(ROWS, len(order))).round().astype(int)]
    columns = columns_of(result)
    figures = recorded_figures(result, columns, chosen.tolist())
    rows = image_rows(explained, unseen.subset(chosen), columns, result, figures)
    return draw_heatmaps(rows, result.path / OVERVIEW, result)


def columns_of(result: Result) -> dict[str, str]:
    """Column title to formula: the winner, Grad-CAM, and the best published CAM, each of them once
    where the winner is one of them."""
    usual = at_deepest(HABIT, result)
    published = dict.fromkeys((usual, result.validation.best_published or usual))
    names = [result.best.expression, *(n for n in published if n != result.best.known_as)]
    return {name: name for name in names}


def at_deepest(method: str, result: Result) -> str:
    """The name of a method as a run shows it, at the deepest layer where formulas name theirs."""
    if not parse_weights(result.best.expression).sites:
        return method
    return f"{method}@{result.record.network.layers[0]}"


def draw_heatmaps(
    rows: Sequence[ImageRow],
    path: Path,
    result: Result,
    title: str | None = None,
    style: Style = USUAL,
) -> Path:
    """One row per image, one column per method.

    Args:
        rows: see :func:`sycam.report.pictures.image_rows.image_rows`.
        path: PNG file to write.
        result: of the run.
        title: over the picture; the winner's held-out figure if None.
        style: of the overlays.

    Raises:
        RunError: the file cannot be written.
    """
    if title is None:
        title = f"{result.metric} of the winner on search images: {result.best.score:.3f}"
        if result.best.heldout is not None:  # it is where the evidence was begun
            title = (
                f"{result.metric} of the winner on held-out images: {result.best.heldout.mean:.3f}"
            )
    return draw_grid(rows, path, title, style, result.path)


def _reshape(record: RunRecord) -> str | None:
    reshape = record.network.reshape
    if not record.network.reshape_recorded:
        raise RunError(
            f"the run's reshape is {reshape!r}, which is not on record; use sycam.CAM in Python"
        )
    return reshape


def _target(record: RunRecord, images: ImageSet) -> str:
    """What the run explained, as far as it can be had for other images."""
    target = record.settings.target
    if not record.settings.target_recorded:
        raise RunError(
            f"the run explains {target!r}, which is not on record; use sycam.CAM in Python"
        )
    return target if images.labels is not None else target.replace("label", "predicted")


def _first_heldout(result: Result, network: nn.Module | str) -> ImageSet:
    record = result.record
    demo = record.network.source == DEMO and record.data.search_origin == DEMO_ORIGIN
    if demo and not record.settings.correct_only:  # the first ones are cheap to make
        return demo_images("heldout", ROWS, record.settings.seed)
    unseen = recorded_heldout(result, network)
    return unseen.subset(range(min(ROWS, len(unseen))))


def _with_truth(record: RunRecord) -> list[ImageSource]:
    """The run's folders and tables that say where objects are, as far as they are still there."""
    found = []
    origins = [record.data.search_origin, record.data.heldout_origin]
    for origin in origins[: 1 if origins[0] == origins[1] else 2]:
        if origin is None or origin == DEMO_ORIGIN or str(origin["source"]).endswith(".npz"):
            continue
        if not (origin.get("masks") or origin.get("boxes") or Path(origin["source"]).is_file()):
            continue
        with suppress(SycamError):
            found.append(open_images(**origin))
    return found


def _read(
    images: Sequence[str | Path], record: RunRecord, network: nn.Module | str, notify: Notify
) -> ImageSet:
    channels, *size = record.data.shape
    if len(size) != 2 or channels not in (1, 3):
        raise RunError(
            f"image files are grey or RGB, the run's images were {record.data.shape}; "
            "use sycam.CAM in Python"
        )
    height, width = size
    origin = record.data.search_origin
    if origin is None:
        # Tensors carry a mean and a std to be drawn by, which need not be the network's.
        own = open_network(network).preprocessing
        if own is None:
            raise RunError(
                "the run's images were given from Python, and how a file becomes one of them is "
                "not on record; use sycam.CAM in Python"
            )
        mean, std = own.scale(channels)
        reading: Mapping[str, Any] = own.to_dict()
    else:
        mean, std = record.data.mean, record.data.std
        reading = origin
    recorded = ("resize", "interpolation", "squash", "window")
    how = Preprocessing(
        size=height if height == width else None,
        mean=tuple(mean),
        std=tuple(std),
        channels=channels,
        **{name: reading[name] for name in recorded if name in reading},
    )
    listed_in = _with_truth(record)
    try:
        found = load_files(images, how, listed_in)
    except DataError as error:
        if not listed_in:
            raise
        found = load_files(images, how)  # an image itself is refused again
        notify(Note(f"no ground truth is drawn: {error}"))
    if tuple(found.images.shape[1:]) != record.data.shape:
        raise RunError(
            f"the images are {tuple(found.images.shape[1:])}, the run's were {record.data.shape}"
        )
    return found
