"""The surrogate's Gaussian process beside scikit-learn's, with the same kernel and choices.

    python benchmarks/surrogate.py [--threads 1] [--places 600] [--sizes 8,50,200,500,1000]
        [--rounds 5]

Medians of rounds in turn, milliseconds: a fit that chooses length and noise among the twelve, a fit
that keeps them, predictions for the three pools of a round of proposals, and the sum of the last
two, which is what most rounds cost. The number of places of a portrait is that of 3 images and a
14x14 grid, about.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import pdist
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern
from threadpoolctl import threadpool_limits

from sycam.search.proposals.surrogate import _LENGTHS, _NOISES, _ROUGH, Surrogate

POOL, KINDS = 64, 3


class SklearnSurrogate:
    """As :class:`Surrogate`, with scikit-learn's regressor."""

    def choose(self, portraits: np.ndarray, figures: np.ndarray, rough: np.ndarray) -> None:
        """Learn, with the length and the noise of the highest marginal likelihood."""
        self._unit = float(np.median(pdist(portraits)))
        choices = [(length, noise) for length in _LENGTHS for noise in _NOISES]
        likelihoods = []
        for self._length, self._noise in choices:
            self.fit(portraits, figures, rough)
            likelihoods.append(self.process.log_marginal_likelihood_value_)
        self._length, self._noise = choices[int(np.argmax(likelihoods))]
        self.fit(portraits, figures, rough)

    def fit(self, portraits: np.ndarray, figures: np.ndarray, rough: np.ndarray) -> None:
        """Learn, with the length and the noise chosen last."""
        self.process = GaussianProcessRegressor(
            Matern(self._length * self._unit, nu=1.5),
            alpha=self._noise + _ROUGH * rough,
            optimizer=None,
            copy_X_train=False,
        ).fit(portraits, figures)

    def predict(self, portraits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance."""
        return self.process.predict(portraits, return_cov=True)


def sizes(text: str) -> list[int]:
    """Whole numbers between commas."""
    return [int(part) for part in text.split(",")]


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--places", type=int, default=600)
    parser.add_argument(
        "--sizes", type=sizes, default=[8, 50, 200, 500, 1000],
        help="expressions that are learnt from",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    print(f"{options.threads} threads, portraits of {options.places} places")
    print(f"{'learnt':>8}{'':>14}{'choose':>10}{'fit':>10}{'predict':>10}{'round':>10}{'ratio':>8}")
    generator = np.random.default_rng(0)
    with threadpool_limits(options.threads):
        for count in options.sizes:
            _measure(count, options, generator)


def _measure(count: int, options: argparse.Namespace, generator: np.random.Generator) -> None:
    portraits, pool = (generator.random((n, options.places)) for n in (count, POOL))
    figures = np.sin(3 * portraits[:, :3]).sum(1)
    figures = (figures - figures.mean()) / figures.std()
    rough = generator.random(count) < 0.6
    learnt = portraits, figures, rough
    times: dict[str, list[tuple[float, ...]]] = {"ours": [], "scikit-learn": []}
    for _ in range(options.rounds):
        ours, theirs = Surrogate(), SklearnSurrogate()
        for name, model, choose in (
            ("ours", ours, ours.fit),
            ("scikit-learn", theirs, theirs.choose),
        ):
            moments = [time.perf_counter()]
            choose(*learnt)
            moments.append(time.perf_counter())
            model.fit(*learnt)
            moments.append(time.perf_counter())
            for _ in range(KINDS):
                model.predict(pool)
            moments.append(time.perf_counter())
            times[name].append(tuple(np.diff(moments) * 1e3))
    whole = {}
    for name, found in times.items():
        choose, fit, predict = (statistics.median(column) for column in zip(*found, strict=True))
        whole[name] = fit + predict
        print(f"{count:>8}{name:>14}{choose:10.1f}{fit:10.1f}{predict:10.1f}{whole[name]:10.1f}"
              f"{whole[name] / whole['ours']:8.1f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
