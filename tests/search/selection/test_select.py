"""Selection by each rule, the front and the budget."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sycam.errors import OptionError, UnknownNameError
from sycam.language import parse
from sycam.metrics import find_metric
from sycam.metrics.composition.objectives import Objectives
from sycam.scoring.scorer import Score
from sycam.search import Budget, Candidate, pareto_front, rank, select
from sycam.search.selection.rules import (
    DEFAULT_RULE,
    FOLDS,
    LEADERS,
    RULES,
    allowance,
    leaders_average,
    ordering,
    winners,
    within_noise,
)
from sycam.search.selection.select import LOOKED_AT, simplest

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


def matrix(seed, formulas=12, images=16, spread=0.3):
    """Scores with decimals as they are kept, and costs; some formulas are much alike."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 1, images)
    scores = hard + rng.normal(0, spread, (formulas, 1)) + rng.normal(0, 1, (formulas, images))
    scores[1::4] = scores[::4] + rng.normal(0, 0.01, scores[::4].shape)
    return scores.round(7), rng.integers(1, 6, formulas)


def test_the_cheaper_of_two_that_cannot_be_told_apart_wins_by_one_se():
    expensive = candidate("mean(relu(G))", 0.5 + NOISE)
    cheap = candidate("mean(G)", 0.499 + NOISE[::-1])
    assert rank([expensive, cheap], ROAD, "one-se")[0] is cheap
    assert rank([expensive, cheap], ROAD, "argmax")[0] is expensive


@pytest.mark.parametrize("rule", RULES)
def test_a_clear_difference_beats_cost(rule):
    expensive = candidate("mean(relu(G))", 0.5 + NOISE)
    cheap = candidate("mean(G)", 0.45 + NOISE)
    assert rank([cheap, expensive], ROAD, rule)[0] is expensive


def test_a_lead_on_all_images_beats_a_slightly_higher_one_on_few():
    """What argmax falls for: three images decide the mean."""
    crowd = [candidate(t, 0.3 + NOISE) for t in ("G", "relu(G)", "abs(G)")]
    steady = candidate("mean(G)", 0.4 + NOISE)
    lucky = candidate("max(G)", 0.3 + NOISE + np.array([0.7] * 3 + [0.0] * 17))
    assert rank([*crowd, steady, lucky], ROAD, "argmax")[0] is lucky
    assert rank([*crowd, steady, lucky], ROAD, "lower-bound")[0] is steady


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_finds_a_planted_best(rule):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores = rng.normal(0, 1, (300, 64))
        scores[170] += 6 / 8  # six standard errors of a mean
        assert ordering(scores, rng.integers(1, 6, 300), rule)[0] == 170


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), shuffle=st.integers(0, 10_000))
def test_neither_the_order_of_images_nor_of_candidates_matters(rule, seed, shuffle):
    scores, costs = matrix(seed)
    rng = np.random.default_rng(shuffle)
    rows, columns = rng.permutation(len(scores)), rng.permutation(scores.shape[1])
    shuffled = ordering(scores[rows][:, columns], costs[rows], rule)
    assert rows[shuffled].tolist() == ordering(scores, costs, rule).tolist()


@pytest.mark.parametrize("rule", RULES)
def test_equal_candidates_are_ordered_by_the_language(rule):
    texts = ["max(G)", "mean(G)", "min(A)", "G", "relu(G)"]
    equal = [candidate(t, 0.5 + NOISE) for t in texts]
    expected = sorted(equal, key=lambda c: c.expression.sort_key())
    assert rank(equal, ROAD, rule) == rank(equal[::-1], ROAD, rule) == expected


def by_hand(rule, scores, costs, folds=None):
    """The rules of one set of images in plain loops; the index that wins."""
    formulas, images = scores.shape
    means = [sum(row) / images for row in scores]
    best = max(range(formulas), key=lambda c: means[c])
    if rule == "argmax":
        return best
    if rule == "one-se":
        near = []
        for c in range(formulas):
            behind = [scores[best][i] - scores[c][i] for i in range(images)]
            mean = sum(behind) / images
            variance = sum((b - mean) ** 2 for b in behind) / (images - 1)
            if mean <= (variance / images) ** 0.5:
                near.append(c)
        return min(near, key=lambda c: (costs[c], -means[c]))
    assert rule == "lower-bound"
    leaders = sorted(range(formulas), key=lambda c: -means[c])[:LEADERS]
    average = [sum(scores[c][i] for c in leaders) / len(leaders) for i in range(images)]
    bounds = []
    for c in range(formulas):
        lead = [scores[c][i] - average[i] for i in range(images)]
        mean = sum(lead) / images
        variance = sum((x - mean) ** 2 for x in lead) / (images - 1)
        bounds.append(means[c] - (variance / images) ** 0.5)
    return max(range(formulas), key=lambda c: bounds[c])


