"""The statistics of a race: when a candidate is dropped before it has seen all search images.

A candidate races against the *leader*, the best admissible candidate that has seen all N images.
After each stage it is dropped where a test rejects "its mean on all N images is higher than the
leader's by more than the tolerance". What is seen are *cells*: one image at one of the metric's L
levels (percentiles of ROAD, points of a curve), each of which adds its part to the image's score;
where a metric has no levels, an image is one cell.

Cells are a sample without replacement from the population of all N L, of a fixed pattern: which
place of the set is seen at which level, a Latin square, so that levels are seen about equally
often, and a second cell of an image only when all images have been seen. Chance is in the order
of the images alone, that of their content hashes: each image is as likely as any other to stand in
each place, so that each cell is in a stage with the same probability, and the order decides nothing
else.

Formulas differ by less than images do, so that the mean of the differences seen is a poor guess of
the mean of all. What the *peers*, the candidates and published CAMs that have seen all cells,
differ by is known in the cells to come as well. Their main directions of difference, by principal
components, are control variates: the candidate's difference is regressed on them, and the unseen
cells are predicted (the regression estimator of survey sampling; Cochran, Sampling Techniques,
1977, chapter 7). Coefficients are drawn towards 0, as much as the peers' lie there, so that
directions that a few cells cannot tell yet do no harm. There is one for four peers at most: peers
whom the directions explain entirely would say that nothing is left to chance. Cells of one image
are alike, which the regression must know: their residuals have the peers' covariance between
levels, so that it is one of generalised least squares, and what an image showed at one level
predicts the others of the same image (the best linear unbiased predictor). What is left to chance
is the residual in the cells not seen, which is nothing once all are seen. Variances lean towards
that of the peers (the moderated t of Smyth 2004), so that sixteen equal images are no proof.

The estimate over its standard error must exceed Student's quantile, and what the same figure of the
peers' own differences, whose true means are known, exceeds by chance in the same pattern of cells
on random orders of the images, at the same level. So the test holds what it promises where the
covariance is not quite that of the peers, and learns how skewed the scores of this metric
are: an average drop is 0 on most images and large on a few.

Nor do the cells seen say anything of a gain in few others: a candidate that is far ahead on 3 % of
them looks like one that never is until it meets the first. So a candidate that is behind stays in
while rare gains could still make up for it: gains up to the metric's bound (where there is none,
as large as any difference of peers), in as many cells as those seen may miss by chance, at half of
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
from types import MappingProxyType

import numpy as np
from scipy import stats

from sycam.search.racing.prediction import ROUNDING, Field, Sampled
from sycam.search.selection.rules import allowance
from sycam.support.shelf import Shelf, room_for

PARTS = 200  # random orders of the images that peers are seen in


class SequentialTest:
    """Drops candidates by a sequential test against the leader.

    Args:
        delta: probability of losing exact mode's best, at most, 0 to 1.
        tolerance: in units of the metric; a candidate that is better by less may be dropped.
        looks: how many stages end before a candidate has been seen in all cells.
        bounds: ``[N,L]`` the most that any heatmap could get in each cell, higher is better;
            infinite where there is no such end.
    """

    def __init__(self, delta: float, tolerance: float, looks: int, bounds: np.ndarray):
        self.delta, self.tolerance, self.bounds = delta, tolerance, bounds
        self.looks = max(1, looks)
        self._orders: np.ndarray | None = None
        self._sampled: dict[bytes, Sampled] = {}
        self._fields: dict[tuple, Field] = {}
        self._quantiles: dict[tuple[int, float], float] = {}

    def level(self, leaders: int) -> float:
        """Level of one look at the so-many-th leader; half of delta is kept for settling."""
        return self.delta / 2 / (leaders * (leaders + 1)) / self.looks

    def drops(self, leader: np.ndarray, seen: np.ndarray, leaders: int, peers: np.ndarray) -> bool:
        """Whether a candidate is dropped.

        Args:
            leader: ``[N,L]`` scores, higher is better; an image's add up to its score.
            seen: ``[N,L]`` the candidate's, NaN where they are not known; two or more are.
            leaders: how many leaders candidates have met so far, this one included.
            peers: ``[P,N,L]`` scores of others that have seen all cells, the best last.
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
            best: ``[N,L]`` scores of the leader.
            seen: ``[N,L]`` the candidate's, NaN where they are not known.
            rule: of selection.
            peers: as for :meth:`drops`.
            average: ``[N,L]`` of the leaders, which ``lower-bound`` compares with.
        """
        known = np.isfinite(seen)
        some, count = known.any(1), known.sum(1)

        def by_image(scores: np.ndarray) -> np.ndarray:
            """As if the levels seen of an image were all."""
            sums = np.where(known, scores, 0.0).sum(1)[some]
            return sums / count[some] * known.shape[1]

        allowed = allowance(rule, by_image(best), by_image(seen), len(best), by_image(average))
        level = self.delta / 2 / self.looks
        spare = self.tolerance if rule == "lower-bound" else 0.0
        return self._behind(best, seen, peers, spare - allowed, level)

    def _behind(
        self, leader: np.ndarray, seen: np.ndarray, peers: np.ndarray, margin: float, level: float
    ) -> bool:
        """Whether the candidate, worsened by the margin, is behind beyond chance."""
        sampled, known = self._sample(seen), self._field(leader, peers)
        if not len(known.gaps):
            return False
        predictor = known.predictor(sampled)
        if predictor.freedom < 1:
            return False
        mean, error = predictor.estimate(leader - seen)
        if mean + margin <= error * self._quantile(predictor.freedom, level):
            return False
        return mean + margin > error * known.chance(
            sampled, level, self._random_orders(len(leader))
        )

    def _may_catch_up(self, leader: np.ndarray, seen: np.ndarray, peers: np.ndarray) -> bool:
        """Whether gains in cells that happen to be among those not seen could make up for what
        the candidate is behind."""
        sampled = self._sample(seen)
        count, total = sampled.cells, seen.size
        if count == total:
            return False
        known = self._field(leader, peers)
        mean, _ = known.predictor(sampled).estimate(leader - seen)
        gains = (self.bounds - leader)[np.isnan(seen)]
        gains = np.where(np.isfinite(gains), gains, known.largest).clip(0)
        # Of k cells, n of M seen at random miss all with probability (1 - n / M) ** k at most: of
        # one image, whose cells are seen in turn, with less than of as many images.
        hits = min(total - count, math.log(self.delta / 2) / math.log1p(-count / total))
        return hits / len(leader) * gains.mean() > mean + self.tolerance

    def _sample(self, seen: np.ndarray) -> Sampled:
        known = np.isfinite(seen)
        key = known.tobytes()
        if key not in self._sampled:
            self._sampled[key] = Sampled.of(known)
        return self._sampled[key]

    def _field(self, leader: np.ndarray, peers: np.ndarray) -> Field:
        key = (leader.tobytes(), len(peers), float(peers.sum()))
        if key not in self._fields:
            self._fields = {key: Field.of(leader, peers)}
        return self._fields[key]

    def _quantile(self, freedom: int, level: float) -> float:
        key = (freedom, level)
        if key not in self._quantiles:
            self._quantiles[key] = float(stats.t.isf(level, freedom))
        return self._quantiles[key]

    def _random_orders(self, images: int) -> np.ndarray:
        """``[N,B]`` the places of the images in random orders."""
        if self._orders is None:
            drawn = room_for((images, PARTS))
            np.random.default_rng(images).random(out=drawn)
            self._orders = Shelf().put(np.empty((images, PARTS), np.int32))
            for place in range(PARTS):
                self._orders[:, place] = drawn[:, place].argsort()
        return self._orders


class Bounds:
    """Drops candidates that cannot win whatever the images to come say.

    Args:
        bounds: ``[N,L]`` the most that any heatmap could get in each cell, oriented so that higher
            is better.
        worst: the worst score of an image that there is, oriented alike.
    """

    # Standard errors of the paired difference that each rule allows at most.
    rules = MappingProxyType({"argmax": 0.0, "one-se": 1.0, "lower-bound": 1.0, "cross-fit": 2.0})
    # These choose by single candidates: what is dropped changes nothing for the others.
    sound = frozenset({"argmax", "one-se"})

    def __init__(self, bounds: np.ndarray, worst: float):
        self.worst, self._bounds = worst, bounds

    def drops(self, leader: np.ndarray, seen: np.ndarray, leaders: int, peers: np.ndarray) -> bool:
        """Whether a candidate's mean must stay below the leader's, whatever comes."""
        return self._highest(seen) < float(leader.sum(1).mean()) - ROUNDING

    def excludes(
        self, best: np.ndarray, seen: np.ndarray, rule: str, peers: np.ndarray, average: np.ndarray
    ) -> bool:
        """Whether a candidate must stay further behind the best than the selection rule allows."""
        behind = float(best.sum(1).mean()) - self._highest(seen)
        return behind > self.rules[rule] * self._largest_error(best, seen) + ROUNDING

    def _highest(self, seen: np.ndarray) -> float:
        """The highest mean on all images that is still possible."""
        return float(np.where(np.isnan(seen), self._bounds, seen).sum()) / len(seen)

    def _largest_error(self, best: np.ndarray, seen: np.ndarray) -> float:
        """No less than the standard error of the paired difference can still become."""
        whole = ~np.isnan(seen).any(1)
        done, ahead = (best[whole] - seen[whole]).sum(1), best[~whole].sum(1)
        bounds = self._bounds[~whole].sum(1)
        furthest = np.maximum(np.abs(ahead - bounds), np.abs(ahead - self.worst))
        squares = float(done @ done) + float(furthest @ furthest)
        return math.sqrt(squares / (len(best) * max(1, len(best) - 1)))
