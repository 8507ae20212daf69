"""Any formulas under any metrics, side by side, without a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from sycam.errors import OptionError
from sycam.events import Note, Notify, Stage, Step, each, ignore
from sycam.evidence import Layers
from sycam.methods import Method, find_method, shown_methods
from sycam.metrics import Metric, find_metric
from sycam.networks import NamedNetwork, open_network
from sycam.problem.applicable import check_scorable, check_volumes
from sycam.problem.devices import devices_of, on_device
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import Images
from sycam.problem.options import DataOptions, ExplainOptions
from sycam.problem.problem import read_undivided
from sycam.problem.request import Request
from sycam.report.progress import Watcher, console_of
from sycam.scoring.statistics import Interval, caution, interval
from sycam.support.options import with_keywords
from sycam.support.text.html_table import html_table
from sycam.support.text.table import as_frame
from sycam.workers.hiring import by_workers, scoring_by
from sycam.workers.pools import Executor

COLUMNS = ("method", "metric", "mean", "low", "high", "higher_is_better", "flat", "images")
_FLAT = "flat"  # title of the column of images on which a heatmap ranks nothing


class _Named(dict):
    """By the metrics' names as they were asked for; found by their full texts, too."""

    def __init__(self, entries: dict, names: dict[str, str]):
        super().__init__(entries)
        self._names = names  # of full texts

    def __missing__(self, key: str | tuple[str, str]) -> Any:
        asked = (
            (key[0], self._names.get(key[1])) if isinstance(key, tuple) else self._names.get(key)
        )
        if asked not in self:
            raise KeyError(key)
        return self[asked]


@dataclass(frozen=True)
class Table:
    """Means of methods under metrics.

    Attributes:
        methods: row names.
        metrics: column names, as they were asked for; ``cells``, ``scores`` and ``directions``
            are found by the metrics' full texts as well.
        cells: ``(method, metric)`` to mean with 95 % bootstrap interval.
        scores: ``(method, metric)`` to ``[N]``, what each image adds to the figure.
        degenerate: method to the number of images on which its heatmap is flat.
        directions: metric to whether higher is better.
        images: number of images.
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    cells: dict[tuple[str, str], Interval]
    scores: dict[tuple[str, str], np.ndarray] = field(repr=False)
    degenerate: dict[str, int]
    directions: dict[str, bool]
    images: int

    def best(self, metric: str) -> str:
        """The method with the best mean under a metric, by a name that was given or its full
        text."""
        sign = 1 if self.directions[metric] else -1
        return max(self.methods, key=lambda m: sign * self.cells[m, metric].mean)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "images": self.images,
            "higher_is_better": self.directions,
            "methods": [
                {
                    "name": method,
                    "degenerate": self.degenerate[method],
                    "metrics": {
                        metric: {
                            "mean": self.cells[method, metric].mean,
                            "low": self.cells[method, metric].low,
                            "high": self.cells[method, metric].high,
                        }
                        for metric in self.metrics
                    },
                }
                for method in self.methods
            ],
        }

    def rows(self) -> list[dict[str, Any]]:
        """A row per method and metric, by the names in :data:`COLUMNS`."""
        return [
            {
                "method": method,
                "metric": metric,
                "mean": self.cells[method, metric].mean,
                "low": self.cells[method, metric].low,
                "high": self.cells[method, metric].high,
                "higher_is_better": self.directions[metric],
                "flat": self.degenerate[method],
                "images": self.images,
            }
            for method in self.methods
            for metric in self.metrics
        ]

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` with a row per method and metric: ``method``, ``metric``,
        ``mean``, the ends ``low`` and ``high`` of its 95 % interval, ``higher_is_better``, the
        number ``flat`` of images on which the heatmap ranks nothing, and that of all ``images``.

        Raises:
            OptionError: pandas is not installed.
        """
        return as_frame(COLUMNS, self.rows())

    def _repr_html_(self) -> str:
        """Means with their intervals, for notebooks."""

        def cell(method: str, metric: str) -> str:
            figure = self.cells[method, metric]
            return f"{figure.mean:.4f} [{figure.low:.3f}, {figure.high:.3f}]"

        head = [f"{m} {'↑' if self.directions[m] else '↓'}" for m in self.metrics]
        rows = [(method, *(cell(method, m) for m in self.metrics)) for method in self.methods]
        if any(self.degenerate.values()):
            head.append(_FLAT)
            rows = [(*row, str(self.degenerate[row[0]])) for row in rows]
        return html_table(f"{self.images} images", ("method", *head), rows)

    def __str__(self) -> str:
        width = max(map(len, (*self.methods, "method")))
        columns = [max(len(m), 7) for m in self.metrics]
        head = [f"{'method':{width}}"]
        head += [f"{m:>{c}}" for m, c in zip(self.metrics, columns, strict=True)]
        lines = [
            [f"{method:{width}}"]
            + [
                f"{self.cells[method, m].mean:>{c}.4f}"
                for m, c in zip(self.metrics, columns, strict=True)
            ]
            for method in self.methods
        ]
        if any(self.degenerate.values()):
            head.append(_FLAT)
            for line, method in zip(lines, self.methods, strict=True):
                line.append(f"{self.degenerate[method]:>{len(_FLAT)}}")
        return "\n".join("  ".join(line) for line in [head, *lines])


