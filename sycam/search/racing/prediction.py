"""The mean over all images predicted from the cells that were seen, and how far that may err: the
statistics of :mod:`sycam.search.racing.sequential_test`, which says what cells and peers are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from sycam.support.shelf import Shelf, blocks, stacked

LIKE_LEADERS = 2  # peers whose differences to the others count as well as the leader's
VARIATES = 8  # directions of difference, at most
PEERS_EACH = 4  # that there must be for one of them: fewer would all be explained by them
PRIOR = 4  # degrees of freedom that the peers' variance counts for
_OWN = 1e-3  # share of a level's variance that no other level shares, at least
_LEAST = 1e-3  # of a direction's strength, as a share of the strongest
ROUNDING = 1e-12


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


class Predictor:
    """How the mean over all images is predicted from the cells seen: a linear mixed model, whose
    mean is free, whose coefficients of the control variates scatter as the peers' do, and whose
    residuals are independent between images and alike, but for one factor, to the peers' between
    the levels of an image.

    Args:
        design: ``[N,L,q]`` ones and control variates.
        levels: ``[L,L]`` covariance of the peers' residuals.
        pull: ``[q]`` one over the variance of the peers' coefficients, 0 of the ones.
        sampled: the cells seen.
        shelf: where what is said of each image is kept.

    Attributes:
        freedom: degrees of freedom of the residuals.
    """

    def __init__(
        self,
        design: np.ndarray,
        levels: np.ndarray,
        pull: np.ndarray,
        sampled: Sampled,
        shelf: Shelf | None = None,
    ):
        images, _, width = design.shape
        shelf = shelf or Shelf()
        self.design, self.sampled, self.images = design, sampled, images
        self.freedom, self._pull = sampled.cells - 1, np.diag(pull)
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
            some = design[:, seen]
            precise = np.einsum("lm,nmr->nlr", self.precision[t][np.ix_(seen, seen)], some)
            self.squares[t] = np.einsum("nlq,nlr->nqr", some, precise)
        kind, each = sampled.kind, np.arange(images)
        self._precision = shelf.zeros((images, *levels.shape))
        np.take(self.precision, kind, axis=0, out=self._precision, mode="clip")  # no buffer
        self._weighted = shelf.put(np.einsum("nlm,nmq->nlq", self._precision, design))
        squares = self.squares[kind, each].sum(0) + self._pull
        self._inverse = np.linalg.pinv(squares, hermitian=True)
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
        images, width, count = self.images, self.design.shape[2], len(gaps)
        squares: np.ndarray = np.zeros((orders.shape[1], width, width))
        unseen: np.ndarray = np.zeros((orders.shape[1], width))
        products: np.ndarray = np.zeros((orders.shape[1], count, width))
        rest: np.ndarray = np.zeros((orders.shape[1], count))
        means: np.ndarray = np.zeros((orders.shape[1], count))
        few = blocks(orders.shape[1], images)
        smallest = np.min_scalar_type(len(self.sampled.kinds))
        kinds = self.sampled.kind.astype(smallest)[orders.T]  # [B,N]
        for t, seen in enumerate(self.sampled.kinds):
            for some in few:
                here = (kinds[some] == t).astype(float)
                unseen[some] += here @ self.unseen[t]
                squares[some] += (here @ self.squares[t].reshape(images, -1)).reshape(
                    -1, width, width
                )
            if not seen.any():
                continue
            # Only levels that were seen: at first one of them all.
            precision, design = self.precision[t][np.ix_(seen, seen)], self.design[:, seen]
            for part in blocks(count, images * max(width, len(precision))):
                apart = gaps[part][:, :, seen]
                weighted = apart @ precision  # [D,N,l]
                each = np.einsum("dnl,nlq->ndq", weighted, design).reshape(images, -1)
                left = np.einsum("dnl,dnl->nd", weighted, apart)
                added = (apart @ self.gains[t, seen]).T
                for some in few:
                    here = (kinds[some] == t).astype(float)
                    products[some, part] += (here @ each).reshape(len(here), -1, width)
                    rest[some, part] += here @ left
                    means[some, part] += here @ added
        largest = max(float(np.abs(one).max()) for one in gaps)
        inverse = np.linalg.pinv(squares + self._pull, hermitian=True)
        weights = np.einsum("bij,bdj->bdi", inverse, products)
        rest = (rest - (weights * products).sum(-1)).clip(0)
        variance = (rest + PRIOR) / (self.freedom + PRIOR)
        spread = np.einsum("bi,bij,bj->b", unseen, inverse, unseen) + self._left
        error = np.sqrt(variance * spread.clip(0)[:, None]) / images
        means = (means + np.einsum("bi,bdi->bd", unseen, weights)) / images
        return (means / np.maximum(error, ROUNDING * largest)).T


@dataclass
class Field:
    """What a leader and its peers say of the cells.

    Attributes:
        gaps: ``[D,N,L]`` differences whose true means are known.
        variates: ``[N,L,q]`` main directions of the peers' differences to the leader, mean 0.
    """

    gaps: np.ndarray
    variates: np.ndarray
    _shelf: Shelf = field(default_factory=Shelf)
    _predictors: dict[int, Predictor] = field(default_factory=dict)
    _figures: dict[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, leader: np.ndarray, peers: np.ndarray) -> Field:
        """Of ``[N,L]`` and ``[P,N,L]`` scores, the best peer last."""
        pairs = [
            (one, peer)
            for one in (leader, *peers[-LIKE_LEADERS:])
            for peer in peers
            if np.abs(one - peer).max() > 0
        ]
        gaps = stacked((one - peer for one, peer in pairs), len(pairs))
        directions = np.zeros((0, leader.size))
        if len(peers) >= PEERS_EACH:
            apart = stacked((_of_one_size(leader - peer) for peer in peers), len(peers))
            strength, directions = _main_directions(apart)
            directions = directions[strength > _LEAST * max(1.0, float(strength[0]))]
            directions = directions[: len(peers) // PEERS_EACH]
        variates = (directions.T * math.sqrt(leader.size)).reshape(*leader.shape, -1)
        return cls(gaps, variates)

    @cached_property
    def largest(self) -> float:
        """The largest difference in any cell."""
        parts = blocks(len(self.gaps), self.gaps[0].size)
        return max(float(np.abs(self.gaps[part]).max()) for part in parts)

    def predictor(self, sampled: Sampled) -> Predictor:
        """From the cells seen."""
        if sampled.cells not in self._predictors:
            self._predictors[sampled.cells] = Predictor(*self.learnt, sampled, self._shelf)
        return self._predictors[sampled.cells]

    @cached_property
    def learnt(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Design, covariance between levels and pull, as :class:`Predictor` takes them, of the
        known differences."""
        ones = np.ones((*self.variates.shape[:2], 1))
        design = self._shelf.put(np.concatenate([ones, self.variates], -1))
        levels, width = design.shape[1:]
        whole = design.reshape(-1, width)
        found, variances = np.zeros((levels, levels)), np.zeros(width)
        for part in blocks(len(self.gaps), len(whole)):
            gaps = self.gaps[part].reshape(-1, len(whole))
            weights = np.linalg.lstsq(whole, gaps.T, rcond=None)[0]
            left = (gaps - (whole @ weights).T).reshape(-1, *design.shape[:2])
            found += np.einsum("dnl,dnm->lm", left, left)
            variances += (weights**2).sum(1)
        found /= len(self.gaps) * len(design)
        own = np.maximum(np.diag(found), max(ROUNDING * np.diag(found).max(), np.finfo(float).tiny))
        shared = (1 - _OWN) * found + np.diag(own - (1 - _OWN) * np.diag(found))
        variances /= len(self.gaps)
        pull = 1 / np.maximum(variances, max(ROUNDING * variances.max(), np.finfo(float).tiny))
        pull[0] = 0.0
        return design, shared, pull

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


def _of_one_size(apart: np.ndarray) -> np.ndarray:
    """``[N,L]`` differences as ``[NL]`` of mean 0 and mean square 1: poor candidates differ most
    from the leader; who is in doubt is more like the good ones."""
    flat = apart.ravel() - apart.mean()
    size = np.sqrt((flat**2).mean())
    return flat / (size if size > 0 else 1.0)


def _main_directions(apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest singular values of ``[P,M]`` differences and their directions ``[v,M]``, v at
    most :data:`VARIATES`; of so many that no copy of them has room by the products of each two."""
    parts = blocks(apart.shape[1], len(apart))
    if len(parts) == 1:
        _, strength, directions = np.linalg.svd(apart, full_matrices=False)
        return strength[:VARIATES], directions[:VARIATES]
    products = sum(apart[:, part] @ apart[:, part].T for part in parts)
    squares, vectors = np.linalg.eigh(products)
    strength = np.sqrt(squares[::-1][:VARIATES].clip(0))
    least = np.finfo(float).tiny
    pieces = [
        vectors[:, ::-1][:, :VARIATES].T @ apart[:, part] / np.maximum(strength, least)[:, None]
        for part in parts
    ]
    return strength, np.concatenate(pieces, 1)