@pytest.mark.parametrize("formulas", [12, LEADERS + 40])
@pytest.mark.parametrize("rule", ["argmax", "one-se", "lower-bound"])
def test_rules_against_plain_loops(rule, formulas):
    chosen = set()
    for seed in range(25):
        scores, costs = matrix(seed, formulas)
        chosen.add(by_hand(rule, scores, costs))
        assert ordering(scores, costs, rule)[0] == by_hand(rule, scores, costs)
    assert len(chosen) > 3


@pytest.mark.parametrize("rule", ["argmax", "one-se", "lower-bound"])
def test_weights_stand_for_repeated_images(rule):
    scores, costs = matrix(3)
    scores = scores - leaders_average(scores)  # which is not drawn again; here it is 0
    rng = np.random.default_rng(0)
    drawn = rng.integers(scores.shape[1], size=(40, scores.shape[1]))
    weights = np.stack([np.bincount(d, minlength=scores.shape[1]) for d in drawn], 1).astype(float)
    expected = []
    for d in drawn:
        repeated = scores[:, d]
        if rule == "lower-bound":
            error = repeated.std(1, ddof=1) / np.sqrt(len(d))
            expected.append(int((repeated.mean(1) - error).argmax()))
        else:
            expected.append(by_hand(rule, repeated, costs))
    assert winners(scores, costs, weights, rule).tolist() == expected


def test_cross_fitting_against_plain_loops():
    """Five images, so that the folds are the images whatever is drawn."""
    answers = set()
    for seed in range(40):
        scores, costs = matrix(seed, formulas=6, images=FOLDS)
        times, credits = [0] * 6, [0.0] * 6
        for out in range(FOLDS):
            others = [i for i in range(FOLDS) if i != out]
            totals = [sum(row[i] for i in others) for row in scores]
            nominee = totals.index(max(totals))
            times[nominee] += 1
            credits[nominee] += scores[nominee][out] - sum(row[out] for row in scores) / 6
        standing = [credits[c] / (times[c] + FOLDS) if times[c] else -np.inf for c in range(6)]
        expected = int(np.argmax(standing))
        answers.add(expected)
        assert winners(scores, costs, np.ones((FOLDS, 1)), "cross-fit").tolist() == [expected]
    assert len(answers) > 2


def test_a_seed_decides_the_folds():
    orders = {tuple(ordering(*matrix(5, 40), "cross-fit", seed)) for seed in range(6)}
    assert len(orders) > 1
    assert ordering(*matrix(5, 40), "cross-fit", 3).tolist() == ordering(
        *matrix(5, 40), "cross-fit", 3
    ).tolist()  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_whom_the_rule_chooses_lies_within_the_allowance(rule):
    """What a race may drop by: on all images the choice is never further behind the best."""
    behind = 0
    for seed in range(200):
        scores, costs = matrix(seed, 30, spread=0.1)
        best, chosen = scores.mean(1).argmax(), ordering(scores, costs, rule)[0]
        distance = scores[best].mean() - scores[chosen].mean()
        behind += distance > 0
        average = leaders_average(scores)
        wide = allowance(rule, scores[best], scores[chosen], 16)
        narrow = allowance(rule, scores[best], scores[chosen], 16, average)
        assert distance <= narrow + 1e-9 <= wide + 2e-9
    assert behind > 5 or rule == "argmax"


def test_the_allowance_by_hand():
    best, seen = np.array([1.0, 2.0, 4.0, 5.0]), np.array([1.0, 1.0, 1.0, 1.0])
    error = np.sqrt(((best - 3) ** 2).sum() / 3) / 10
    assert allowance("argmax", best, seen, 100) == 0
    for rule, errors in (("one-se", 1), ("cross-fit", 2), ("lower-bound", 1)):
        assert allowance(rule, best, seen, 100) == pytest.approx(errors * error)
        assert allowance(rule, best[:1], seen[:1], 100) == np.inf
    assert allowance("lower-bound", seen, best, 100, np.zeros(4)) == 0
    with pytest.raises(UnknownNameError, match="did you mean 'one-se'"):
        allowance("one_se", best, seen, 100)


def test_an_unknown_rule_is_named():
    with pytest.raises(UnknownNameError, match="selection rule 'lowerbound' is not known"):
        rank([candidate("G", NOISE)], ROAD, "lowerbound")


