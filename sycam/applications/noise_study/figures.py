"""Consistency, responsiveness and their product, pooled over copies and images, or ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sycam.metrics.robustness.noise import Noise
from sycam.metrics.robustness.responsiveness import shares
from sycam.scoring.ranks import MeanRanks, mean_ranks
from sycam.scoring.statistics import Interval, percentile_interval, resampled_sums
from sycam.support.schema import Count

RM, CONSISTENCY, RESPONSIVENESS = FIGURES = ("rm", "consistency", "responsiveness")
ALL = "all"  # kinds of noise


@dataclass(frozen=True)
class NoiseRow:
    """One method under one kind and level of noise, or under several pooled.

    Attributes:
        noise: its kind, or :data:`ALL`.
        level: its strength; None where all levels are pooled.
        method: its name.
        rm, consistency, responsiveness: with 95 % intervals over images; NaN where undefined.
        kept, changed: how many noisy images keep, and change, the prediction.
    """

    noise: str
    level: float | None
    method: str
    rm: Interval
    consistency: Interval
    responsiveness: Interval
    kept: Count
    changed: Count


def rows_of(
    copies: Sequence[Noise], parts: Mapping[str, np.ndarray], seed: int
) -> tuple[NoiseRow, ...]:
    """Rows of all noise, then of each kind at all its levels, then of each level.

    Args:
        copies: V noisy copies.
        parts: method to ``[N,V,4]``, the components of RM for each image and copy.
        seed: of the bootstrap.
    """
    groups = _groups(copies)
    pools = np.array([[one in held for one in copies] for held in groups.values()], dtype=float)
    found = {method: _figures(pools @ values, seed) for method, values in parts.items()}
    counts = next(iter(parts.values())).sum(0) if parts else np.zeros((len(copies), 4))
    return tuple(
        NoiseRow(
            noise,
            level,
            method,
            **dict(zip(FIGURES, found[method][place], strict=True)),
            kept=round(pooled[1]),
            changed=round(pooled[3]),
        )
        for place, ((noise, level), pooled) in enumerate(zip(groups, pools @ counts, strict=True))
        for method in parts
    )


def ranks_of(parts: Mapping[str, np.ndarray]) -> dict[str, MeanRanks | None]:
    """Mean ranks over images by each of :data:`FIGURES` of every image, pooled over its copies.

    An image none of whose copies keeps (or changes) the prediction is left out of what needs it.
    None where there are fewer than three methods or two such images.

    Args:
        parts: as for :func:`rows_of`.
    """
    each = [shares(values.sum(1)) for values in parts.values()]  # [N] twice, of each method
    tables = {
        RM: [c * r for c, r in each],
        CONSISTENCY: [c for c, _ in each],
        RESPONSIVENESS: [r for _, r in each],
    }
    ranks: dict[str, MeanRanks | None] = {}
    for figure, columns in tables.items():
        table = np.stack(columns, 1)
        enough = len(parts) > 2 and np.isfinite(table).all(1).sum() > 1
        ranks[figure] = mean_ranks(table, list(parts)) if enough else None
    return ranks


def _groups(copies: Sequence[Noise]) -> dict[tuple[str, float | None], list[Noise]]:
    groups: dict[tuple[str, float | None], list[Noise]] = {(ALL, None): list(copies)}
    for kind in dict.fromkeys(one.kind for one in copies):
        groups[kind, None] = [one for one in copies if one.kind == kind]
    for one in copies:
        groups.setdefault((one.kind, one.level), []).append(one)
    return groups


def _figures(values: np.ndarray, seed: int) -> list[list[Interval]]:
    """The three figures of each of G groups from ``[N,G,4]``."""
    figures, resampled = _of_sums(values.sum(0)), _of_sums(resampled_sums(values, seed))
    return [
        [percentile_interval(float(figures[g, f]), resampled[:, g, f]) for f in range(len(FIGURES))]
        for g in range(values.shape[1])
    ]


def _of_sums(sums: np.ndarray) -> np.ndarray:
    """``[...,3]`` figures of ``[...,4]`` sums."""
    consistency, responsiveness = shares(sums)
    return np.stack([consistency * responsiveness, consistency, responsiveness], -1)
