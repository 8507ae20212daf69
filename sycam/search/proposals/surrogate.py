"""What an expression will score, guessed from expressions whose heatmaps look alike.

Gaussian process regression (Rasmussen and Williams, Gaussian Processes for Machine Learning,
2006, algorithm 2.1; length and noise by the marginal likelihood, section 5.4) over portraits of
the heatmaps on the probe images, with the Matérn 3/2 kernel. It takes no pass of the network.

scikit-learn's regressor gives the same numbers (a test compares them), but takes two to three
times as long for a round of proposals, and five to ten times as long to choose length and noise,
because it measures all distances again for each choice (``benchmarks/surrogate.py``).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

_LENGTHS = (0.3, 1.0, 3.0, 10.0)  # over the median distance
_NOISES = (1e-4, 1e-3, 1e-2)  # variances, over that of the scores
_ROUGH = 0.3  # variance more of a score of some of the images only
_DIGITS = 9  # decimals of a hope that count: what follows depends on the number of threads
_GROWTH = 1.2  # length and noise are chosen again when there is so much more to learn from


class Surrogate:
    """Predicts figures from portraits, in standard deviations above the mean of those learnt."""

    def __init__(self) -> None:
        self._length, self._noise = _LENGTHS[2], _NOISES[1]
        self._chosen_at = 0

    def fit(self, portraits: np.ndarray, figures: np.ndarray, rough: np.ndarray) -> None:
        """Learn from n expressions, instead of what was learnt before.

        Args:
            portraits: ``[n,F]``.
            figures: ``[n]``, of mean 0 and variance 1.
            rough: ``[n]`` bool, which are of some of the images only.
        """
        self._portraits = portraits
        distances = _distances(portraits, portraits)
        above = distances[np.triu_indices(len(figures), 1)]
        self._unit = float(np.median(above)) if above.any() else 1.0
        if len(figures) >= _GROWTH * self._chosen_at:
            self._chosen_at = len(figures)
            choices = [(length, noise) for length in _LENGTHS for noise in _NOISES]
            _, self._length, self._noise = max(
                (self._solve(distances, figures, rough, *choice), *choice) for choice in choices
            )
        self._solve(distances, figures, rough, self._length, self._noise)

    def predict(self, portraits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean ``[m]`` and covariance ``[m,m]`` of the figures of m portraits ``[m,F]``."""
        cross = _kernel(_distances(portraits, self._portraits), self._unit * self._length)
        half = solve_triangular(self._factor[0], cross.T, lower=True, check_finite=False)
        prior = _kernel(_distances(portraits, portraits), self._unit * self._length)
        return cross @ self._weights, prior - half.T @ half

    def _solve(
        self,
        distances: np.ndarray,
        figures: np.ndarray,
        rough: np.ndarray,
        length: float,
        noise: float,
    ) -> float:
        """Solve for a length and a noise; returns the log marginal likelihood (eq. 2.30)."""
        kernel = _kernel(distances, self._unit * length)
        kernel[np.diag_indices_from(kernel)] += noise + _ROUGH * rough
        self._factor = cho_factor(kernel, lower=True, check_finite=False)
        self._weights = cho_solve(self._factor, figures, check_finite=False)
        return float(-figures @ self._weights / 2 - np.log(np.diag(self._factor[0])).sum())


def _kernel(distances: np.ndarray, length: float) -> np.ndarray:
    scaled = np.sqrt(3.0) * distances / length
    return (1 + scaled) * np.exp(-scaled)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    return np.sqrt(squares.clip(min=0))


def hopes(mean: np.ndarray, covariance: np.ndarray, count: int, curiosity: float) -> list[int]:
    """Which of m predictions to try next, most hopeful first: mean plus so many deviations.

    Each that is chosen makes those that look like it less uncertain, so that a batch is not eight
    times the same (Desautels, Krause, Burdick: Parallelizing Exploration-Exploitation Tradeoffs
    in Gaussian Process Bandit Optimization, 2014).
    """
    covariance, chosen = covariance.copy(), []
    left = np.ones(len(mean), bool)
    while len(chosen) < min(count, len(mean)):
        deviation = np.sqrt(np.diag(covariance).clip(min=0))
        hope = (mean + curiosity * deviation).round(_DIGITS)
        best = int(np.argmax(np.where(left, hope, -np.inf)))
        left[best] = False
        chosen.append(best)
        column = covariance[:, best]
        covariance -= np.outer(column, column) / (column[best] + _NOISES[1])
    return chosen
