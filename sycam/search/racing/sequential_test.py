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

Formulas differ by less than images do, so that the mean of the differences seen is a poor guess
of the mean of all. What the *peers*, the candidates and published CAMs that have seen all cells,
differ by is known in the cells to come as well. Their few main directions of difference, by
principal components, are control variates: the candidate's difference is regressed on them, and
the unseen cells are predicted (the regression estimator of survey sampling; Cochran, Sampling
Techniques, 1977, chapter 7). Cells of one image are alike, which the regression must know: their
residuals have the peers' covariance between levels, so that it is one of generalised least squares,
and what an image showed at one level predicts the others of the same image (the best linear
unbiased predictor). What is left to chance is the residual in the cells not seen, which is nothing
once all are seen. Variances lean towards that of the peers (the moderated t of Smyth 2004), so that
sixteen equal images are no proof.

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
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from scipy import stats

from sycam.search.selection.rules import allowance
from sycam.support.shelf import IN_MEMORY, Shelf, blocks, room_for, stacked

LIKE_LEADERS = 2  # peers whose differences to the others count as well as the leader's
PARTS = 200  # random orders of the images that peers are seen in
VARIATES = 3  # directions of difference, at most
CELLS_EACH = 8  # that must have been seen for one of them
PRIOR = 4  # degrees of freedom that the peers' variance counts for
_OWN = 1e-3  # share of a level's variance that no other level shares, at least
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Sampled:
    """Which cells have been seen.

    Attributes:
        kinds: ``[T,L]`` bool, the sets of levels that images were seen at.
        kind: ``[N]`` which of them each image was.
        cells: how many cells that is.
    """

    kinds: np.ndarray
    kind: np.ndarray
    cells: int

    @classmethod
    def of(cls, seen: np.ndarray) -> Sampled:
        """Of ``[N,L]`` bool."""
        kinds, kind = np.unique(seen, axis=0, return_inverse=True)
        return cls(kinds, kind.reshape(-1), int(seen.sum()))


