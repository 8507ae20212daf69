"""The statistics of a race: when a candidate is dropped before it has seen all search images.

A candidate races against the *leader*, the best admissible candidate that has seen all N images.
After each stage, with n images seen, it is dropped where a test rejects "its mean on all N images
is higher than the leader's by more than the tolerance". Images come in the order of their content
hashes, so that those seen are a random sample, drawn without replacement, of all.

Formulas differ by less than images do, so that the mean of the differences seen is a poor guess
of the mean of all. What the *peers*, the candidates and published CAMs that have seen all images,
differ by is known on the images to come as well. Their few main directions of difference, by
principal components, are control variates: the candidate's difference is regressed on them, and
the unseen images are predicted (the regression estimator of survey sampling; Cochran, Sampling
Techniques, 1977, chapter 7). What is left to chance is the residual on the N - n images not seen,
which is nothing at n = N. Variances lean towards that of the peers (the moderated t of Smyth 2004),
so that sixteen equal images are no proof.

The estimate over its standard error must exceed Student's quantile, and what the same figure of the
peers' own differences, whose true means are known, exceeds by chance on random parts of the images
as large as that seen, at the same level. So the test learns how skewed the scores of this metric
are: an average drop is 0 on most images and large on a few.

Nor do the images seen say anything of a gain on few others: a candidate that is far ahead on 3 % of
them looks like one that never is until it meets the first. So a candidate that is behind stays in
while rare gains could still make up for it: gains up to the metric's bound (where there is none,
as large as any difference of peers), on as many images as those seen may miss by chance, at half of
delta. It costs little where the leader is near the bounds, and half as much again under IoU.

What is promised is that exact mode's best candidate, or one within the tolerance of it, is lost
with probability at most delta, as far as it errs no more often than peers do. Why no correction
over all candidates is needed: let r1, r2, …, rm be the candidates that exact mode would lead with
in turn, rm its best. As long as none of them is dropped, the race leads with exactly these, so that
only the m - 1 tests of r(k+1) against the leader that it met count, each a fixed pair, whatever
befalls the others. The k-th leader that anybody met has the level ``delta / (k (k + 1))``, which
sums to at most delta over any number of leaders, shared equally by the looks at it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from scipy import stats

from sycam.search.selection.rules import allowance

LIKE_LEADERS = 2  # peers whose differences to the others count as well as the leader's
PARTS = 200  # random parts of the images that peers are seen on
VARIATES = 3  # directions of difference, at most
IMAGES_EACH = 8  # that must have been seen for one of them
PRIOR = 4  # degrees of freedom that the peers' variance counts for
_ROUNDING = 1e-12


@dataclass(frozen=True)
class _Sample:
    """A part of the images, and how the mean over all is predicted from it.

    Attributes:
        design: ``[n,q+1]`` ones and the control variates of the images seen.
        solver: ``[q+1,n]`` gives the coefficients.
        unseen: ``[q+1]`` mean of the design on the images not seen.
        share: of the images not seen, 0 to 1.
        factor: standard error of the predicted mean, in residual standard deviations.
    """

    design: np.ndarray
    solver: np.ndarray
    unseen: np.ndarray
    share: float
    factor: float

    @classmethod
    def of(cls, variates: np.ndarray, count: int) -> _Sample:
        """The sample of the first images of ``[N,q]`` control variates."""
        total = len(variates)
        whole = np.column_stack([np.ones(total), variates])
        design = whole[:count]
        inverse = np.linalg.pinv(design.T @ design, hermitian=True)
        left = total - count
        unseen = (whole.sum(0) - design.sum(0)) / max(1, left)
        spread = unseen @ inverse @ unseen + (1 / left if left else 0.0)
        share = left / total
        return cls(design, inverse @ design.T, unseen, share, share * math.sqrt(max(0.0, spread)))

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the residuals."""
        return self.design.shape[0] - self.design.shape[1]

    def estimates(self, gaps: np.ndarray, prior: float) -> tuple[np.ndarray, np.ndarray]:
        """Predicted means over all images of ``[C,n]`` differences, and their standard errors."""
        weights = gaps @ self.solver.T
        left = gaps - weights @ self.design.T
        variance = ((left**2).sum(1) + PRIOR * prior) / (self.freedom + PRIOR)
        mean = (1 - self.share) * gaps.mean(1) + self.share * (weights @ self.unseen)
        return mean, np.sqrt(variance) * self.factor


