"""How the class fades as a heatmap's pixels are removed: measured once, kept beside the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sycam.data.images import ImageSet
from sycam.methods import HABIT, find_method
from sycam.metrics.removal.road import RoadLerf, RoadMorf
from sycam.problem.explained_network import ExplainedNetwork
from sycam.report.pictures.explain import at_deepest
from sycam.runs.result import Result
from sycam.scoring.scorer import ranking_maps
from sycam.support.bounded_json import read_json
from sycam.support.files import TEXT, NotPlainError, write_whole
from sycam.support.text.terminal import json_text

CURVES_FILE = "curves.json"
SCHEMA = 1
IMAGES = 32  # held-out images that are measured, at most
REFERENCES = (HABIT, "random-weights")


@dataclass(frozen=True)
class Curve:
    """Mean change of the probability under ROAD's removal.

    Attributes:
        name: of the method.
        morf: at each share, the most relevant pixels being removed first.
        lerf: the least relevant first.
    """

    name: str
    morf: tuple[float, ...]
    lerf: tuple[float, ...]


@dataclass(frozen=True)
class Curves:
    """Curves of several methods on the same images.

    Attributes:
        images: how many.
        removed: shares of the pixels that are removed, in per cent, ascending.
        curves: of the winner, the best published CAM, Grad-CAM and random weights.
    """

    images: int
    removed: tuple[float, ...]
    curves: tuple[Curve, ...]


def keep_curves(result: Result, explained: ExplainedNetwork, unseen: ImageSet) -> Path | None:
    """Measure the curves on held-out images and write ``curves.json`` into the run's folder.

    Returns:
        The file; None where there is no image.
    """
    if len(unseen) == 0:
        return None
    images = unseen.subset(list(range(min(IMAGES, len(unseen)))))
    methods = {name: find_method(name) for name in _names(result)}
    leaves = frozenset().union(*(method.leaves for method in methods.values()))
    evidence, context = explained.measure(images, leaves=leaves)
    morf, lerf = RoadMorf(), RoadLerf()
    curves = []
    with torch.no_grad():
        for name, method in methods.items():
            maps = ranking_maps(method.heatmaps(evidence, context), context)
            fades = morf.curves(maps, context)["morf"], lerf.curves(maps, context)["lerf"]
            # At percentile q the share 100 - q is removed: turned, so that shares ascend.
            first, last = (fade.mean((0, 1)).flip(0).tolist() for fade in fades)
            curves.append(Curve(name, tuple(first), tuple(last)))
    removed = tuple(100.0 - q for q in reversed(morf.percentiles))
    file = result.path / CURVES_FILE
    _write(file, Curves(len(images), removed, tuple(curves)))
    return file


def kept_curves(result: Result) -> Curves | None:
    """What :func:`keep_curves` wrote; None where there is no such file, or a damaged one.

    Raises:
        NotPlainError: a link, or something else that is no plain file.
    """
    try:
        data = read_json(result.path / CURVES_FILE, TEXT)
        if data["schema"] != SCHEMA:
            return None
        curves = [
            Curve(str(c["name"]), _floats(c["morf"]), _floats(c["lerf"])) for c in data["curves"]
        ]
        return Curves(int(data["images"]), _floats(data["removed"]), tuple(curves))
    except NotPlainError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _names(result: Result) -> list[str]:
    names = [result.best.expression] if result.best else []
    names += [result.validation.best_published] if result.validation.best_published else []
    if result.best:
        names += [at_deepest(name, result) for name in REFERENCES]
    return list(dict.fromkeys(names))


def _floats(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def _write(file: Path, found: Curves) -> None:
    data: Mapping[str, object] = {
        "schema": SCHEMA,
        "images": found.images,
        "removed": found.removed,
        "curves": [vars(curve) for curve in found.curves],
    }
    write_whole(file, json_text(data, ensure_ascii=False, indent=1) + "\n", within=file.parent)
