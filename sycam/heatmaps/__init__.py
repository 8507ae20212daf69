"""Expressions to numbers: programs with shared subexpressions, and heatmaps.

One formula as torch source is in :mod:`sycam.heatmaps.program`, as a compiled graph in
:mod:`sycam.heatmaps.compiled`; both import sympy, so they are not imported from here.
"""

from sycam.heatmaps.evaluate import KeptValues, channel_totals, combine, evaluate, weighted_sums
from sycam.heatmaps.heatmaps import (
    Heatmaps,
    finish,
    from_sums,
    heatmaps,
    is_degenerate,
    norm01,
    upsample,
)
from sycam.heatmaps.layers import Fusion, check_fusion, fuse, maps_of

__all__ = [
    "Fusion",
    "Heatmaps",
    "KeptValues",
    "channel_totals",
    "check_fusion",
    "combine",
    "evaluate",
    "finish",
    "from_sums",
    "fuse",
    "heatmaps",
    "is_degenerate",
    "maps_of",
    "norm01",
    "upsample",
    "weighted_sums",
]