class _Predictor:
    """How the mean over all images is predicted from the cells seen: generalised least squares on
    the control variates, whose residuals are independent between images and alike, but for one
    factor, to the peers' between the levels of an image.

    Args:
        design: ``[N,L,q]`` ones and control variates.
        levels: ``[L,L]`` covariance of the peers' residuals.
        sampled: the cells seen.
        shelf: where what is said of each image is kept.

    Attributes:
        freedom: degrees of freedom of the residuals.
    """

    def __init__(
        self,
        design: np.ndarray,
        levels: np.ndarray,
        sampled: Sampled,
        shelf: Shelf | None = None,
    ):
        images, _, width = design.shape
        shelf = shelf or Shelf()
        self.design, self.sampled, self.images = design, sampled, images
        self.freedom = sampled.cells - width
        kinds = sampled.kinds
        self.precision = np.zeros((len(kinds), *levels.shape))  # of the levels seen, by kind
        self.gains = np.zeros(kinds.shape)  # what a cell seen adds to the prediction of its image
        self.left = np.zeros(len(kinds))  # variance of what an image's cells not seen add up to
        self.unseen = shelf.zeros((len(kinds), images, width))  # design of what is still predicted
        self.squares = shelf.zeros((len(kinds), images, width, width))
        for t, seen in enumerate(kinds):
            across = np.zeros(seen.sum())
            if seen.any():
                inverse = np.linalg.inv(levels[np.ix_(seen, seen)])
                self.precision[t][np.ix_(seen, seen)] = inverse
                across = inverse @ levels[np.ix_(seen, ~seen)].sum(1)
                self.gains[t, seen] = 1 + across
            rest = levels[np.ix_(~seen, ~seen)].sum()
            self.left[t] = max(0.0, rest - levels[np.ix_(seen, ~seen)].sum(1) @ across)
            self.unseen[t] = design[:, ~seen].sum(1) - np.einsum(
                "l,nlq->nq", across, design[:, seen]
            )
            self.squares[t] = np.einsum("nlq,lm,nmr->nqr", design, self.precision[t], design)
        kind, each = sampled.kind, np.arange(images)
        self._precision = shelf.zeros((images, *levels.shape))
        np.take(self.precision, kind, axis=0, out=self._precision)
        self._weighted = shelf.put(np.einsum("nlm,nmq->nlq", self._precision, design))
        self._inverse = np.linalg.pinv(self.squares[kind, each].sum(0), hermitian=True)
        unseen, self._left = self.unseen[kind, each].sum(0), self.left[kind].sum()
        spread = unseen @ self._inverse @ unseen + self._left
        self._error = math.sqrt(max(0.0, spread)) / images
        weights = (self.gains[kind] + self._weighted @ (self._inverse @ unseen)) / images
        self._weights = shelf.put(weights)

    def estimate(self, gaps: np.ndarray) -> tuple[float, float]:
        """Predicted mean over all images of ``[N,L]`` differences, of which only those seen are
        looked at, and its standard error."""
        seen = np.where(self.sampled.kinds[self.sampled.kind], gaps, 0.0)
        products = np.einsum("nlq,nl->q", self._weighted, seen)
        squares = np.einsum("nl,nlm,nm->", seen, self._precision, seen)
        rest = max(0.0, float(squares - products @ self._inverse @ products))
        variance = (rest + PRIOR) / (self.freedom + PRIOR)
        return float((self._weights * seen).sum()), math.sqrt(variance) * self._error

    def figures(self, gaps: np.ndarray, orders: np.ndarray) -> np.ndarray:
        """``[D,B]`` estimate over standard error of ``[D,N,L]`` differences, were the images in
        another order.

        Args:
            orders: ``[N,B]`` the place that each image has.
        """
        parts = blocks(orders.shape[1], self.images)
        return np.concatenate([self._figures(gaps, orders[:, part]) for part in parts], 1)

    def _figures(self, gaps: np.ndarray, orders: np.ndarray) -> np.ndarray:
        """The same of so few orders that arrays ``[N,B]`` have room."""
        kinds = self.sampled.kind[orders]
        images, width, count = self.images, self.design.shape[2], len(gaps)
        squares: np.ndarray = np.zeros((orders.shape[1], width, width))
        unseen: np.ndarray = np.zeros((orders.shape[1], width))
        products: np.ndarray = np.zeros((orders.shape[1], count, width))
        rest: np.ndarray = np.zeros((orders.shape[1], count))
        means: np.ndarray = np.zeros((orders.shape[1], count))
        parts = blocks(count, images * self.design.shape[1])
        for t, precision in enumerate(self.precision):
            here = (kinds == t).T.astype(float)  # [B,N]
            unseen += here @ self.unseen[t]
            if not self.sampled.kinds[t].any():
                continue
            squares += (here @ self.squares[t].reshape(images, -1)).reshape(squares.shape)
            for part in parts:
                some = gaps[part]
                weighted = some @ precision  # [D,N,L]
                each = np.einsum("dnl,nlq->ndq", weighted, self.design).reshape(images, -1)
                products[:, part] += (here @ each).reshape(-1, len(some), width)
                rest[:, part] += here @ np.einsum("dnl,dnl->nd", weighted, some)
                means[:, part] += here @ (some @ self.gains[t]).T
        largest = max(float(np.abs(gaps[part]).max()) for part in parts)
        inverse = np.linalg.pinv(squares, hermitian=True)
        weights = np.einsum("bij,bdj->bdi", inverse, products)
        rest = (rest - (weights * products).sum(-1)).clip(0)
        variance = (rest + PRIOR) / (self.freedom + PRIOR)
        spread = np.einsum("bi,bij,bj->b", unseen, inverse, unseen) + self._left
        error = np.sqrt(variance * spread.clip(0)[:, None]) / images
        means = (means + np.einsum("bi,bdi->bd", unseen, weights)) / images
        return (means / np.maximum(error, _ROUNDING * largest)).T


