"""Figures over images of what is lost without the regions of each CAM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sycam.applications.hot_spots.ablation import (
    AREA,
    DROP,
    FLIP,
    PARTS,
    REGIONS,
    SHIFTED_DROP,
    SHIFTED_FLIP,
)
from sycam.scoring.statistics import (
    Comparison,
    Interval,
    compared,
    mean_interval,
    percentile_interval,
    resampled_sums,
)
from sycam.support.schema import Count, Figure


@dataclass(frozen=True)
class AblationRow:
    """One method over all images; an image without regions counts as one that loses nothing.

    Attributes:
        method: its name.
        area: share of the image that is removed, with its 95 % interval over images, as all
            intervals here.
        regions: mean number of connected regions.
        without_regions: on how many images there is none.
        ablated: what is explained without the regions, for most a probability.
        drop: what is lost of it, the mean of the clean value less ``ablated``.
        shifted_drop: what is lost without shifted regions, the mean over shifts.
        excess: the first less the second, with its test, Holm-corrected over the methods.
        flips: share of images whose prediction changes; NaN for a callable target.
        shifted_flips: the same without shifted regions.
    """

    method: str
    area: Interval
    regions: Figure
    without_regions: Count
    ablated: Interval
    drop: Interval
    shifted_drop: Interval
    excess: Comparison
    flips: Interval
    shifted_flips: Interval


def rows_of(
    parts: Mapping[str, np.ndarray], clean: np.ndarray, seed: int
) -> tuple[AblationRow, ...]:
    """A row for each method, in the order given.

    Args:
        parts: method to ``[N,6]``, see :data:`sycam.applications.hot_spots.ablation.PARTS`.
        clean: ``[N]`` what is explained on the clean images.
        seed: of bootstrap and sign flips.
    """
    columns = {method: dict(zip(PARTS, values.T, strict=True)) for method, values in parts.items()}
    excesses = compared([one[DROP] - one[SHIFTED_DROP] for one in columns.values()], seed)
    return tuple(
        AblationRow(
            method=method,
            area=_share(one[AREA], seed),
            regions=float(one[REGIONS].mean()),
            without_regions=int((one[REGIONS] == 0).sum()),
            ablated=mean_interval(clean - one[DROP], seed),
            drop=mean_interval(one[DROP], seed),
            shifted_drop=mean_interval(one[SHIFTED_DROP], seed),
            excess=excess,
            flips=_share(one[FLIP], seed),
            shifted_flips=_share(one[SHIFTED_FLIP], seed),
        )
        for (method, one), excess in zip(columns.items(), excesses, strict=True)
    )


def _share(values: np.ndarray, seed: int) -> Interval:
    """Mean of ``[N]`` shares with percentiles of resampled means, which stay within 0 and 1."""
    mean = float(values.mean())
    if not np.isfinite(mean):
        return Interval(mean, mean, mean)
    return percentile_interval(mean, resampled_sums(values, seed) / len(values))
