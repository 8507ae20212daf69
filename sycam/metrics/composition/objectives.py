"""Several metrics scored side by side, none weighed against another: what a Pareto front is of."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sycam.errors import OptionError
from sycam.metrics.base import Metric
from sycam.metrics.composition.group import MetricGroup
from sycam.metrics.context import Context


class Objectives(MetricGroup):
    """Two or more metrics as one that returns the scores of each.

    It stands wherever one metric does (scorer, journal, a run's identity). Where one figure is
    asked for (:meth:`reduce`, :meth:`per_image`, direction, range, bound), it is the first
    goal's; :meth:`figures` has all. A candidate that the first goal rules out may still be on the
    front, so nothing may be pruned or raced by that figure alone: as every metric with
    components, it is scored on all images.

    Args:
        metrics: the goals, the leading one first.

    Attributes:
        metrics: the goals.

    Raises:
        OptionError: fewer than two goals, one of them twice, or goals within goals.

    >>> from sycam.metrics import find_metric
    >>> Objectives([find_metric("road"), find_metric("iou")]).text
    'road & iou'
    """

    family = "composite"
    traps = (
        "A front holds formulas that are best at one goal and poor at the others: choose among "
        "its members, and look at each figure on held-out images."
    )

    def __init__(self, metrics: Sequence[Metric]):
        self.metrics = tuple(metrics)
        texts = [m.text for m in self.metrics]
        if len(texts) < 2:
            raise OptionError(
                f"several goals are two or more metrics, got {', '.join(texts) or 'none'}; give "
                "another one, or use the metric alone"
            )
        if nested := [m.text for m in self.metrics if isinstance(m, Objectives)]:
            raise OptionError(f"{nested[0]} is several goals already; list each metric by itself")
        if repeated := [text for i, text in enumerate(texts) if text in texts[:i]]:
            raise OptionError(f"goal {repeated[0]!r} is given twice; give it once")
        first = self.metrics[0]
        self.name = self.summary = " & ".join(texts)
        self.formula = rf"\left({', '.join(map(_latex, texts))}\right)"
        self.definition = f"{', '.join(texts)}: a figure of each; where one must do, {texts[0]}"
        self.higher_is_better, self.range = first.higher_is_better, first.range
        self.components = self._take(self.metrics)

    @property
    def text(self) -> str:
        return self.name

    @classmethod
    def parameters(cls) -> Mapping[str, inspect.Parameter]:
        return {}

    @property
    def options(self) -> dict[str, object]:
        return {"goals": [[m.text, m.options, m.version] for m in self.metrics]}

    @property
    def looks_elsewhere(self) -> bool:
        return any(m.looks_elsewhere for m in self.metrics)

    def score(self, maps: Tensor, context: Context) -> Tensor:
        """Scores ``[P,N,c]``: those of each goal, one after another.

        What goals compute alike for the same heatmaps (the order of pixels, the probabilities of
        perturbed images) the context of an engine lets them compute once.
        """
        scores = [m.score(maps, context) for m in self.metrics]
        return torch.cat([s if m.components else s[..., None]
                          for m, s in zip(self.metrics, scores, strict=True)], -1)  # fmt: skip

    def fit(self, values: np.ndarray) -> list[Any]:
        """What the search images decide for each goal."""
        return [m.fit(v) for m, v in zip(self.metrics, self._apart(values), strict=True)]

    def reduce(self, values: np.ndarray, fitted: Sequence[Any] | None = None) -> np.ndarray:
        """The figure of the first goal."""
        return self.metrics[0].reduce(self.part(values, 0), fitted and fitted[0])

    def per_image(self, values: np.ndarray, fitted: Sequence[Any] | None = None) -> np.ndarray:
        """``[N]`` what each image adds to the first goal's figure."""
        return self.metrics[0].per_image(self.part(values, 0), fitted and fitted[0])

    def figures(self, values: np.ndarray, fitted: Sequence[Any] | None = None) -> np.ndarray:
        """Each goal's figure, in its own direction.

        Args:
            values: ``[..., N, c]`` of :meth:`score`.
            fitted: of :meth:`fit` on other images; what these images decide if None.

        Returns:
            ndarray[..., goals], NaN where a figure is undefined.
        """
        each = zip(self.metrics, self._apart(values), fitted or self._nothing, strict=True)
        return np.stack([m.reduce(v, f) for m, v, f in each], -1)

    def part(self, values: np.ndarray, i: int) -> np.ndarray:
        """The scores of one goal, ``[..., N]`` or ``[..., N, c]`` as its own metric expects."""
        return list(self._apart(values))[i]

    def bound(self, context: Context) -> Tensor:
        return self.metrics[0].bound(context)

    @property
    def _nothing(self) -> list[None]:
        return [None] * len(self.metrics)


def goals_of(metric: Metric) -> tuple[Metric, ...]:
    """The goals of a metric: itself, or those of :class:`Objectives`."""
    return metric.metrics if isinstance(metric, Objectives) else (metric,)


def _latex(text: str) -> str:
    said = text.replace("_", r"\_")
    return rf"\text{{{said}}}"
