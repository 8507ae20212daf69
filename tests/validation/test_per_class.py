"""What one formula per class gains on held-out images."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from sycam.errors import OptionError
from sycam.language import parse
from sycam.metrics import find_metric
from sycam.scoring.scorer import Score
from sycam.scoring.statistics import holm, sign_flip_p
from sycam.search import Candidate
from sycam.search.selection.per_class import Choice
from sycam.validation.per_class import specialisation

ROAD, DELETION = find_metric("road"), find_metric("deletion")
CLASSES = np.array([0] * 20 + [1] * 15 + [2] * 5 + [9] * 3)
RNG = np.random.default_rng(1)
BASE = RNG.normal(0.3, 0.1, len(CLASSES))


def candidate(text, metric=ROAD, values=None):
    values = np.full(12, 0.2) if values is None else values
    return Candidate(text, "expression", parse(text), Score.of(metric, values, 0, True))


ALL, BETTER, SAME = candidate("mean(G)"), candidate("max(G)"), candidate("relu(G)")
CHOICES = (
    Choice(0, BETTER, ALL, 12),
    Choice(1, SAME, ALL, 12),
    Choice(2, ALL, ALL, 3, "3 search images, fewer than 8"),
)
VALUES = {
    "mean(G)": BASE,
    "max(G)": BASE + RNG.normal(0.2, 0.02, len(CLASSES)),
    "relu(G)": BASE + RNG.normal(0.0, 0.02, len(CLASSES)),
}


def test_gains_are_paired_differences_on_the_images_of_the_class():
    found = specialisation(CHOICES, ROAD, ALL, CLASSES, VALUES)
    zero, one, two = found.classes
    by_hand = [(VALUES[n] - BASE)[c == CLASSES] for n, c in (("max(G)", 0), ("relu(G)", 1))]
    for row, differences in zip((zero, one), by_hand, strict=True):
        assert row.gain.mean == pytest.approx(differences.mean())
        assert row.gain.low < row.gain.mean < row.gain.high
        assert row.p == sign_flip_p(differences)
        assert row.heldout == pytest.approx(row.heldout_overall + row.gain.mean)
    assert [zero.p_holm, one.p_holm] == holm([zero.p, one.p])
    assert zero.p_holm < 0.01 < 0.05 < one.p_holm
    assert (two.own, two.gain, two.p, two.p_holm) == (False, None, None, None)
    assert two.heldout == two.heldout_overall == pytest.approx(BASE[CLASSES == 2].mean())
    # Together: over the images of the classes with a formula of their own.
    together = np.concatenate(by_hand)
    assert (found.images, found.unexplained) == (35, 3)
    assert found.gain.mean == pytest.approx(together.mean())
    assert found.p == sign_flip_p(together)


def test_where_lower_is_better_a_lower_score_is_a_gain():
    values = VALUES | {"max(G)": 2 * BASE - VALUES["max(G)"]}
    found = specialisation(CHOICES[:1], DELETION, ALL, CLASSES, values)
    assert found.gain.mean == pytest.approx(0.2, abs=0.02)
    assert found.classes[0].heldout < found.classes[0].heldout_overall


def test_a_class_that_chooses_the_winner_of_all_gains_nothing():
    found = specialisation((Choice(0, ALL, ALL, 12),), ROAD, ALL, CLASSES, VALUES)
    assert (found.gain.mean, found.p) == (0.0, 1.0)


def test_classes_without_held_out_images_or_formulas_are_not_tested():
    choices = (Choice(5, BETTER, ALL, 12), Choice(0, None, None, 12, "nothing eligible"))
    absent, bare = specialisation(choices, ROAD, None, CLASSES, VALUES).classes
    assert (absent.heldout_images, absent.heldout, absent.gain) == (0, None, None)
    assert (bare.expression, bare.search, bare.heldout, bare.p_holm) == (None,) * 4
    nothing = specialisation((), ROAD, None, CLASSES, VALUES)
    assert (nothing.images, nothing.gain, nothing.p) == (0, None, None)


def test_what_the_search_images_decided_holds_for_the_held_out_ones():
    """The class's threshold is its own search images'; that of the winner of all is theirs."""
    metric = find_metric("iou-best-threshold")
    thresholds = len(metric.components)

    def peak(count, place):
        values = np.zeros((count, thresholds))
        values[:, place] = 0.5
        return values

    general = candidate("mean(G)", metric, peak(12, 2))
    of_class = candidate("max(G)", metric, peak(12, 6))
    values = {"mean(G)": peak(20, 6), "max(G)": peak(20, 6)}
    choices = (Choice(0, of_class, general, 12),)
    (row,) = specialisation(choices, metric, general, np.zeros(20), values).classes
    assert (row.heldout, row.heldout_overall) == (0.5, 0.0)
    assert row.gain.mean == pytest.approx(0.5)


def test_it_is_ready_for_json():
    data = json.loads(json.dumps(asdict(specialisation(CHOICES, ROAD, ALL, CLASSES, VALUES))))
    assert data["overall"] == "mean(G)"
    assert data["classes"][0]["gain"]["low"] < data["classes"][0]["gain"]["high"]


def test_a_formula_without_held_out_scores_is_refused():
    missing = {name: VALUES[name] for name in ("mean(G)", "relu(G)")}
    with pytest.raises(OptionError, match=r"max\(G\) has 0 held-out scores for 43"):
        specialisation(CHOICES, ROAD, ALL, CLASSES, missing)
