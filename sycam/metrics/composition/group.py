"""What a metric made of several others needs and returns: all that these do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sycam.metrics.base import INVARIANCES, Metric
from sycam.metrics.context import Context


class MetricGroup(Metric):
    """Base of metrics that are made of others.

    Attributes:
        metrics: the others.
    """

    metrics: tuple[Metric, ...]

    def _take(self, metrics: Sequence[Metric]) -> tuple[str, ...]:
        """Need what the metrics need; return the names of all their components together."""
        self.metrics = tuple(metrics)
        self.source = "; ".join(dict.fromkeys(m.source for m in self.metrics))
        self.invariance = min((m.invariance for m in self.metrics), key=INVARIANCES.index)
        self.needs_masks = any(m.needs_masks for m in self.metrics)
        self.rewards_blur = any(m.rewards_blur for m in self.metrics)
        self.volumes = all(m.volumes for m in self.metrics)
        self.leaves = frozenset().union(*(m.leaves for m in self.metrics))
        self.passes = sum(m.passes for m in self.metrics)
        self.measurements = sum(m.measurements for m in self.metrics)
        self.shared_measurements = sum(m.shared_measurements for m in self.metrics)
        return tuple(f"{m.text} {c}".rstrip() for m in self.metrics for c in m.components or ("",))

    def check(self, context: Context) -> None:
        for metric in self.metrics:
            metric.check(context)

    def unit(self, scale: float) -> float:
        """The least of the metrics'."""
        return min(m.unit(scale) for m in self.metrics)

    def rounded(self, values: np.ndarray, scale: float, digits: int) -> np.ndarray:
        if not self.components:
            return super().rounded(values, scale, digits)
        parts = zip(self.metrics, self._apart(values), strict=True)
        rounded = [(m, m.rounded(part, scale, digits)) for m, part in parts]
        return np.concatenate([r if m.components else r[..., None] for m, r in rounded], -1)

    def _apart(self, values: np.ndarray) -> Iterator[np.ndarray]:
        """``[..., N]`` or ``[..., N, c]`` of each metric, from all components."""
        start = 0
        for metric in self.metrics:
            width = len(metric.components)
            yield values[..., start : start + width] if width else values[..., start]
            start += width or 1
