"""Mean ranks, Friedman's test and Nemenyi's critical difference, against worked examples."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from sycam.errors import OptionError
from sycam.scoring.ranks import mean_ranks, nemenyi_difference

NAMES = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
# AUCs of Demšar 2006, table 6: fourteen data sets. The last two of voting tie as printed, not in
# the ranks that stand beside them.
AUCS = np.array(
    [
        (0.763, 0.768, 0.771, 0.798),
        (0.599, 0.591, 0.590, 0.569),
        (0.954, 0.971, 0.968, 0.967),
        (0.628, 0.661, 0.654, 0.657),
        (0.882, 0.888, 0.886, 0.898),
        (0.936, 0.931, 0.916, 0.931),
        (0.661, 0.668, 0.609, 0.685),
        (0.583, 0.583, 0.563, 0.625),
        (0.775, 0.838, 0.866, 0.875),
        (1.000, 1.000, 1.000, 1.000),
        (0.940, 0.962, 0.965, 0.962),
        (0.619, 0.666, 0.614, 0.669),
        (0.972, 0.981, 0.9751, 0.975),
        (0.957, 0.978, 0.946, 0.970),
    ]
)


def test_demsars_example():
    found = mean_ranks(AUCS, NAMES)
    assert found.names == ("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5")
    assert np.round(found.ranks, 3).tolist() == [1.964, 2.0, 2.893, 3.143]
    assert (found.items, found.left_out) == (14, 0)
    # The paper's chi-squared is 9.28; ties within data sets (three pairs and one of four) take
    # 3 * 6 + 60 of 14 * (4**3 - 4) away from what it is divided by.
    assert found.statistic == pytest.approx(9.28 / (1 - 78 / 840), abs=0.01)
    assert found.p == pytest.approx(stats.chi2.sf(found.statistic, 3))
    # "The critical value for 4 classifiers is 2.569": no pair is so far apart at 5 %.
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert found.cliques == (found.names,)


def test_demsars_example_at_ten_per_cent():
    """The paper finds C4.5 worse than the two with m, and nothing else, at a difference of 1.12."""
    found = mean_ranks(AUCS, NAMES, alpha=0.1)
    assert found.critical_difference == pytest.approx(1.12, abs=0.005)
    apart = {(a, b) for a in NAMES for b in NAMES if a < b and found.differ(a, b)}
    assert apart == {("C4.5", "C4.5+m"), ("C4.5", "C4.5+m+cf")}
    assert found.cliques == (("C4.5+m+cf", "C4.5+m", "C4.5+cf"), ("C4.5+cf", "C4.5"))


def test_critical_values_of_nemenyis_test():
    """Demšar 2006, table 5(a): of 2 to 10 methods."""
    at = {
        0.05: (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164),
        0.10: (1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920),
    }
    for alpha, values in at.items():
        for k, value in enumerate(values, 2):
            found = nemenyi_difference(k, 6, alpha) / math.sqrt(k * (k + 1) / 36)
            assert found == pytest.approx(value, abs=0.0015)


def test_as_scikit_posthocs_has_it():
    posthocs = pytest.importorskip("scikit_posthocs", reason="scikit-posthocs is not installed")
    scores = np.random.default_rng(0).normal(size=(30, 5)) + np.arange(5) * 0.4
    names = list("abcde")
    found, p = mean_ranks(scores, names), posthocs.posthoc_nemenyi_friedman(scores).to_numpy()
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            assert found.differ(one, other) == (i != j and p[i, j] < 0.05)


@given(
    arrays(float, st.tuples(st.integers(2, 12), st.integers(3, 7)),
           elements=st.integers(0, 4).map(float))
)  # fmt: skip
def test_ranks_whatever_the_scores(scores):
    items, methods = scores.shape
    names = [f"m{i}" for i in range(methods)]
    found = mean_ranks(scores, names)
    assert sum(found.ranks) == pytest.approx(methods * (methods + 1) / 2)
    assert list(found.ranks) == sorted(found.ranks)
    assert 0 <= found.p <= 1
    # Ranks do not change with the scale of an item; turned scores turn the order round.
    moved = mean_ranks(np.exp(scores) * np.arange(1, items + 1)[:, None], names)
    assert moved == found
    turned = mean_ranks(scores, names, higher_is_better=False)
    for name in names:
        assert turned.rank(name) == pytest.approx(methods + 1 - found.rank(name))
    # Two methods share a group where they do not differ, and no group is within another.
    for a in names:
        for b in names:
            shared = any({a, b} <= set(group) for group in found.cliques)
            assert a == b or shared == (not found.differ(a, b))
    groups = [set(group) for group in found.cliques]
    assert not any(one < other for one in groups for other in groups)


def test_items_without_a_score_are_left_out():
    scores = np.vstack([AUCS, [[0.1, np.nan, 0.3, 0.4], [np.inf, 0.2, 0.3, 0.4]]])
    found = mean_ranks(scores, NAMES)
    assert (found.items, found.left_out) == (14, 2)
    assert found.ranks == mean_ranks(AUCS, NAMES).ranks


@pytest.mark.parametrize(
    ("scores", "names", "said"),
    [
        (AUCS, NAMES[:3], r"\[14, 4\] for 3 names"),
        (AUCS[:, :2], NAMES[:2], "ranks of 2 methods"),
        (AUCS[:1], NAMES, "1 of 1 items"),
        (np.full((5, 4), np.nan), NAMES, "0 of 5 items"),
        (AUCS, ("a", "b", "a", "c"), "name 'a' stands for two methods"),
    ],
)
def test_what_cannot_be_ranked_is_refused(scores, names, said):
    with pytest.raises(OptionError, match=said):
        mean_ranks(scores, names)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, math.nan])
def test_alpha_is_a_probability(alpha):
    with pytest.raises(OptionError, match="alpha must be between 0 and 1"):
        mean_ranks(AUCS, NAMES, alpha=alpha)
