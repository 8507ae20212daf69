"""Held-out statistics: intervals by resampling images, paired tests, and Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from sycam.metrics import Metric
from sycam.support.schema import Figure

RESAMPLES = 9999
_AT_ONCE = 333  # resamples of a figure that is no mean, computed together
_PARTS = (_AT_ONCE,) * (RESAMPLES // _AT_ONCE) + (RESAMPLES % _AT_ONCE,)
_ELEMENTS = 2_000_000  # scores that are resampled together
_LEAST_ERROR = 0.1  # of a resample, in standard errors of the sample
CONFIDENCE = 0.95
FEW = 32  # images, below which intervals cover less than they say and a warning is given
RARE = 8  # images with another score than most, below which it is given, too


@dataclass(frozen=True)
class Interval:
    """A figure, for most metrics a mean, with its 95 % bootstrap interval over images."""

    mean: Figure
    low: Figure
    high: Figure


@dataclass(frozen=True)
class Comparison:
    """The winner against another method on the same held-out images.

    Attributes:
        difference: winner minus other, oriented so that positive favours the winner.
        p: two-sided permutation test of the difference: :func:`sign_flip_p` of means,
            :func:`swap_p` of figures that are no means.
        p_holm: the same, Holm-corrected over all published CAMs and controls, and all goals.
        p_wilcoxon: two-sided Wilcoxon signed-rank test, uncorrected.
    """

    difference: Interval
    p: float
    p_holm: float
    p_wilcoxon: float


def compared(
    differences: Sequence[np.ndarray],
    seed: int = 0,
    known: Sequence[float | None] | None = None,
    spans: Sequence[float] | None = None,
) -> list[Comparison]:
    """Tests of one family, in the order given.

    Args:
        differences: winner minus other on each image, higher being better.
        seed: of bootstrap and sign flips.
        known: p values found otherwise, by :func:`swap_p`; None where signs are flipped.
        spans: how far apart two scores can be; any distance if None.
    """
    known = known or [None] * len(differences)
    spans = spans or [math.inf] * len(differences)
    raw = [
        sign_flip_p(d, seed) if p is None else p for d, p in zip(differences, known, strict=True)
    ]
    return [
        Comparison(_possible(mean_interval(d, seed), d, -span, span), p, p_holm, wilcoxon_p(d))
        for d, p, p_holm, span in zip(differences, raw, holm(raw), spans, strict=True)
    ]


def interval(values: np.ndarray, metric: Metric, seed: int = 0, fitted: Any = None) -> Interval:
    """A metric's figure with its bootstrap interval over images.

    Args:
        values: ``[N]`` or ``[N,c]`` of one candidate.
        metric: reduces them. Of means it is a bootstrap-t interval, which ends where the metric's
            range does, of others by percentiles.
        seed: of the resampling.
        fitted: what other images decided, see :meth:`sycam.metrics.Metric.fit`.
    """
    if not metric.components:
        return _possible(mean_interval(values, seed), values, *metric.range)
    figure, count = float(metric.reduce(values, fitted)), len(values)
    rng = np.random.default_rng(seed)
    figures = [
        metric.reduce(values[rng.integers(count, size=(part, count))], fitted) for part in _PARTS
    ]
    return percentile_interval(figure, np.concatenate(figures))


def _possible(found: Interval, values: np.ndarray, low: float, high: float) -> Interval:
    """The part of a mean's interval in which the mean can lie, which of few images it may leave;
    the interval as it is where values lie outside, too, as a callable target's may."""
    if not (np.all(values >= low) and np.all(values <= high)):
        return found
    return replace(
        found, low=max(found.low, min(low, found.mean)), high=min(found.high, max(high, found.mean))
    )


def percentile_interval(figure: float, resampled: np.ndarray) -> Interval:
    """A figure with the percentiles of ``[R]`` resampled ones, but those undefined."""
    resampled = resampled[np.isfinite(resampled)]
    if not len(resampled):
        return Interval(figure, figure, figure)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, (tail, 1 - tail))
    return Interval(figure, float(low), float(high))


