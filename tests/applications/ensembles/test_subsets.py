"""The search among ensembles against the exhaustive one, and the design against its promises."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sycam.applications.ensembles.effects import effects
from sycam.applications.ensembles.subsets import (
    climb,
    every,
    explore,
    screening,
    size_of_space,
    steps,
)
from sycam.applications.ensembles.votes import Vote

PERCENTS = (10.0, 30.0, 60.0)


@pytest.mark.parametrize("members", [6, 7, 11, 15, 16, 33])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_design_is_balanced(members, seed):
    votes = screening(members, 20.0, seed)
    held = np.array([[m in vote.places for m in range(members)] for vote in votes])
    assert len(set(votes)) == len(votes) <= 4 * members + 4
    assert held.any(1).all()
    assert (held.sum(0) == len(votes) / 2).all()
    for one, other in itertools.combinations(range(members), 2):
        assert (held[:, one] & held[:, other]).sum() == len(votes) / 4


def test_of_few_members_all_subsets_are_the_design():
    assert len(screening(5, 20.0, 0)) == len(set(screening(5, 20.0, 0))) == 31


def test_all_ensembles_are_counted():
    for members in (2, 3, 6):
        votes = list(every(members, PERCENTS))
        assert len(set(votes)) == len(votes) == size_of_space(members, len(PERCENTS))
        assert not any(vote.single for vote in votes)


@given(st.integers(3, 8), st.data())
def test_a_step_is_to_another_ensemble_and_leads_back(members, data):
    places = data.draw(st.sets(st.integers(0, members - 1), min_size=2))
    vote = Vote(tuple(sorted(places)), data.draw(st.sampled_from(PERCENTS)))
    found = list(steps(vote, members, PERCENTS))
    assert len(set(found)) == len(found)
    assert vote not in found
    assert all(1 < len(one.places) <= members for one in found)
    assert all(list(one.places) == sorted(set(one.places)) for one in found)
    assert all(vote in steps(one, members, PERCENTS) for one in found)


def worth(seed: int, members: int):
    """A toy: what members add, in pairs as well, falls with their number; a threshold is best."""
    rng = np.random.default_rng(seed)
    alone, pairs = rng.normal(0, 1, members), rng.normal(0, 0.3, (members, members))

    def figure(vote: Vote) -> float:
        held = list(vote.places)
        together = pairs[np.ix_(held, held)].sum() / len(held)
        return alone[held].sum() / len(held) + together - abs(vote.percent - 30) / 100

    return figure


@pytest.mark.parametrize("seed", range(6))
def test_climbing_finds_what_all_ensembles_would_have_given(seed):
    """Of 741 ensembles at most 150 are scored."""
    members, figure, known = 8, worth(seed, 8), {}

    def score(vote: Vote) -> float | None:
        if len(known) >= 150 and vote not in known:
            return None
        known[vote] = figure(vote)
        return known[vote]

    for vote in screening(members, 60.0, seed):
        score(vote)
    best_single = max((Vote((m,), q) for m in range(members) for q in PERCENTS), key=figure)
    for start in (best_single, max(known, key=known.get)):
        climb(start, members, PERCENTS, known, score)
    explore(members, PERCENTS, known, score)
    known = {vote: found for vote, found in known.items() if not vote.single}
    ranked = sorted(map(figure, every(members, PERCENTS)), reverse=True)
    assert len(known) <= 150
    assert max(known.values()) == pytest.approx(ranked[0])


def test_a_climb_ends_where_nothing_is_better_and_where_nothing_may_win():
    known: dict[Vote, float] = {}

    def never(vote: Vote) -> float:
        known[vote] = float("nan")
        return known[vote]

    climb(Vote((0,), 10.0), 4, PERCENTS, known, never)
    assert {len(vote.places) for vote in known} == {1, 2}


@pytest.mark.parametrize("higher", [True, False])
def test_effects_are_what_members_add(higher):
    """Where scores are sums of what members add, a balanced design tells exactly that."""
    added = np.random.default_rng(5).normal(0, 1, (11, 40))  # by member and image
    votes = screening(11, 20.0, 3)
    scores = {vote: 2 + added[list(vote.places)].sum(0) for vote in votes}
    names = [f"m{i}" for i in range(11)]
    found = effects(names, scores, higher)
    sign = 1 if higher else -1
    for one in found:
        mine = sign * added[names.index(one.member)]
        assert one.effect.mean == pytest.approx(mine.mean())
        assert one.effect.low < mine.mean() < one.effect.high
        assert one.ensembles == (16, 16)
        assert sign * (one.with_it - one.without_it) == pytest.approx(mine.mean())
    assert [one.effect.mean for one in found] == sorted(
        (o.effect.mean for o in found), reverse=True
    )
