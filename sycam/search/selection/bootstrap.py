"""Whether the same candidate would win on other images: the selection on bootstrap samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sycam.metrics import Metric
from sycam.search.selection.rules import DEFAULT_RULE, in_own_order, winners
from sycam.search.selection.select import Candidate, in_order, paired_scores
from sycam.support.shelf import blocks

RESAMPLES = 1000
SHOWN = 5
_VALUES = 20_000_000  # elements of one array at once


@dataclass(frozen=True)
class Contender:
    """A candidate that wins on some samples.

    Attributes:
        expression: its text.
        cost: of the expression.
        score: its figure on the search images, in the metric's direction.
        share: of the samples on which it wins, 0 to 1; of a simpler form of what the rule chose,
            those on which that wins, too.
        agreement: correlation, image by image, of its scores with the winner's; 0 where one of
            them does not vary.
    """

    expression: str
    cost: int
    score: float
    share: float
    agreement: float


@dataclass(frozen=True)
class Stability:
    """How far the choice depends on which images happened to be searched on.

    Attributes:
        rule: that chose.
        resamples: number of bootstrap samples.
        images: in each sample, as many as there are search images.
        contenders: the winner first, then those that win most often.
        winners: how many different candidates won on some sample.
        optimism: what the winner's figure on the search images is too good by, in the metric's
            units: the mean over samples of the chosen one's mean on the sample minus its mean on
            all search images (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
            section 17.6). The mean on the images that a sample leaves out would be too low to
            compare with: it doubles the gap, by theory and as measured. Where all candidates are
            equally good this is still too low, by about a third.
        expected: the winner's search figure less the optimism: what to expect of it on images
            that were not searched on.
    """

    rule: str
    resamples: int
    images: int
    contenders: tuple[Contender, ...]
    winners: int
    optimism: float
    expected: float

    @property
    def share(self) -> float:
        """Of the samples on which the winner wins again."""
        return self.contenders[0].share


@dataclass(frozen=True)
class Resampled:
    """Choices on bootstrap samples.

    Attributes:
        wins: ``[C]`` number of samples on which each candidate is chosen.
        optimism: see :class:`Stability`.
    """

    wins: np.ndarray
    optimism: float


def stability(
    candidates: Sequence[Candidate],
    metric: Metric,
    winner: Candidate,
    is_known: Callable[[Candidate], bool],
    rule: str = DEFAULT_RULE,
    seed: int = 0,
    resamples: int = RESAMPLES,
    form_of: str | None = None,
) -> Stability:
    """Repeat the selection on bootstrap samples of the search images (Efron 1979).

    Nothing is scored again. Where a metric's figure is no mean, samples are drawn of its jackknife
    pseudo-values. The leaders' average that the rule ``lower-bound`` compares with stays that of
    all images.

    Args:
        candidates: as given to :func:`sycam.search.selection.select.select`.
        metric: that scored them.
        winner: what was selected among them.
        is_known: as given to ``select``; asked only of those that win on some sample.
        rule: of ``RULES``.
        seed: of the samples, and of the folds of ``cross-fit``.
        resamples: number of samples.
        form_of: name of the candidate that the winner is a simpler form of; None where the rule
            chose the winner itself.
    """
    field = in_order(candidates)
    scores = in_own_order(paired_scores(field, metric))
    answers: dict[str, bool] = {}
    while True:
        costs = np.array([c.cost for c in field])
        bootstrap = resampled(scores, costs, rule, seed, resamples)
        won = np.flatnonzero(bootstrap.wins)
        refused = [
            i for i in won if field[i].name != winner.name and _asked(answers, field[i], is_known)
        ]
        if not refused:
            break
        scores = np.delete(scores, refused, axis=0)
        field = [c for i, c in enumerate(field) if i not in set(refused)]
    place = next(i for i, c in enumerate(field) if c.name == winner.name)
    wins = bootstrap.wins.copy()
    for i, one in enumerate(field):
        if one.name == form_of:
            wins[place], wins[i] = wins[place] + wins[i], 0
    won = np.flatnonzero(wins)
    others = sorted(set(won.tolist()) - {place}, key=lambda i: (-wins[i], i))
    shown = [place, *others][:SHOWN]
    direction = 1.0 if metric.higher_is_better else -1.0
    return Stability(
        rule=rule,
        resamples=resamples,
        images=scores.shape[1],
        contenders=tuple(
            Contender(
                field[i].name,
                field[i].require_expression().cost,
                field[i].mean,
                float(wins[i] / resamples),
                _correlation(scores[i], scores[place]),
            )
            for i in shown
        ),
        winners=len(won),
        optimism=bootstrap.optimism,
        expected=winner.mean - direction * bootstrap.optimism,
    )


def resampled(
    scores: np.ndarray,
    costs: np.ndarray,
    rule: str = DEFAULT_RULE,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Resampled:
    """Choose on bootstrap samples of the images.

    Args:
        scores: ``[C,N]``, higher is better.
        costs: ``[C]``.
        rule: of ``RULES``.
        seed: of the samples.
        resamples: number of samples.
    """
    count = scores.shape[1]
    rng = np.random.default_rng(seed)
    step = max(1, _VALUES // (5 * len(scores)))
    chosen, gaps = [], []
    for start in range(0, resamples, step):
        folds = np.random.default_rng(seed + start)
        # In parts, so that memory does not grow with images.
        for part in blocks(min(step, resamples - start), count):
            size = part.stop - part.start
            drawn = rng.multinomial(count, np.full(count, 1 / count), size=size)
            weights = drawn.T.astype(float)
            chosen.append(winners(scores, costs, weights, rule, folds))
            theirs = scores[chosen[-1]]
            gaps.append((theirs * weights.T).sum(1) / count - theirs.mean(1))
    wins = np.bincount(np.concatenate(chosen), minlength=len(scores))
    return Resampled(wins, float(np.concatenate(gaps).mean()))


def _asked(
    answers: dict[str, bool], candidate: Candidate, is_known: Callable[[Candidate], bool]
) -> bool:
    if candidate.name not in answers:
        answers[candidate.name] = is_known(candidate)
    return answers[candidate.name]


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    if not np.ptp(one) or not np.ptp(other):
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