def evaluate(  # noqa: PLR0913 (public)
    network: nn.Module | str | NamedNetwork,
    layer: Layers,
    images: Images,
    methods: Sequence[str | Method] | None,
    metrics: Sequence[str | Metric],
    *,
    count: int | None = None,
    data: DataOptions = DataOptions(),
    explain: ExplainOptions = ExplainOptions(),
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool | None = None,
    notify: Notify = ignore,
    workers: int | str | None = None,
    executor: Executor | Callable[[], Executor] | None = None,
    **options: object,
) -> Table:
    """Score named methods and expressions under metrics, on all the images given or a sample.

    Args:
        network, layer, images, explain, seed, device, progress, workers, executor, options: as
            for :func:`sycam.synthesize`; ``"demo"`` as images is 64 held-out scenes.
        methods: names of ``sycam methods`` or expressions like ``"mean(relu(G)) * max(A)"``; all
            published CAMs and controls that need no expensive leaf (and that the metrics are
            defined for) if None.
        metrics: names of ``sycam metrics``.
        count: how many of the images, drawn by the seed; all if None.
        data: labels, masks and whether only images that are classified correctly count; nothing
            is divided here.
        notify: watches the progress.

    Returns:
        A table that prints itself.

    Raises:
        SycamError: for anything given that cannot be used.
    """
    divided = ("search_images", "heldout", "groups", "precision")
    data, explain = with_keywords(options, data, explain, without=divided)
    methods = [methods] if isinstance(methods, str) else methods
    metrics = [metrics] if isinstance(metrics, str) else metrics
    if (methods is not None and not methods) or not metrics:
        raise OptionError("name at least one method and one metric")
    chosen: dict[str, Metric] = {}
    asked: dict[str, str] = {}  # of full texts
    for one in metrics:
        metric = find_metric(one)
        chosen.setdefault(metric.text, metric)
        asked.setdefault(metric.text, one if isinstance(one, str) else metric.text)
    if methods is None:
        of_weights = any(m.of_weights for m in chosen.values())
        methods = [m for m in shown_methods() if m.has_weights or not of_weights]
    compared = {m.name: m for m in map(find_method, methods)}
    devices = devices_of(device)
    with Watcher(console_of(progress)) as watch, ExitStack() as stack:
        notify = each(watch, notify)
        scoring = stack.enter_context(scoring_by(workers, executor, notify, devices))
        known = on_device(open_network(network), devices[0])
        masked = any(m.needs_masks for m in chosen.values())
        request = Request(
            known, layer, images, data=data, explain=explain, seed=seed,
            streams=by_workers(workers, executor, devices),
        )  # fmt: skip
        image_set = read_undivided(request, known, count, masked, notify)
        for metric in chosen.values():
            check_volumes(metric, image_set)
            check_scorable(metric, compared.values())
        explained = ExplainedNetwork.prepare(
            known, layer, image_set, explain, seed, devices[0], notify
        )
        notify(Stage("Measuring activations and gradients", len(image_set)))
        leaves = frozenset().union(*(one.leaves for one in (*compared.values(), *chosen.values())))
        evidence, context = scoring.measure(explained, image_set, notify, leaves, gradients=False)
        for metric in chosen.values():
            metric.check(context)
        cells, scores, degenerate = {}, {}, {}
        under = list(chosen.values())
        scorer = scoring.scorer(under[0], evidence, context)
        notify(Stage("Preparing the network"))
        scorer.prepare(len(compared), under)
        notify(Stage("Scoring", len(compared)))
        for done, (name, method) in enumerate(compared.items(), 1):
            for metric, score in zip(under, scorer.score_under(under, method), strict=True):
                scores[name, asked[metric.text]] = metric.per_image(score.values)
                cells[name, asked[metric.text]] = interval(score.values, metric, seed)
                degenerate[name] = score.degenerate
            notify(Step(done))
        if said := caution(list(scores.values())):
            notify(Note(said))
    return Table(
        methods=tuple(compared),
        metrics=tuple(asked.values()),
        cells=_Named(cells, asked),
        scores=_Named(scores, asked),
        degenerate=degenerate,
        directions=_Named({asked[t]: m.higher_is_better for t, m in chosen.items()}, asked),
        images=len(image_set),
    )
