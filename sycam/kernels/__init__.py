"""Expressions to numbers: programs with shared subexpressions, and heatmaps.

One formula as torch source is in :mod:`sycam.kernels.source`, as a compiled graph in
:mod:`sycam.kernels.fused`; both import sympy, so they are not imported from here.
"""

from sycam.kernels.fusion import Fusion, check_fusion, fuse, maps_of
from sycam.kernels.heatmaps import (
    Heatmaps,
    finish,
    from_sums,
    heatmaps,
    is_degenerate,
    norm01,
    upsample,
)
from sycam.kernels.program import Kept, channel_totals, combine, evaluate, weighted_sums

__all__ = [
    "Fusion",
    "Heatmaps",
    "Kept",
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