@dataclass
class _Field:
    """What a leader and its peers say of the cells.

    Attributes:
        gaps: ``[D,N,L]`` differences whose true means are known.
        variates: ``[N,L,q]`` main directions of the peers' differences to the leader, mean 0.
    """

    gaps: np.ndarray
    variates: np.ndarray
    _shelf: Shelf = field(default_factory=Shelf)
    _predictors: dict[int, _Predictor] = field(default_factory=dict)
    _figures: dict[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, leader: np.ndarray, peers: np.ndarray) -> _Field:
        """Of ``[N,L]`` and ``[P,N,L]`` scores, the best peer last."""
        pairs = [
            (one, peer)
            for one in (leader, *peers[-LIKE_LEADERS:])
            for peer in peers
            if np.abs(one - peer).max() > 0
        ]
        gaps = stacked((one - peer for one, peer in pairs), len(pairs))
        directions = np.zeros((0, leader.size))
        if len(peers) > VARIATES:
            apart = stacked((_of_one_size(leader - peer) for peer in peers), len(peers))
            strength, directions = _main_directions(apart)
            directions = directions[strength > 1e-6 * max(1.0, float(strength[0]))]
        variates = (directions.T * math.sqrt(leader.size)).reshape(*leader.shape, -1)
        return cls(gaps, variates)

    def predictor(self, sampled: Sampled) -> _Predictor:
        """From the cells seen."""
        if sampled.cells not in self._predictors:
            borne = self.variates[..., : sampled.cells // CELLS_EACH]
            ones = np.ones((*borne.shape[:2], 1))
            design = self._shelf.put(np.concatenate([ones, borne], -1))
            given = design, self._levels(design), sampled, self._shelf
            self._predictors[sampled.cells] = _Predictor(*given)
        return self._predictors[sampled.cells]

    def _levels(self, design: np.ndarray) -> np.ndarray:
        """``[L,L]`` covariance of the known differences' residuals between levels."""
        whole, found = design.reshape(-1, design.shape[2]), np.zeros((design.shape[1],) * 2)
        for part in blocks(len(self.gaps), len(whole)):
            gaps = self.gaps[part].reshape(-1, len(whole))
            weights = np.linalg.lstsq(whole, gaps.T, rcond=None)[0]
            left = (gaps - (whole @ weights).T).reshape(-1, *design.shape[:2])
            found += np.einsum("dnl,dnm->lm", left, left)
        found /= len(self.gaps) * len(design)
        own = np.maximum(
            np.diag(found), max(_ROUNDING * np.diag(found).max(), np.finfo(float).tiny)
        )
        return (1 - _OWN) * found + np.diag(own - (1 - _OWN) * np.diag(found))

    def chance(self, sampled: Sampled, level: float, orders: np.ndarray) -> float:
        """What the figure of a known difference exceeds by chance with that probability.

        Args:
            sampled: the cells seen.
            level: the probability.
            orders: ``[N,B]`` random orders of the images.
        """
        if sampled.cells not in self._figures:
            gaps = stacked((one - one.mean() for one in self.gaps), len(self.gaps))
            figures = self.predictor(sampled).figures(gaps, orders)
            self._figures[sampled.cells] = np.sort(figures, axis=None)
        figures = self._figures[sampled.cells]
        return float(figures[len(figures) - 1 - int(level * len(figures))])


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
        self._fields: dict[tuple, _Field] = {}
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
        gains = np.where(np.isfinite(gains), gains, np.abs(known.gaps).max()).clip(0)
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

    def _random_orders(self, images: int) -> np.ndarray:
        """``[N,B]`` the places of the images in random orders."""
        if self._orders is None:
            drawn = room_for((images, PARTS))
            np.random.default_rng(images).random(out=drawn)
            self._orders = Shelf().put(np.empty((images, PARTS), np.int32))
            for place in range(PARTS):
                self._orders[:, place] = drawn[:, place].argsort()
        return self._orders


def _of_one_size(apart: np.ndarray) -> np.ndarray:
    """``[N,L]`` differences as ``[NL]`` of mean 0 and mean square 1: poor candidates differ most
    from the leader; who is in doubt is more like the good ones."""
    flat = apart.ravel() - apart.mean()
    size = np.sqrt((flat**2).mean())
    return flat / (size if size > 0 else 1.0)


def _main_directions(apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest singular values of ``[P,M]`` differences and their directions ``[v,M]``, v at
    most :data:`VARIATES`; of so many that no copy of them has room by the products of each two."""
    if apart.nbytes <= IN_MEMORY:
        _, strength, directions = np.linalg.svd(apart, full_matrices=False)
        return strength[:VARIATES], directions[:VARIATES]
    parts = blocks(apart.shape[1], len(apart))
    products = sum(apart[:, part] @ apart[:, part].T for part in parts)
    squares, vectors = np.linalg.eigh(products)
    strength = np.sqrt(squares[::-1][:VARIATES].clip(0))
    least = np.finfo(float).tiny
    directions = [
        vectors[:, ::-1][:, :VARIATES].T @ apart[:, part] / np.maximum(strength, least)[:, None]
        for part in parts
    ]
    return strength, np.concatenate(directions, 1)


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
        return self._highest(seen) < float(leader.sum(1).mean()) - _ROUNDING

    def excludes(
        self, best: np.ndarray, seen: np.ndarray, rule: str, peers: np.ndarray, average: np.ndarray
    ) -> bool:
        """Whether a candidate must stay further behind the best than the selection rule allows."""
        behind = float(best.sum(1).mean()) - self._highest(seen)
        return behind > self.rules[rule] * self._largest_error(best, seen) + _ROUNDING

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
