"""Heatmaps to scores."""

from sycam.metrics.base import (
    EXACT,
    METRICS,
    POSITIVE_SCALE,
    RANKING,
    Metric,
    find_metric,
    register,
)
from sycam.metrics.context import Candidates, Context
from sycam.metrics.curves import Deletion, Insertion
from sycam.metrics.localisation import EnergyPointingGame, IoU
from sycam.metrics.road import Road, RoadLerf, RoadMorf

__all__ = [
    "EXACT",
    "METRICS",
    "POSITIVE_SCALE",
    "RANKING",
    "Candidates",
    "Context",
    "Deletion",
    "EnergyPointingGame",
    "Insertion",
    "IoU",
    "Metric",
    "Road",
    "RoadLerf",
    "RoadMorf",
    "find_metric",
    "register",
]
