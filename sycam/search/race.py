"""The statistics of a race: when a candidate is dropped before it has seen all search images.

A candidate races against the *leader*, the best admissible candidate that has seen all N images.
After each stage the differences ``d = leader - candidate`` on the n images seen so far decide:
it is dropped when a sign-flip test rejects "its mean on all N images is higher than the leader's
by more than the tolerance".

What is promised is that exact mode's best candidate, or one within the tolerance of it, is lost
with probability at most delta. Why no correction over all candidates is needed: let r1, r2, …, rm
be the candidates that exact mode would lead with in turn, rm its best. As long as none of them is
dropped, the race leads with exactly these, so that only the m - 1 tests of r(k+1) against r(k)
count, each a fixed pair, whatever befalls the others. The k-th leader has the level
``delta / (k (k + 1))``, which sums to at most delta over any number of leaders, shared equally by
the looks at it. Images come in the order of their content hashes, so that those seen are a random
sample of all.

The test assumes that differences are symmetric around their mean, as that of two similar scores
mostly are. It draws nothing: up to 24 images the share of the sign patterns is counted exactly,
beyond it is bounded by Hoeffding's inequality (JASA 1963) and by the bound of Bentkus and
Dzindzalaite, "A tight Gaussian bound for weighted sums of Rademacher random variables" (Bernoulli
2015).

Some metrics are not symmetric at all: an average drop is 0 on most images and large on a few, which
the images seen may lack. So a candidate must also be further behind than what is known to be no
loser: the differences between the leader, or one of the next best, and its *peers*, the candidates
and published CAMs that have seen all images, shifted to mean 0, on random parts of the images as
large as that seen. Only what none of them reaches by chance, at the same level, is dropped. Where a
few images decide, that is nobody until most images were seen.
"""

from __future__ import annotations

import math
from types import MappingProxyType

import numpy as np
from scipy.special import ndtr

from sycam.search.rules import allowance

COUNTED = 24  # images up to which sign patterns are counted
LIKE_LEADERS = 4  # peers whose differences to the others count as well as the leader's
PARTS = 1000  # random parts of the images that peers are seen on
_BENTKUS = 1 / (4 * ndtr(-math.sqrt(2)))
_ROUNDING = 1e-12  # a pattern whose sum is smaller by no more counts as reaching it


def sign_flip_tail(differences: np.ndarray) -> float:
    """Share of sign patterns whose sum is at least that of the differences, or a bound of it.

    Args:
        differences: ``[n]``.

    Returns:
        p in (0, 1] of the hypothesis that their mean is at most 0; where n is above 24 it is an
        upper bound.
    """
    total = float(differences.sum())
    if total <= 0:
        return 1.0
    reached = total / math.sqrt(float(differences @ differences))
    bound = min(1.0, math.exp(-(reached**2) / 2), _BENTKUS * float(ndtr(-reached)))
    if len(differences) > COUNTED:
        return bound
    half = len(differences) // 2
    left, right = _pattern_sums(differences[:half]), np.sort(_pattern_sums(differences[half:]))
    least = total - _ROUNDING * float(np.abs(differences).sum())
    above = len(right) - np.searchsorted(right, least - left)
    return min(bound, float(above.sum()) / 2.0 ** len(differences))


def _ratio(total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """A sum over the root of the sum of squares, which lies between minus and plus the root of the
    number of values; 0 where all are 0."""
    return np.where(squares > 0, total / np.sqrt(np.where(squares > 0, squares, 1.0)), 0.0)


def _pattern_sums(values: np.ndarray) -> np.ndarray:
    """``[2**n]`` sums of the values under all patterns of signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


class Race:
    """Drops candidates by a sequential test against the leader.

    Args:
        delta: probability of losing exact mode's best, at most, 0 to 1.
        tolerance: in units of the metric; a candidate that is better by less may be dropped.
        ends: number of images at the end of each stage.
    """

    def __init__(self, delta: float, tolerance: float, ends: tuple[int, ...]):
        self.delta, self.tolerance, self.ends = delta, tolerance, ends
        self.looks = max(1, len(ends) - 1)
        self._drawn: dict[int, np.ndarray] = {}
        self._chances: dict[tuple, float] = {}

    def level(self, leaders: int) -> float:
        """Level of one look at the so-many-th leader; half of delta is kept for settling."""
        return self.delta / 2 / (leaders * (leaders + 1)) / self.looks

    def drops(self, leader: np.ndarray, seen: np.ndarray, leaders: int, peers: np.ndarray) -> bool:
        """Whether a candidate is dropped.

        Args:
            leader: ``[N]`` scores, higher is better.
            seen: ``[n]`` the candidate's.
            leaders: how many candidates have led so far.
            peers: ``[P,N]`` scores of others that have seen all images, the best last.
        """
        behind = leader[: len(seen)] - seen + self.tolerance
        level = self.level(leaders)
        if sign_flip_tail(behind) > level:
            return False
        return _ratio(behind.sum(), behind @ behind) > self._chance(leader, peers, len(seen), level)

    def _chance(self, leader: np.ndarray, peers: np.ndarray, count: int, level: float) -> float:
        """The ratio that a peer of mean difference 0 exceeds with that probability, at most."""
        key = (leader.tobytes(), len(peers), float(peers.sum()), count, level)
        if key not in self._chances:
            gaps = np.concatenate([one - peers for one in (leader, *peers[-LIKE_LEADERS:])])
            gaps = gaps - gaps.mean(1, keepdims=True)
            parts = self._parts(len(leader), count)
            ratios = _ratio(gaps @ parts, (gaps * gaps) @ parts)
            place = parts.shape[1] - 1 - int(level * parts.shape[1])
            reached = np.partition(ratios, place, axis=1)[:, place] if len(ratios) else np.zeros(1)
            self._chances = {k: v for k, v in self._chances.items() if k[0] == key[0]}
            self._chances[key] = float(reached.max())
        return self._chances[key]

    def _parts(self, total: int, count: int) -> np.ndarray:
        """``[N,PARTS]`` which images random parts of that size hold: 1 or 0."""
        if count not in self._drawn:
            order = np.random.default_rng(count).random((total, PARTS)).argsort(0)
            self._drawn[count] = (order < count).astype(float)
        return self._drawn[count]

    def excludes(self, best: np.ndarray, seen: np.ndarray, rule: str) -> bool:
        """Whether a dropped candidate is further behind the best than the selection rule allows.

        This is one test of one fixed pair, the best and exact mode's choice, at the other half of
        delta.
        """
        allowed = allowance(rule, best[: len(seen)], seen, len(best))
        behind = best[: len(seen)] - seen - allowed
        return sign_flip_tail(behind) <= self.delta / 2 / self.looks


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
        """Whether a candidate's mean must stay below the leader's; see :meth:`Race.drops`."""
        return self._highest(seen) < float(leader.mean()) - _ROUNDING

    def excludes(self, best: np.ndarray, seen: np.ndarray, rule: str) -> bool:
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
