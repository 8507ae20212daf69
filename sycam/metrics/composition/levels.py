"""A metric at some of its levels: what chooses among heatmaps must not judge the choice."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from sycam.errors import OptionError
from sycam.metrics.base import METRICS, Metric
from sycam.metrics.context import Context
from sycam.support.arguments import argument


class AtLevels(Metric):
    """A metric seen at some of its levels, as if the others were like them.

    Args:
        metric: one with several levels.
        levels: places of these, from 0 on.

    Attributes:
        metric, levels_seen: the same.

    >>> from sycam.metrics import find_metric
    >>> AtLevels(find_metric("road"), (1, 3, 5, 7)).text
    'road at levels 2, 4, 6, 8 of 9'
    """

    def __init__(self, metric: Metric, levels: Sequence[int]):
        self.metric, self.levels_seen = metric, tuple(levels)
        self.name = self.summary = self.text
        self.source, self.family, self.traps = metric.source, metric.family, metric.traps
        self.higher_is_better, self.range = metric.higher_is_better, metric.range
        self.invariance, self.in_units_of_target = metric.invariance, metric.in_units_of_target
        self.rewards_blur, self.volumes = metric.rewards_blur, metric.volumes
        self.leaves = metric.leaves
        self.passes = math.ceil(metric.passes * len(self.levels_seen) / metric.levels)

    @property
    def text(self) -> str:
        numbers = ", ".join(map(str, self.numbers))
        return f"{self.metric.text} at levels {numbers} of {self.metric.levels}"

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of the levels, for people: from 1 on."""
        return tuple(level + 1 for level in self.levels_seen)

    @classmethod
    def parameters(cls) -> Mapping[str, inspect.Parameter]:
        return {}

    @property
    def options(self) -> dict[str, object]:
        return {"of": self.metric.options, "levels": list(self.levels_seen)}

    @property
    def version(self) -> str:
        return self.metric.version

    def check(self, context: Context) -> None:
        self.metric.check(context)

    def score(self, maps: Tensor, context: Context) -> Tensor:
        levels = torch.tensor(self.levels_seen, device=maps.device).expand(len(context), -1)
        share = len(self.levels_seen) / self.metric.levels
        return self.metric.score_at(maps, context, levels).sum(-1) / share


def halves(metric: Metric) -> tuple[AtLevels, AtLevels]:
    """A metric at every second level, which chooses heatmaps image by image, and at the others,
    which judge the choice: with its usual percentiles ROAD chooses by the even deciles.

    Raises:
        OptionError: the metric cannot choose: it compares with ground truth, which an image that
            is to be explained does not have, or has no levels.
    """
    why = ""
    if metric.needs_masks:
        why = "compares with ground truth, which an image that is to be explained does not have"
    elif metric.components or metric.levels < 2:
        why = "has no levels of which half could choose and the other half judge"
    if why:
        able = ", ".join(name for name, kind in METRICS.items() if kind().levels > 1)
        raise OptionError(
            f"{argument('adapt')} chooses a formula image by image, and metric {metric.text!r} "
            f"{why}; use one of {able}"
        )
    return (
        AtLevels(metric, range(1, metric.levels, 2)),
        AtLevels(metric, range(0, metric.levels, 2)),
    )


def best_member(oriented: np.ndarray) -> np.ndarray:
    """``[N]`` which of K candidates scores best on each image; the first of those that tie.

    Args:
        oriented: ``[K,N]``, higher is better; a score that is not defined is never the best.

    >>> best_member(np.array([[0.1, 0.5, np.nan], [0.2, 0.5, 0.0]])).tolist()
    [1, 0, 1]
    """
    return np.where(np.isnan(oriented), -np.inf, oriented).argmax(0)
