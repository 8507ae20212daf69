"""Fronts, volumes and the order of NSGA-II, against their definitions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sycam.errors import OptionError
from sycam.language import parse
from sycam.metrics import find_metric
from sycam.metrics.composition.objectives import Objectives
from sycam.scoring.scorer import Score
from sycam.search import Candidate
from sycam.search.selection.dominance import (
    by_rank_and_crowding,
    covers,
    crowding,
    dominates,
    hypervolume,
    non_dominated,
    ranks,
)
from sycam.search.selection.pareto import Scale, compromise, describe, pareto_front

ROAD, DELETION = find_metric("road"), find_metric("deletion")
BOTH = Objectives([ROAD, DELETION])  # the second is better when lower
TEXTS = ["G", "relu(G)", "mean(G)", "mean(relu(G))", "max(abs(G))", "mean(relu(G)) * max(A)"]

few_levels = st.integers(0, 4).map(lambda n: n / 4)  # so that ties are common


def clouds():
    return st.integers(1, 4).flatmap(
        lambda g: st.integers(0, 9).flatmap(lambda n: arrays(float, (n, g), elements=few_levels))
    )


def candidate(text, figures, metric=BOTH, kind="expression", **flaws):
    values = np.tile(np.array(figures, dtype=float), (20, 1))
    values = values if metric.components else values[:, 0]
    flaws = {"degenerate": 0, "finite": True} | flaws
    return Candidate(text, kind, parse(text), Score.of(metric, values, **flaws))


def beats(a, b):
    return bool((a >= b).all() and (a > b).any())


# --- points --------------------------------------------------------------------------------------


@given(clouds())
def test_the_front_is_what_nothing_dominates_each_point_once(points):
    kept = non_dominated(points)
    for i, point in enumerate(points):
        repeated = any((points[j] == point).all() for j in range(i))
        beaten = any(beats(other, point) for other in points)
        assert kept[i] == (not repeated and not beaten)


@given(clouds())
def test_points_are_compared_one_by_one_and_many_at_once(points):
    for point in points:
        assert dominates(points, point).tolist() == [beats(other, point) for other in points]
        assert dominates(point, points).tolist() == [beats(point, other) for other in points]
        matched = [beats(p, point) or (p == point).all() for p in points]
        assert covers(points, point).tolist() == matched


@given(clouds())
def test_the_volume_is_that_of_inclusion_and_exclusion(points):
    expected = sum(
        (-1) ** (size + 1) * float(np.prod(np.min(chosen, axis=0)))
        for size in range(1, len(points) + 1)
        for chosen in combinations(points, size)
    )
    assert hypervolume(points, [0.0] * points.shape[1]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("goals", [2, 3, 4])
def test_the_volume_of_many_points_is_the_share_of_darts_below_them(goals):
    rng = np.random.default_rng(goals)
    points, darts = rng.random((60, goals)), rng.random((20_000, goals))
    hit = (darts[:, None] <= points).all(2).any(1).mean()
    assert hypervolume(points, np.zeros(goals)) == pytest.approx(hit, abs=0.015)


@given(clouds(), st.randoms(use_true_random=False))
def test_only_the_front_decides_the_volume(points, random):
    zero = [0.0] * points.shape[1]
    whole = hypervolume(points, zero)
    assert hypervolume(points[non_dominated(points)], zero) == pytest.approx(whole, abs=1e-12)
    order = list(range(len(points)))
    random.shuffle(order)
    assert hypervolume(points[order], zero) == pytest.approx(whole, abs=1e-12)


def test_what_is_not_above_the_reference_adds_nothing():
    points = np.array([[3.0, 3.0], [9.0, 1.0], [0.5, 8.0]])
    assert hypervolume(points, (1.0, 1.0)) == 4.0
    assert hypervolume(np.empty((0, 2)), (0, 0)) == 0.0
    with pytest.raises(OptionError, match=r"\[3, 2\] with a reference of 3"):
        hypervolume(points, (0, 0, 0))


@given(clouds())
def test_each_rank_is_the_front_of_what_the_better_ranks_leave(points):
    found = ranks(points)
    for rank in range(found.max(initial=-1) + 1):
        left = np.flatnonzero(found >= rank)
        assert left[non_dominated(points[left])].tolist() == np.flatnonzero(found == rank).tolist()


def test_crowding_by_hand():
    points = np.array([[0.0, 10.0], [1.0, 7.0], [3.0, 6.0], [4.0, 0.0]])
    # (3 - 0) / 4 + (10 - 6) / 10 and (4 - 1) / 4 + (7 - 0) / 10
    assert crowding(points).tolist() == pytest.approx([np.inf, 1.15, 1.45, np.inf])
    worse = points - 20
    order = by_rank_and_crowding(np.vstack([worse, points]))
    assert order.tolist() == [4, 7, 6, 5, 0, 3, 2, 1]
    assert by_rank_and_crowding(np.empty((0, 2))).tolist() == []


# --- candidates ----------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(TEXTS), few_levels), max_size=12),
       st.sampled_from([ROAD, DELETION]))  # fmt: skip
def test_with_one_goal_it_is_the_front_of_score_and_cost(pairs, metric):
    given_ = [candidate(text, [figure], metric) for text, figure in pairs]
    ours, theirs = pareto_front(given_, metric), []
    for one in sorted(given_, key=lambda c: (c.cost, -metric.oriented(c.mean))):
        if not theirs or metric.oriented(one.mean) > metric.oriented(theirs[-1].mean):
            theirs.append(one)
    assert list(map(id, ours)) == list(map(id, theirs))


@given(st.lists(st.tuples(st.sampled_from(TEXTS), few_levels, few_levels), max_size=12),
       st.integers(0, 12))  # fmt: skip
def test_with_several_goals_members_are_matched_by_nothing_as_cheap(triples, cut):
    given_ = [candidate(text, figures) for text, *figures in triples]
    front = pareto_front(given_, BOTH)
    for one in given_:
        matched = [
            m.cost <= one.cost
            and m.mean >= one.mean
            and BOTH.figures(m.score.values)[1] <= BOTH.figures(one.score.values)[1]
            for m in front
        ]
        assert any(matched)
        assert sum(matched) == 1 or all(one is not m for m in front)
    assert [m.cost for m in front] == sorted(m.cost for m in front)
    kept_up = pareto_front([*pareto_front(given_[:cut], BOTH), *given_[cut:]], BOTH)
    assert [m.name for m in kept_up] == [m.name for m in front]


def test_candidates_that_cannot_win_are_not_on_the_front():
    good = candidate("mean(relu(G))", [0.1, 0.5])
    flawed = [candidate("G", [0.4, 0.1], finite=False), candidate("G", [0.4, 0.1], degenerate=9)]
    assert pareto_front([*flawed, good], BOTH) == (good,)
    assert pareto_front([], BOTH) == ()


def test_a_candidate_whose_other_goal_is_undefined_is_not_on_the_front():
    """RM is undefined where noise changed no prediction."""
    metric = Objectives([ROAD, find_metric("rm")])
    good = candidate("mean(relu(G))", [0.1, 0.5, 1, 0.2, 1], metric)
    other = candidate("G", [0.4, 0.5, 1, 0, 0], metric)
    assert other.eligible
    assert np.isnan(metric.figures(other.score.values)[1])
    assert pareto_front([other, good], metric) == (good,)


KNOWN = [
    candidate("mean(G)", [0.2, 0.6], kind="published"),
    candidate("G", [0.4, 0.8], kind="published"),
    candidate("max(G)", [0.0, 1.0], kind="control"),
]


def test_the_volume_counts_from_the_worst_known_in_units_of_the_best():
    front = [candidate("relu(G)", [0.4, 0.6]), candidate("mean(relu(G))", [0.8, 0.8])]
    found = describe(pareto_front(front, BOTH), KNOWN, BOTH, front[1])
    assert found.goals == ("road", "deletion")
    assert found.directions == (True, False)
    assert found.reference == pytest.approx((0.0, 1.0))
    assert found.ideal == pytest.approx((0.4, 0.6))
    # In these units: known (0.5, 1), (1, 0.5), (0, 0); front (1, 1), (2, 0.5).
    assert found.hypervolume_known == pytest.approx(0.75)
    assert found.hypervolume == pytest.approx(1.5)
    assert [m.figures for m in found.members] == [
        pytest.approx((0.4, 0.6)), pytest.approx((0.8, 0.8))
    ]  # fmt: skip
    assert found.compromise == "mean(relu(G))"


def test_without_any_known_figure_nothing_can_be_measured():
    with pytest.raises(OptionError, match="no published CAM or control"):
        Scale.of([candidate("G", [0.1, 0.1], finite=False)], BOTH)


def test_where_all_known_are_equal_a_goal_keeps_its_own_units():
    scale = Scale.of([candidate("G", [0.2, 0.5]), candidate("mean(G)", [0.4, 0.5])], BOTH)
    assert scale.hypervolume(np.array([[0.4, -0.3]])) == pytest.approx(0.2)


def test_the_compromise_is_nearest_to_the_ideal_and_no_known_cam():
    scale = Scale.of(KNOWN, BOTH)
    ends = [candidate("G", [0.8, 0.9]), candidate("mean(relu(G))", [0.1, 0.2])]
    middle = candidate("relu(G)", [0.6, 0.4])
    front = pareto_front([*ends, middle], BOTH)
    assert len(front) == 3
    assert compromise(front, BOTH, scale) is middle
    second = compromise(front, BOTH, scale, lambda c: c is middle)
    assert any(second is end for end in ends)
    assert compromise(front, BOTH, scale, lambda _: True) is None
    assert compromise((), BOTH, scale) is None


def test_at_equal_distance_the_cheaper_is_offered():
    scale = Scale.of(KNOWN, BOTH)  # both spans are 0.4
    expensive, cheap = candidate("max(abs(G))", [0.4, 0.6]), candidate("G", [0.2, 0.4])
    for order in ([expensive, cheap], [cheap, expensive]):
        assert compromise(order, BOTH, scale) is cheap
