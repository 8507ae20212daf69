"""Selection, the front and the budget."""

from __future__ import annotations

import numpy as np
import pytest

from sycam.errors import OptionError
from sycam.language import parse
from sycam.metrics import find_metric
from sycam.search import Budget, Candidate, Score, pareto_front, rank, select

ROAD, DELETION = find_metric("road"), find_metric("deletion")


def candidate(text, values, degenerate=0, finite=True):
    expression = parse(text)
    return Candidate(
        text,
        "expression",
        expression,
        Score.of(find_metric("road"), np.array(values), degenerate, finite),
    )


NOISE = np.linspace(-0.1, 0.1, 20)


def test_the_cheaper_of_two_that_cannot_be_told_apart_wins():
    dear = candidate("mean(relu(G))", 0.5 + NOISE)
    cheap = candidate("mean(G)", 0.499 + NOISE[::-1])
    assert rank([dear, cheap], ROAD)[0] is cheap


def test_a_clear_difference_beats_cost():
    dear = candidate("mean(relu(G))", 0.5 + NOISE)
    cheap = candidate("mean(G)", 0.45 + NOISE)
    assert rank([cheap, dear], ROAD)[0] is dear


def test_lower_is_better_is_respected():
    low, high = candidate("mean(G)", 0.1 + NOISE), candidate("max(G)", 0.5 + NOISE)
    assert rank([high, low], DELETION)[0] is low
    assert pareto_front([high, low], DELETION) == (low,)


@pytest.mark.parametrize("spoilt", [{"degenerate": 2}, {"finite": False}])
def test_degenerate_and_overflowing_candidates_cannot_win(spoilt):
    good, bad = candidate("mean(G)", 0.1 + NOISE), candidate("max(G)", 0.5 + NOISE, **spoilt)
    assert select([good, bad], ROAD, lambda _: False) is good
    assert pareto_front([good, bad], ROAD) == (good,)


def test_one_degenerate_map_in_twenty_is_tolerated():
    bad = candidate("max(G)", 0.5 + NOISE, degenerate=1)
    assert select([bad], ROAD, lambda _: False) is bad


def test_a_published_cam_in_disguise_is_passed_over():
    known, other = candidate("mean(G)", 0.5 + NOISE), candidate("max(G)", 0.2 + NOISE)
    assert select([known, other], ROAD, lambda c: c is known) is other
    assert select([known], ROAD, lambda c: True) is None


def test_the_front_is_strictly_better_at_each_higher_cost():
    front = pareto_front(
        [
            candidate("G", 0.1 + NOISE),
            candidate("relu(G)", 0.3 + NOISE),
            candidate("mean(G)", 0.2 + NOISE),
            candidate("mean(relu(G))", 0.3 + NOISE),
            candidate("max(abs(G))", 0.4 + NOISE),
        ],
        ROAD,
    )
    assert [c.name for c in front] == ["G", "relu(G)", "max(abs(G))"]


@pytest.mark.parametrize(
    ("text", "seconds", "candidates"),
    [("90s", 90, None), ("5m", 300, None), ("2h", 7200, None), ("500", None, 500), (7, None, 7)],
)
def test_budgets_are_read(text, seconds, candidates):
    budget = Budget.parse(text)
    assert (budget.seconds, budget.candidates) == (seconds, candidates)


@pytest.mark.parametrize("text", ["", "soon", "-5s", "0", "1.5", "5 days"])
def test_other_budgets_are_refused(text):
    with pytest.raises(OptionError, match="expected a time like 90s"):
        Budget.parse(text)