@pytest.mark.parametrize("rule", RULES)
def test_nothing_and_single_images_are_chosen_from(rule):
    assert rank([], ROAD, rule) == []
    low, high = candidate("G", [0.1]), candidate("max(G)", [0.2])
    assert rank([low, high], ROAD, rule) == [high, low]


def test_a_figure_that_is_no_mean_decides():
    """Coherency-like components: the higher figure wins where scores image by image agree."""
    metric = find_metric("iou-best-threshold")
    rng = np.random.default_rng(0)
    values = rng.random((20, len(metric.components))).round(7)
    good, poor = (
        Candidate(t, "expression", parse(t), Score.of(metric, v, 0, True))
        for t, v in (("max(G)", values), ("G", (values * 0.5).round(7)))
    )
    assert good.mean > poor.mean
    for rule in RULES:
        assert rank([poor, good], metric, rule) == [good, poor]


def test_thousands_of_candidates_take_no_time():
    scores, costs = matrix(0, 3000, 200)
    for rule in RULES:
        started = time.process_time()
        ordering(scores, costs, rule)
        assert time.process_time() - started < 1, rule


def test_the_default_is_a_rule():
    cheap, expensive = candidate("G", 0.5 + NOISE), candidate("mean(relu(G))", 0.5 + NOISE[::-1])
    assert rank([cheap, expensive], ROAD) == rank([cheap, expensive], ROAD, DEFAULT_RULE)


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


def never(one):
    return False


def test_within_noise_is_what_one_se_allows_whatever_the_best():
    scores, _ = matrix(5)
    for best in scores:
        near = within_noise(best, scores)
        for row, found in zip(scores, near, strict=True):
            behind = best - row
            assert found == (behind.mean() <= behind.std(ddof=1) / len(behind) ** 0.5)
    assert 0 < near.sum() < len(near)


def test_the_simplest_that_cannot_be_told_from_the_best():
    best = candidate("cube(mean(relu(G)))", 0.5 + NOISE)
    near = candidate("mean(relu(G))", 0.495 - NOISE)
    better = candidate("max(relu(G))", 0.505 - NOISE)
    worse = candidate("mean(G)", 0.4 - NOISE)
    flat = candidate("G", 0.5 - NOISE, degenerate=20)
    others = [best, near, worse, flat]
    assert simplest(others, ROAD, best, never) is near
    assert simplest([*others, better], ROAD, best, never) is better  # at the same cost
    assert simplest(others, ROAD, best, lambda c: c is near) is best
    assert simplest([worse], ROAD, best, never) is best
    # Lower is better: what is 0.1 above is worse, what is 0.1 below is no loss.
    assert simplest([best, worse], DELETION, best, never) is worse


def test_under_several_goals_it_is_within_noise_of_each():
    goals = Objectives([ROAD, DELETION])

    def both(text, road, deletion):
        values = np.stack([road, deletion], -1)
        return Candidate(text, "expression", parse(text), Score.of(goals, values, 0, True))

    best = both("cube(mean(relu(G)))", 0.5 + NOISE, 0.2 + NOISE)
    near = both("mean(relu(G))", 0.495 - NOISE, 0.205 - NOISE)
    worse_in_one = both("mean(G)", 0.5 - NOISE, 0.3 - NOISE)
    assert simplest([best, near, worse_in_one], goals, best, never) is near
    assert simplest([best, worse_in_one], goals, best, never) is best


def test_at_one_cost_a_formula_without_tuned_numbers_is_simpler():
    tuned, plain = candidate("mean(G) + 0.37", 0.5 + NOISE), candidate("mean(G) + 1", 0.5 - NOISE)
    assert simplest([tuned, plain], ROAD, tuned, never) is plain
    assert simplest([tuned, plain], ROAD, plain, never) is plain


def test_of_one_image_nothing_is_simpler():
    best, other = candidate("mean(relu(G))", [0.5]), candidate("mean(G)", [0.5])
    assert simplest([best, other], ROAD, best, never) is best


def test_few_are_asked_whether_they_may_be_offered():
    texts = [f"mean(G) + {i}" for i in range(3, 3 + LOOKED_AT + 9)]
    best, asked = candidate("mean(relu(G)) + max(A)", 0.5 + NOISE), []
    near = [candidate(text, 0.5 - NOISE) for text in texts]
    assert simplest(near, ROAD, best, lambda c: not asked.append(c)) is best
    assert len(asked) == LOOKED_AT