def resampled_sums(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """``[R,...]`` sums over as many images as there are, drawn with replacement as
    :func:`interval` draws them: for many figures that are made of sums.

    Args:
        values: ``[N,...]`` finite.
        seed: of the resampling.
    """
    count, rng = len(values), np.random.default_rng(seed)
    flat, sums = values.reshape(count, -1), []
    for part in _PARTS:
        drawn = rng.integers(count, size=(part, count)) + count * np.arange(part)[:, None]
        times = np.bincount(drawn.ravel(), minlength=part * count).reshape(part, count)
        sums.append(times @ flat)
    return np.concatenate(sums).reshape(-1, *values.shape[1:])


def mean_interval(values: np.ndarray, seed: int = 0) -> Interval:
    """Mean of ``[N]`` values with its bootstrap-t interval; the mean alone where they are equal.

    Each resample's mean is measured in its own standard errors (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 12), which covers better than BCa at few images
    (of normal scores at 8 images 94 % instead of 86 %). A resample that happens to hold nearly one
    value would say infinity: its error counts as a tenth of the sample's at least.
    """
    mean, count = float(np.mean(values)), len(values)
    if count < 2 or np.ptp(values) == 0 or not np.isfinite(mean):
        return Interval(mean, mean, mean)
    rng, part = np.random.default_rng(seed), max(1, _ELEMENTS // count)
    spread = float(np.std(values, ddof=1))
    apart = []
    for start in range(0, RESAMPLES, part):
        resampled = values[rng.integers(count, size=(min(part, RESAMPLES - start), count))]
        errors = resampled.std(-1, ddof=1).clip(_LEAST_ERROR * spread)
        apart.append((resampled.mean(-1) - mean) / errors)
    tail = (1 - CONFIDENCE) / 2
    low, high = map(float, np.quantile(np.concatenate(apart), (tail, 1 - tail)))
    # Of values that nearly all are one the quantile may lie on the wrong side of it.
    return Interval(mean, mean - max(0.0, high) * spread, mean - min(0.0, low) * spread)


def caution(scores: Sequence[np.ndarray]) -> str | None:
    """What to know before intervals and p values of so few images are trusted, or None.

    Args:
        scores: ``[N]`` of each method on the same images.
    """
    count = len(scores[0]) if scores else 0
    if not count:
        return None
    if count < FEW:
        return (
            f"{count} images are few: the 95 % intervals may cover the true figure less often, and "
            f"no p value can say much; give {FEW} or more"
        )
    differing = min(count - int(np.unique(one, return_counts=True)[1].max()) for one in scores)
    if differing < RARE:
        return (
            f"all but {differing} of {count} images have one score under some method: the 95 % "
            "intervals of such a method cover the true figure less often than they say"
        )
    return None


def sign_flip_p(differences: np.ndarray, seed: int = 0) -> float:
    """Two-sided p of a mean difference of 0, by flipping the signs of paired differences; 1 where
    there is no difference, or one that is undefined."""
    if not np.any(differences) or not np.isfinite(differences).all():
        return 1.0
    return float(
        stats.permutation_test(
            (differences,),
            lambda d, axis: np.mean(d, axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=RESAMPLES,
            rng=np.random.default_rng(seed),
        ).pvalue
    )


@dataclass(frozen=True)
class Scored:
    """One method's scores under one metric.

    Attributes:
        oriented: ``[N]`` what each image adds to the figure, higher being better.
        metric: the metric.
        values: ``[N]`` or ``[N,c]`` as the metric scores them.
        fitted: what other images decided, see :meth:`sycam.metrics.Metric.fit`.
    """

    oriented: np.ndarray
    metric: Metric
    values: np.ndarray
    fitted: Any = None


def swappable(one: Scored, other: Scored) -> bool:
    """Whether two methods are compared by :func:`swap_p`.

    A mean needs no more than sign flips, and components mean the same for both methods only where
    the same was fitted for both.
    """
    return bool(one.metric.components) and one.fitted == other.fitted


def swap_p(one: Scored, other: Scored, seed: int = 0) -> float:
    """Two-sided p of two methods having one figure, where that is no mean.

    If the methods are exchangeable, so are their components on each image: these are swapped image
    by image and reduced again. Pseudo-values, which are only nearly independent, would give p
    values that are too small with few images. All swaps are tried where there are few. A swap
    under which the figure is undefined counts as if it were as far apart. 1 where the difference
    is 0 or undefined.
    """
    first, second, metric = one.values, other.values, one.metric

    def apart(swaps: np.ndarray) -> np.ndarray:
        chosen = swaps[..., None]
        a = metric.reduce(np.where(chosen, second, first), one.fitted)
        b = metric.reduce(np.where(chosen, first, second), one.fitted)
        return np.abs(np.asarray(a) - np.asarray(b))

    count = len(first)
    (seen,) = apart(np.zeros((1, count), dtype=bool))
    if not np.isfinite(seen) or seen == 0:
        return 1.0
    exact = 2**count <= RESAMPLES
    if exact:
        swaps = (np.arange(2**count)[:, None] >> np.arange(count)) & 1 == 1
    else:
        swaps = np.random.default_rng(seed).random((RESAMPLES, count)) < 0.5
    parts = np.array_split(swaps, -(-len(swaps) // _AT_ONCE))
    differences = np.concatenate([apart(part) for part in parts])
    # As scipy has it: what rounding alone puts below counts.
    nearer = differences < seen * (1 - 1e-12)
    reached = len(differences) - int(nearer.sum())
    return reached / len(differences) if exact else (reached + 1) / (len(differences) + 1)


def wilcoxon_p(differences: np.ndarray) -> float:
    """Two-sided Wilcoxon signed-rank test; 1 where :func:`sign_flip_p` is."""
    if not np.any(differences) or not np.isfinite(differences).all():
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: family-wise error kept, in the order given.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    corrected, running = [0.0] * len(p_values), 0.0
    for place, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - place) * p_values[i]))
        corrected[i] = float(running)
    return corrected
