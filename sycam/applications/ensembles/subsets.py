"""Which ensembles are scored: all where they are few, else steps that promise most, from two sides.

Of M members there are some 2^M ensembles at each threshold. Where the budget does not hold them
all, two climbs share it: one begins with the best single CAM, the other with the members whose
effect was found to be positive. A step adds, drops or exchanges one member, or takes the next
threshold; of all such steps those are tried first that a ridge regression on all that was scored
predicts to be best, and the first that is better is taken. What is left of the budget goes to steps
from the best ensembles of both, as long as these find better ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from scipy.linalg import hadamard
from sklearn.linear_model import Ridge

from sycam.applications.ensembles.votes import Vote

FEW = 5  # members, of which all subsets serve to tell the effects
_LEADERS = 8  # ensembles from which more is tried once no climb leads on
_PATIENCE = 3  # times as many trials as there are members, without a better one, end that
_PENALTY = 0.1  # of the regression, per vote of variance one
Figures = Mapping[Vote, float]
Try = Callable[[Vote], float | None]
"""Score an ensemble, higher is better, NaN where it may not win; None where the budget is spent."""


def size_of_space(members: int, percents: int) -> int:
    """How many ensembles of two or more members there are."""
    return (2**members - members - 1) * percents


def every(members: int, percents: Sequence[float]) -> Iterator[Vote]:
    """All ensembles of two or more members, small ones first."""
    for size in range(2, members + 1):
        for places in itertools.combinations(range(members), size):
            for percent in percents:
                yield Vote(places, percent)


def screening(members: int, percent: float, seed: int) -> list[Vote]:
    """Ensembles from which the effect of each member can be told: all of few members, else as many
    as a folded-over Hadamard design has rows.

    In such a design each member is in half of the ensembles, and in half of those that hold any
    other one, so that what others do cancels; being folded over, pairs do as well (Box, Hunter and
    Hunter, Statistics for Experimenters, 2005, chapters 6 and 7).

    >>> [len(screening(n, 20, 0)) for n in (2, 5, 11, 33)]
    [3, 31, 32, 128]
    """
    if members <= FEW:
        subsets = (
            places
            for size in range(1, members + 1)
            for places in itertools.combinations(range(members), size)
        )
        return [Vote(places, percent) for places in subsets]
    rows = 2 ** int(np.ceil(np.log2(members + 1)))
    signs = hadamard(rows)[:, 1 : members + 1]  # the first column is one throughout
    both = np.concatenate([signs, -signs])
    rng = np.random.default_rng(seed)
    while True:  # until no ensemble is empty: so for most ways to turn signs round
        held = both * rng.choice([-1, 1], members) > 0
        if held.any(1).all():
            return [Vote(tuple(np.flatnonzero(row).tolist()), percent) for row in held]


def climb(start: Vote, members: int, percents: Sequence[float], known: Figures, score: Try) -> None:
    """Go on to better ensembles until there is no better one a step away, or no budget.

    Args:
        start: one CAM or an ensemble.
        members: how many there are.
        percents: the thresholds, the lowest first.
        known: figures of all that was scored, higher is better; ``score`` adds to it.
        score: scores one.
    """
    here, figure = start, score(start)
    while figure is not None:
        for vote in promising(list(steps(here, members, percents)), members, known):
            found = known.get(vote)
            found = score(vote) if found is None else found
            if found is None:
                return
            # What one CAM scores is no measure of ensembles: the first step is taken anyway.
            if found > figure or (found == found and (here.single or figure != figure)):
                here, figure = vote, found
                break
        else:
            return


def explore(members: int, percents: Sequence[float], known: Figures, score: Try) -> None:
    """Score what promises most a step from the best ensembles, until that has found nothing better
    for a while: there may be a better one that no climb leads to.

    Args:
        members, percents, known, score: as for :func:`climb`.
    """
    waited = 0
    while waited < _PATIENCE * members:
        told = [vote for vote, figure in known.items() if figure == figure and not vote.single]
        leaders = sorted(told, key=lambda vote: (-known[vote], vote))[:_LEADERS]
        near = dict.fromkeys(v for one in leaders for v in steps(one, members, percents))
        unseen = promising([vote for vote in near if vote not in known], members, known)
        found = score(unseen[0]) if unseen else None
        if found is None:
            return
        waited = 0 if found > known[leaders[0]] else waited + 1


def steps(vote: Vote, members: int, percents: Sequence[float]) -> Iterator[Vote]:
    """The ensembles a step away: one member more, less or another, or the next threshold."""
    held, others = vote.places, [m for m in range(members) if m not in vote.places]
    for one in others:
        yield Vote(tuple(sorted((*held, one))), vote.percent)
    if len(held) > 2:
        for one in held:
            yield Vote(tuple(m for m in held if m != one), vote.percent)
    if not vote.single:
        for one, other in itertools.product(held, others):
            yield Vote(tuple(sorted({*held, other} - {one})), vote.percent)
        at = percents.index(vote.percent)
        for near in (at - 1, at + 1):
            if 0 <= near < len(percents):
                yield Vote(held, percents[near])


def promising(votes: Sequence[Vote], members: int, known: Figures) -> list[Vote]:
    """Votes in the order of what is predicted of them by what is known, the best first."""
    told = {vote: figure for vote, figure in known.items() if figure == figure}
    if len(told) < 2 or not votes:
        return list(votes)
    percents = sorted({vote.percent for vote in (*told, *votes)})
    model = Ridge(alpha=_PENALTY).fit(
        _features(list(told), members, percents), np.array(list(told.values()))
    )
    predicted = model.predict(_features(votes, members, percents)).round(10)
    return [votes[i] for i in np.argsort(-predicted, kind="stable")]


def _features(votes: Sequence[Vote], members: int, percents: Sequence[float]) -> np.ndarray:
    """``[V,M+M+Q+1]`` who votes, by how much of all votes, with which threshold, and whether any
    other does."""
    features = np.zeros((len(votes), 2 * members + len(percents) + 1))
    for row, vote in zip(features, votes, strict=True):
        row[list(vote.places)] = 1
        row[[members + place for place in vote.places]] = 1 / len(vote.places)
        row[2 * members + percents.index(vote.percent)] = 1
        row[-1] = vote.single
    return features
