"""Which heatmaps to draw: of a run's winner, Grad-CAM and the best published CAM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from sycam.data.images import ImageSet, load_files
from sycam.data.names import DEMO
from sycam.drawing.overlays import draw_grid
from sycam.drawing.style import USUAL, Style
from sycam.errors import RunError
from sycam.language import parse_weights
from sycam.methods import HABIT, find_method
from sycam.networks import open_network
from sycam.networks.outputs import probabilities
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images
from sycam.problem.options import ExplainOptions
from sycam.report.animation import animate_removal
from sycam.runs.record import DEMO_ORIGIN, RunRecord
from sycam.runs.recorded import recorded_heldout
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
    metric_files: Sequence[str | Path] = (),
    trust: bool = False,
) -> list[Path]:
    """Draw the winner's heatmaps beside Grad-CAM's and the best published CAM's.

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
        metric_files, trust: Python files named by the run that may be imported, as for
            :func:`sycam.verify`.

    Returns:
        The files: PNG, and GIF where it is asked for.

    Raises:
        SycamError: images, methods or a network that cannot be had; the message says why.
    """
    for method in methods:
        find_method(method)  # before anything is measured
    folder = out or (result.path or Path()) / "explanations"
    with reading_a_run(filter(None, [file_of_network(network), *metric_files]), trust):
        explained, found = _again(result, images, network, device)
        columns = dict(zip(methods, methods, strict=True)) or columns_of(result)
        files = []
        if together:
            path = folder / TOGETHER
            files.append(draw_heatmaps(explained, found, columns, path, result, style=style))
        for i, stem in enumerate(_stems(found.names)):
            one = found.subset([i])
            if not together:
                path = folder / f"{stem}.png"
                files.append(draw_heatmaps(explained, one, columns, path, result, style=style))
            if animate:
                path = folder / f"{stem}.gif"
                files.append(animate_removal(explained, one, columns, path, style, result.path))
        return files


def _again(
    result: Result,
    images: Sequence[str | Path],
    network: nn.Module | str | None,
    device: str | None,
) -> tuple[ExplainedNetwork, ImageSet]:
    """The run's network, and images to explain it on."""
    if result.best is None:
        raise RunError("the run has no winner to explain with")
    record = result.record
    network = network or record.network.source
    if network is None:
        raise RunError(
            "the run was started from Python, so its network is not on record; give it by "
            f"{argument('network')}"
        )
    found = _read(images, record, network) if images else _first_heldout(result, network)
    asked = ExplainOptions(
        target=_target(record, found),
        output=record.settings.reading,
        reshape=_reshape(record),
        fusion=record.network.fusion,
    )
    explained = ExplainedNetwork.prepare(
        network, record.network.layers, found, asked, record.settings.seed, device
    )
    return explained, found


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
    return draw_heatmaps(explained, unseen.subset(chosen), columns, result.path / OVERVIEW, result)


def columns_of(result: Result) -> dict[str, str]:
    """Column title to formula: the winner, Grad-CAM, and the best published CAM."""
    usual = at_deepest(HABIT, result)
    names = dict.fromkeys(
        (result.best.expression, usual, result.validation.best_published or usual)
    )
    return {name: name for name in names}


def at_deepest(method: str, result: Result) -> str:
    """The name of a method as a run shows it, at the deepest layer where formulas name theirs."""
    if not parse_weights(result.best.expression).sites:
        return method
    return f"{method}@{result.record.network.layers[0]}"


def draw_heatmaps(
    explained: ExplainedNetwork,
    images: ImageSet,
    columns: dict[str, str],
    path: Path,
    result: Result,
    title: str | None = None,
    style: Style = USUAL,
) -> Path:
    """One row per image, one column per method.

    Args:
        explained: the network of the run.
        images: to explain.
        columns: see :func:`columns_of`.
        path: PNG file to write.
        result: of the run.
        title: over the picture; the winner's held-out figure if None.
        style: of the overlays.
    """
    methods = {title: find_method(formula) for title, formula in columns.items()}
    leaves = frozenset().union(*(method.leaves for method in methods.values()))
    evidence, context = explained.measure(images, leaves=leaves, gradients=False)
    cams = {title: m.heatmaps(evidence, context).maps[0] for title, m in methods.items()}
    if evidence.outputs is None:
        captions = [Path(name).name for name in images.names]
    else:
        chance, classes = probabilities(evidence.outputs, explained.reading.link).max(1)
        known = result.record.network.class_names
        captions = [
            f"{Path(name).name}\n{known[c] if known else f'class {c}'} ({p:.0%})"
            for name, c, p in zip(images.names, classes.tolist(), chance.tolist(), strict=True)
        ]
    pictures = [images.picture(i) for i in range(len(images))]
    if title is None:
        title = f"{result.metric} of the winner on held-out images: {result.best.heldout.mean:.3f}"
    return draw_grid(pictures, cams, captions, path, title, style, result.path)


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
    if record.network.source == DEMO and record.data.search_origin == DEMO_ORIGIN:
        return demo_images("heldout", ROWS, record.settings.seed)
    unseen = recorded_heldout(result, network)
    return unseen.subset(range(min(ROWS, len(unseen))))


def _stems(names: Sequence[str]) -> list[str]:
    """Names of files for images, no two alike."""
    stems: list[str] = []
    for i, name in enumerate(names):
        stem = Path(name).stem.replace("[", "-").replace("]", "")
        stems.append(f"{stem}-{i}" if stem in stems else stem)
    return stems


def _read(images: Sequence[str | Path], record: RunRecord, network: nn.Module | str) -> ImageSet:
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
    how = {k: reading[k] for k in ("resize", "interpolation", "squash") if k in reading}
    found = load_files(images, mean, std, height if height == width else None, **how)
    if tuple(found.images.shape[1:]) != record.data.shape:
        raise RunError(
            f"the images are {tuple(found.images.shape[1:])}, the run's were {record.data.shape}"
        )
    return found
