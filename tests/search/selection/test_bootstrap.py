"""Whether the winner would win again, and whether the images tell it from its rivals."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from sycam.language import parse
from sycam.metrics import find_metric
from sycam.scoring.scorer import Score
from sycam.search import Candidate, select
from sycam.search.selection.bootstrap import resampled, stability
from sycam.search.selection.power import MOST, images_for, power
from sycam.search.selection.rules import RULES
from sycam.support import shelf

ROAD, DELETION = find_metric("road"), find_metric("deletion")
TEXTS = ("G", "relu(G)", "abs(G)", "mean(G)", "max(G)", "mean(relu(G))", "max(A)", "mean(A)")


def field(values, metric=ROAD):
    return [
        Candidate(t, "expression", parse(t), Score.of(metric, np.asarray(v).round(7), 0, True))
        for t, v in zip(TEXTS, values, strict=False)
    ]


def never(_):
    return False


@pytest.mark.parametrize("rule", RULES)
def test_a_clear_winner_always_wins(rule):
    rng = np.random.default_rng(0)
    found = field(rng.normal(0, 0.1, (8, 40)) + np.eye(8)[3][:, None])
    winner = select(found, ROAD, never, rule)
    said = stability(found, ROAD, winner, never, rule, resamples=200)
    assert winner is found[3]
    assert (said.share, said.winners, said.contenders[0].expression) == (1.0, 1, "mean(G)")
    assert json.loads(json.dumps(dataclasses.asdict(said)))["contenders"][0]["share"] == 1.0


@pytest.mark.parametrize("rule", RULES)
def test_samples_in_parts_choose_as_all_at_once(monkeypatch, rule):
    rng = np.random.default_rng(7)
    scores = rng.normal(0, 0.1, (12, 40)) + rng.normal(0, 0.3, 40)
    given = scores, rng.integers(1, 4, 12), rule, 3, 90
    whole = resampled(*given)
    monkeypatch.setattr(shelf, "AT_ONCE", 40 * 7)  # 7 samples
    parts = resampled(*given)
    np.testing.assert_array_equal(parts.wins, whole.wins)
    assert parts.optimism == pytest.approx(whole.optimism, abs=1e-15)


def test_two_equals_share_the_wins_and_the_known_get_none():
    rng = np.random.default_rng(1)
    found = field(np.concatenate([rng.normal(1, 1, (3, 200)), rng.normal(-3, 1, (5, 200))]))
    found[:2] = field(np.stack([v - v.mean() + 1 for v in rng.normal(0, 1, (2, 200))]))
    known = found[2]
    winner = select(found, ROAD, lambda c: c is known, "argmax")
    said = stability(found, ROAD, winner, lambda c: c is known, "argmax", seed=3)
    shares = {c.expression: c.share for c in said.contenders}
    assert set(shares) == {"G", "relu(G)"}
    assert sum(shares.values()) == pytest.approx(1)
    assert 0.42 < said.share < 0.58
    assert said == stability(found, ROAD, winner, lambda c: c is known, "argmax", seed=3)


def test_a_simpler_form_wins_where_what_it_is_a_form_of_wins():
    rng = np.random.default_rng(2)
    values = rng.normal(0, 1, 60) + np.array([0.02, 0.0, -3.0])[:, None]
    values[1] += rng.normal(0, 0.2, 60)
    found = field(values)
    apart = stability(found, ROAD, found[0], never, "argmax")
    shares = {c.expression: c.share for c in apart.contenders}
    assert set(shares) == {"G", "relu(G)"}
    joined = stability(found, ROAD, found[0], never, "argmax", form_of="relu(G)")
    assert [c.expression for c in joined.contenders] == ["G"]
    assert (joined.share, joined.winners) == (pytest.approx(sum(shares.values())), 1)
    assert joined.optimism == apart.optimism


def test_the_optimism_is_most_of_what_argmax_loses_on_other_images():
    """Of 100 equal candidates the best on 50 images promises 2.5 standard errors: the worst case,
    where the bootstrap sees about two thirds of it."""
    gaps, estimates = [], []
    for seed in range(20):
        scores = np.random.default_rng(seed).normal(0, 1, (100, 50))
        gaps.append(scores.mean(1).max())  # their true mean is 0
        estimates.append(resampled(scores, np.ones(100), "argmax", seed, 200).optimism)
    assert 0.6 < np.mean(estimates) / np.mean(gaps) < 1.1


def test_expected_is_worse_than_promised_in_either_direction():
    values = np.random.default_rng(2).normal(0.5, 0.1, (8, 30))
    for metric, sign in ((ROAD, -1), (DELETION, 1)):
        found = field(values, metric)
        winner = select(found, metric, never, "argmax")
        said = stability(found, metric, winner, never, "argmax", resamples=100)
        assert said.optimism > 0
        assert said.expected == pytest.approx(winner.mean + sign * said.optimism)


def test_the_number_of_images_has_the_power_that_is_said():
    count = images_for(0.3, 1.0)
    assert count == 88  # ((1.96 + 0.8416) / 0.3) ** 2 = 87.2
    drawn = np.random.default_rng(0).normal(0.3, 1, (2000, count))
    assert np.mean(stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05) == pytest.approx(
        0.8, abs=0.03
    )
    assert images_for(0.0, 1.0) is None
    assert images_for(1e-6, 1.0) is None
    assert images_for(1.0, 0.0) == 2


def test_rivals_apart_undecided_and_alike():
    rng = np.random.default_rng(0)
    ours = rng.normal(0.5, 0.1, 40)
    wave = np.tile([1.0, -1.0], 20)
    found = field([ours, ours, ours - 0.02 + 0.1 * wave, ours - 0.2 + 0.1 * wave])
    said = power(found, ROAD, found[0], never, "argmax")
    assert said.alike == ("relu(G)",)
    assert [(r.expression, r.verdict) for r in said.rivals] == [
        ("abs(G)", "undecided"),
        ("mean(G)", "apart"),
    ]
    expected = stats.ttest_1samp(0.02 - 0.1 * wave, 0)
    assert said.rivals[0].p == pytest.approx(expected.pvalue, rel=1e-3)
    assert said.needed == said.rivals[0].images == pytest.approx(201, abs=2)
    assert not said.enough
    assert f"about {said.needed} would" in said.warning
    assert "40 search images" in said.warning
    clear = power([found[0], found[3]], ROAD, found[0], never, "argmax")
    assert (clear.enough, clear.needed, clear.warning) == (True, None, "")
    assert said.needed <= MOST
    json.dumps(dataclasses.asdict(said), allow_nan=False)
