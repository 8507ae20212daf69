"""Learnt weights of several layers: how much each layer's heatmap should count."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import numpy as np
import torch
from torch import nn

from sycam.data.images import ImageSet
from sycam.errors import OptionError
from sycam.events import Note, Notify, Stage, Step, ignore
from sycam.evidence import Layers, as_layers
from sycam.heatmaps import Heatmaps, fuse
from sycam.inference import sharing_cores
from sycam.language import Expression
from sycam.methods import find_method
from sycam.metrics import Context, Metric, find_metric
from sycam.networks import NamedNetwork, open_network
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import Images
from sycam.problem.options import DataOptions, ExplainOptions
from sycam.problem.problem import read_and_divide
from sycam.problem.request import Request
from sycam.scoring.scorer import ranking_maps
from sycam.scoring.statistics import Interval, interval
from sycam.support.options import with_keywords

MOST = 300  # weightings tried
TOGETHER = 16  # weightings scored in one batch
_ELEMENTS = 4_000_000  # pixels of heatmaps in memory at once


@dataclass(frozen=True)
class LayerWeights:
    """Weights of layers, with the evidence for them.

    Attributes:
        weights: one per layer, not negative, of sum 1: ``CAM(..., fusion=weights)``.
        layers: names of the layers.
        search: mean score on the images that the weights were learnt on.
        heldout: mean score on unseen images, with a 95 % bootstrap interval.
        alternatives: the same held-out figure for the plain mean and for each layer alone.
    """

    weights: tuple[float, ...]
    layers: tuple[str, ...]
    search: float
    heldout: Interval
    alternatives: dict[str, Interval]


def learn_fusion(  # noqa: PLR0913 (public)
    network: nn.Module | str | NamedNetwork,
    layers: Layers,
    formula: str | Expression,
    images: Images,
    metric: str | Metric = "road",
    *,
    data: DataOptions = DataOptions(),
    explain: ExplainOptions = ExplainOptions(),
    seed: int = 0,
    device: str | torch.device | None = None,
    notify: Notify = ignore,
    **options: object,
) -> LayerWeights:
    """Find the weights of layers under which the fused heatmap of a formula scores best.

    All weightings of a regular grid on the simplex are scored (tenths for two and three layers,
    coarser for more), the corners and the plain mean among them.

    Args:
        network, images, metric, data, explain, seed, device, notify, options: as for
            :func:`sycam.synthesize`.
        layers: at least two.
        formula: an expression or a method's name.

    Raises:
        SycamError: for anything given that cannot be used.
    """
    given = with_keywords(options, data, explain, without=("fusion", "precision"))
    data, explain = given[0], replace(given[1], fusion="mean")  # the fusion is what is learnt
    wanted = as_layers(layers)
    if len(wanted) < 2:
        raise OptionError(f"learning a fusion needs at least two layers, got {len(wanted)}")
    metric, method = find_metric(metric), find_method(formula)
    known = open_network(network)
    asked = Request(known, wanted, images, metric, data=data, explain=explain, seed=seed)
    searched, unseen = read_and_divide(asked, known, [metric], notify)
    explained = ExplainedNetwork.prepare(known, wanted, searched, explain, seed, device, notify)

    def layer_maps(image_set: ImageSet, said: str) -> tuple[list[Heatmaps], Context]:
        notify(Stage(f"Measuring {said} images", len(image_set)))
        evidence, context = explained.measure(image_set, notify, method.leaves, gradients=False)
        return [method.heatmaps(layer, context) for layer in evidence.layers], context

    count = len(wanted)
    equal = (1 / count,) * count
    tried = list(dict.fromkeys([equal, *_simplex(count, _steps(count))]))
    corners = [tuple(float(i == j) for j in range(count)) for i in range(count)]
    names = tuple(layer.name for layer in explained.layers)
    with sharing_cores(lambda text: notify(Note(text))):
        maps, context = layer_maps(searched, "search")
        context.classifier.plan(len(tried) * len(context) * metric.passes)
        notify(Stage("Scoring weights of layers", len(tried)))
        means: list[float] = []  # oriented: higher is better
        for start in range(0, len(tried), TOGETHER):
            scores = _scores(tried[start : start + TOGETHER], maps, metric, context)
            means += [metric.oriented(float(metric.reduce(one))) for one in scores]
            notify(Step(len(means)))
        best = tried[int(np.argmax(means))]
        maps, context = layer_maps(unseen, "held-out")
        trials = _scores([best, equal, *corners], maps, metric, context)
    figures = [interval(scores, metric, seed) for scores in trials]
    return LayerWeights(
        best,
        names,
        metric.oriented(max(means)),
        figures[0],
        dict(zip(("mean", *names), figures[1:], strict=True)),
    )


def _scores(
    weightings: list[tuple[float, ...]], maps: list[Heatmaps], metric: Metric, context: Context
) -> np.ndarray:
    """Scores ``[P,N]`` of P weightings, or ``[P,N,c]``."""
    step = max(1, _ELEMENTS // (len(weightings) * math.prod(context.size)))
    columns = []
    for start in range(0, len(context), step):
        part = slice(start, start + step)
        layers = [Heatmaps(m.maps[:, part], m.degenerate[:, part], m.finite) for m in maps]
        fused = [fuse(layers, weights) for weights in weightings]
        together = Heatmaps(
            torch.cat([one.maps for one in fused]),
            torch.cat([one.degenerate for one in fused]),
            torch.cat([one.finite for one in fused]),
        )
        shown = context.subset(part)
        columns.append(metric.score(ranking_maps(together, shown), shown))
    return torch.cat(columns, 1).double().cpu().numpy()


def _steps(layers: int) -> int:
    """The finest regular grid of at most MOST weightings, tenths at most."""
    fine = (s for s in range(10, 1, -1) if math.comb(s + layers - 1, layers - 1) <= MOST)
    return next(fine, 1)


def _simplex(layers: int, steps: int) -> Iterator[tuple[float, ...]]:
    """All weights that are multiples of 1 / steps and sum to 1."""
    for bars in combinations(range(steps + layers - 1), layers - 1):
        edges = (-1, *bars, steps + layers - 1)
        yield tuple((b - a - 1) / steps for a, b in pairwise(edges))