@dataclass
class _Field:
    """What a leader and its peers say of the images.

    Attributes:
        gaps: ``[D,N]`` differences whose true means are known.
        variates: ``[N,q]`` main directions of the peers' differences to the leader, mean 0.
    """

    gaps: np.ndarray
    variates: np.ndarray
    _samples: dict[int, _Sample] = field(default_factory=dict)
    _priors: dict[int, float] = field(default_factory=dict)
    _figures: dict[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, leader: np.ndarray, peers: np.ndarray) -> _Field:
        """Of ``[N]`` and ``[P,N]`` scores, the best peer last."""
        gaps = np.concatenate([one - peers for one in (leader, *peers[-LIKE_LEADERS:])])
        apart = leader - peers
        apart = apart - apart.mean(1, keepdims=True)
        # Poor candidates differ most from the leader; who is in doubt is more like the good ones.
        size = np.sqrt((apart**2).mean(1, keepdims=True))
        apart = apart / np.where(size > 0, size, 1.0)
        directions = np.zeros((0, len(leader)))
        if len(peers) > VARIATES:
            _, strength, directions = np.linalg.svd(apart, full_matrices=False)
            strong = strength[:VARIATES] > 1e-6 * max(1.0, float(strength[0]))
            directions = directions[:VARIATES][strong]
        return cls(gaps[np.abs(gaps).max(1) > 0], directions.T * math.sqrt(len(leader)))

    def sample(self, count: int) -> _Sample:
        """Of the first images."""
        if count not in self._samples:
            self._samples[count] = _Sample.of(self._borne(count), count)
        return self._samples[count]

    def _borne(self, count: int) -> np.ndarray:
        """``[N,q]`` the control variates that so many images bear."""
        return self.variates[:, : count // IMAGES_EACH]

    def prior(self, count: int) -> float:
        """Residual variance of the known differences."""
        if count not in self._priors:
            whole = np.column_stack([np.ones(len(self.variates)), self._borne(count)])
            weights = np.linalg.lstsq(whole, self.gaps.T, rcond=None)[0]
            self._priors[count] = float(((self.gaps.T - whole @ weights) ** 2).mean())
        return self._priors[count]

    def chance(self, count: int, level: float, parts: np.ndarray) -> float:
        """What the figure of a known difference exceeds by chance with that probability.

        Args:
            count: of images seen.
            level: the probability.
            parts: ``[N,B]`` which images random parts of that size hold: 1 or 0.
        """
        if count not in self._figures:
            self._figures[count] = np.sort(self._by_chance(count, parts), axis=None)
        figures = self._figures[count]
        return float(figures[len(figures) - 1 - int(level * len(figures))])

    def _by_chance(self, count: int, parts: np.ndarray) -> np.ndarray:
        """``[D,B]`` estimated over standard error of each known difference, less its true mean: as
        :class:`_Sample` has them, of all parts at once."""
        gaps = self.gaps - self.gaps.mean(1, keepdims=True)
        whole = np.column_stack([np.ones(len(parts)), self._borne(count)])
        left, width = len(parts) - count, whole.shape[1]
        squares = np.stack([(whole * column[:, None]).T @ parts for column in whole.T])  # [q,q,B]
        inverse = np.linalg.pinv(squares.transpose(2, 0, 1), hermitian=True)
        products = np.stack([(gaps * column) @ parts for column in whole.T], -1)  # [D,B,q]
        weights = np.einsum("bij,dbj->dbi", inverse, products)
        unseen = (whole.sum(0) - parts.T @ whole) / left
        spread = np.einsum("bi,bij,bj->b", unseen, inverse, unseen) + 1 / left
        rest = ((gaps**2) @ parts - (weights * products).sum(-1)).clip(0)
        variance = (rest + PRIOR * self.prior(count)) / (count - width + PRIOR)
        mean = (products[..., 0] + left * (weights * unseen).sum(-1)) / len(parts)
        error = np.sqrt(variance * spread.clip(0)) * left / len(parts)
        return mean / np.maximum(error, _ROUNDING * np.abs(self.gaps).max())


class SequentialTest:
    """Drops candidates by a sequential test against the leader.

    Args:
        delta: probability of losing exact mode's best, at most, 0 to 1.
        tolerance: in units of the metric; a candidate that is better by less may be dropped.
        ends: number of images at the end of each stage.
        bounds: ``[N]`` the best score that any heatmap could get on each image, higher is better;
            infinite where there is no such end.
    """

    def __init__(self, delta: float, tolerance: float, ends: tuple[int, ...], bounds: np.ndarray):
        self.delta, self.tolerance, self.ends, self.bounds = delta, tolerance, ends, bounds
        self.looks = max(1, len(ends) - 1)
        self._parts: dict[tuple[int, int], np.ndarray] = {}
        self._fields: dict[tuple, _Field] = {}
        self._quantiles: dict[tuple[int, float], float] = {}

    def level(self, leaders: int) -> float:
        """Level of one look at the so-many-th leader; half of delta is kept for settling."""
        return self.delta / 2 / (leaders * (leaders + 1)) / self.looks

    def drops(self, leader: np.ndarray, seen: np.ndarray, leaders: int, peers: np.ndarray) -> bool:
        """Whether a candidate is dropped.

        Args:
            leader: ``[N]`` scores, higher is better.
            seen: ``[n]`` the candidate's, n at least 2.
            leaders: how many leaders candidates have met so far, this one included.
            peers: ``[P,N]`` scores of others that have seen all images, the best last.
        """
        if not self._behind(leader, seen, peers, self.tolerance, self.level(leaders)):
            return False
        return not self._may_catch_up(leader, seen, peers)

    def excludes(
        self, best: np.ndarray, seen: np.ndarray, rule: str, peers: np.ndarray, average: np.ndarray
    ) -> bool:
        """Whether a dropped candidate is further behind the best than the selection rule allows.

        This is one test of one fixed pair, the best and exact mode's choice, at the other half of
        delta. What ``lower-bound`` looks at is a figure in units of the metric, which may be missed
        by the tolerance; other rules look at cost or nominations as well, and are given none.

        Args:
            best: ``[N]`` scores of the leader.
            seen: ``[n]`` the candidate's.
            rule: of selection.
            peers: as for :meth:`drops`.
            average: ``[N]`` of the leaders, which ``lower-bound`` compares with.
        """
        count = len(seen)
        allowed = allowance(rule, best[:count], seen, len(best), average[:count])
        level = self.delta / 2 / self.looks
        spare = self.tolerance if rule == "lower-bound" else 0.0
        return self._behind(best, seen, peers, spare - allowed, level)

    def _behind(
        self, leader: np.ndarray, seen: np.ndarray, peers: np.ndarray, margin: float, level: float
    ) -> bool:
        """Whether the candidate, worsened by the margin, is behind beyond chance."""
        count = len(seen)
        known = self._field(leader, peers)
        sample = known.sample(count)
        if sample.freedom < 1 or not len(known.gaps):
            return False
        gaps = (leader[:count] - seen)[None]
        (mean,), (error,) = sample.estimates(gaps, known.prior(count))
        if mean + margin <= error * self._quantile(sample.freedom, level):
            return False
        parts = self._random_parts(len(leader), count)
        return mean + margin > error * known.chance(count, level, parts)

    def _may_catch_up(self, leader: np.ndarray, seen: np.ndarray, peers: np.ndarray) -> bool:
        """Whether gains on images that happen to be among those not seen could make up for what
        the candidate is behind."""
        count, total = len(seen), len(leader)
        if count == total:
            return False
        known = self._field(leader, peers)
        (mean,), _ = known.sample(count).estimates((leader[:count] - seen)[None], 0.0)
        gains = (self.bounds - leader)[count:]
        gains = np.where(np.isfinite(gains), gains, np.abs(known.gaps).max()).clip(0)
        # Of k images, n of N seen at random miss all with probability (1 - n / N) ** k at most.
        hits = min(total - count, math.log(self.delta / 2) / math.log1p(-count / total))
        return hits / total * gains.mean() > mean + self.tolerance

    def _field(self, leader: np.ndarray, peers: np.ndarray) -> _Field:
        key = (leader.tobytes(), len(peers), float(peers.sum()))
        if key not in self._fields:
            self._fields = {key: _Field.of(leader, peers)}
        return self._fields[key]

    def _quantile(self, freedom: int, level: float) -> float:
        key = (freedom, level)
        if key not in self._quantiles:
            self._quantiles[key] = float(stats.t.isf(level, freedom))
        return self._quantiles[key]

    def _random_parts(self, total: int, count: int) -> np.ndarray:
        """``[N,B]`` which images random parts of that size hold: 1 or 0."""
        if (total, count) not in self._parts:
            order = np.random.default_rng(count).random((total, PARTS)).argsort(0)
            self._parts[total, count] = (order < count).astype(float)
        return self._parts[total, count]


class Bounds:
    """Drops candidates that cannot win whatever the images to come say.

    Args:
        bounds: ``[N]`` the best score that any heatmap could get on each image, oriented so that
            higher is better.
        worst: the worst score that there is, oriented alike.
    """

    # Standard errors of the paired difference that each rule allows at most.
    rules = MappingProxyType({"argmax": 0.0, "one-se": 1.0, "lower-bound": 1.0, "cross-fit": 2.0})
    # These choose by single candidates: what is dropped changes nothing for the others.
    sound = frozenset({"argmax", "one-se"})

    def __init__(self, bounds: np.ndarray, worst: float):
        self.total, self.worst = len(bounds), worst
        self._bounds = bounds
        self._left = np.concatenate([np.cumsum(bounds[::-1])[::-1], [0.0]])

    def drops(self, leader: np.ndarray, seen: np.ndarray, leaders: int, peers: np.ndarray) -> bool:
        """Whether a candidate's mean must stay below the leader's, whatever comes."""
        return self._highest(seen) < float(leader.mean()) - _ROUNDING

    def excludes(
        self, best: np.ndarray, seen: np.ndarray, rule: str, peers: np.ndarray, average: np.ndarray
    ) -> bool:
        """Whether a candidate must stay further behind the best than the selection rule allows."""
        behind = float(best.mean()) - self._highest(seen)
        return behind > self.rules[rule] * self._largest_error(best, seen) + _ROUNDING

    def _highest(self, seen: np.ndarray) -> float:
        """The highest mean on all images that is still possible."""
        return (float(seen.sum()) + float(self._left[len(seen)])) / self.total

    def _largest_error(self, best: np.ndarray, seen: np.ndarray) -> float:
        """No less than the standard error of the paired difference can still become."""
        ahead, done = best[len(seen) :], best[: len(seen)] - seen
        furthest = np.maximum(np.abs(ahead - self._bounds[len(seen) :]), np.abs(ahead - self.worst))
        squares = float(done @ done) + float(furthest @ furthest)
        return math.sqrt(squares / (self.total * max(1, self.total - 1)))
