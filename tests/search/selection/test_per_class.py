"""One winner per class: the run's rule on the class's own images, or the winner of all."""

from __future__ import annotations

import numpy as np
import pytest

from sycam.errors import OptionError
from sycam.language import parse
from sycam.metrics import find_metric
from sycam.scoring.scorer import Score
from sycam.search import Candidate, select
from sycam.search.selection.per_class import MINIMUM, class_winners

ROAD, DELETION = find_metric("road"), find_metric("deletion")
CLASSES = np.array([3] * 12 + [0] * 10 + [7] * 4)  # the last are too few
NOISE = np.random.default_rng(0).normal(0, 0.02, len(CLASSES))


def candidate(text, of_3, of_0, of_7, metric=ROAD, degenerate=0, noise=NOISE):
    values = np.select([CLASSES == 3, CLASSES == 0], [of_3, of_0], of_7) + noise
    return Candidate(text, "expression", parse(text), Score.of(metric, values, degenerate, True))


GENERAL = candidate("mean(G)", 0.3, 0.3, 0.3)
OF_3 = candidate("max(G)", 0.5, 0.0, 0.6, noise=NOISE[::-1])
OF_0 = candidate("relu(G)", 0.0, 0.5, 0.0, noise=NOISE[::-1])
ALL = [GENERAL, OF_3, OF_0]


def nobody(_):
    return False


def test_each_class_gets_what_is_best_on_its_images_and_few_images_the_winner_of_all():
    zero, three, seven = class_winners(ALL, ROAD, CLASSES, GENERAL, nobody)
    assert [c.label for c in (zero, three, seven)] == [0, 3, 7]
    assert [c.candidate.name for c in (zero, three, seven)] == ["relu(G)", "max(G)", "mean(G)"]
    assert [c.images for c in (zero, three, seven)] == [10, 12, 4]
    assert (zero.own, three.own, seven.own) == (True, True, False)
    assert seven.note == f"4 search images, fewer than {MINIMUM}"
    # Figures are those of the class's images.
    np.testing.assert_array_equal(three.candidate.score.values, OF_3.score.values[CLASSES == 3])
    assert three.candidate.mean == pytest.approx(OF_3.score.values[:12].mean())
    assert three.baseline.mean == pytest.approx(GENERAL.score.values[:12].mean())


def test_with_one_class_it_is_the_winner_of_all():
    one = np.zeros(len(CLASSES), dtype=int)
    expected = select(ALL, DELETION, nobody)
    (choice,) = class_winners(ALL, DELETION, one, expected, nobody)
    assert choice.candidate.name == choice.baseline.name == expected.name
    assert choice.own


def test_the_minimum_is_an_option():
    *_, seven = class_winners(ALL, ROAD, CLASSES, GENERAL, nobody, minimum=4)
    assert (seven.candidate.name, seven.own) == ("max(G)", True)


def test_published_cams_are_passed_over_and_asked_for_once():
    asked = []

    def known(one):
        asked.append(one.name)
        return one.name in ("max(G)", "relu(G)")

    zero, three, _ = class_winners(ALL, ROAD, CLASSES, GENERAL, known)
    assert (zero.candidate.name, three.candidate.name) == ("mean(G)", "mean(G)")
    assert len(asked) == len(set(asked))


def test_where_every_candidate_is_refused_the_winner_of_all_stands_in():
    zero, *_ = class_winners([OF_0], ROAD, CLASSES, GENERAL, lambda _: True)
    assert (zero.candidate.name, zero.own) == ("mean(G)", False)
    assert "no eligible candidate" in zero.note
    zero, *_ = class_winners([OF_0], ROAD, CLASSES, None, lambda _: True)
    assert (zero.candidate, zero.baseline) == (None, None)


def test_degenerate_maps_count_in_every_class():
    """One of 26 maps is tolerated in all; it might be one of the ten of class 0."""
    flawed = candidate("relu(G)", 0.0, 0.5, 0.0, degenerate=1)
    assert flawed.eligible
    zero, *_ = class_winners([GENERAL, flawed], ROAD, CLASSES, GENERAL, nobody)
    assert zero.candidate.name == "mean(G)"


def test_the_rule_is_the_runs_own():
    def last(candidates, metric, known):
        return candidates[-1]

    zero, three, _ = class_winners(ALL, ROAD, CLASSES, GENERAL, nobody, choose=last)
    assert zero.candidate.name == three.candidate.name == ALL[-1].name


def test_a_metric_whose_figure_is_no_mean_is_reduced_within_the_class():
    metric = find_metric("iou-best-threshold")
    thresholds = len(metric.components)
    values = np.zeros((len(CLASSES), thresholds))
    values[CLASSES == 3, 4], values[CLASSES == 0, 9] = 0.8, 0.6
    one = Candidate("G", "expression", parse("G"), Score.of(metric, values, 0, True))
    zero, three, _ = class_winners([one], metric, CLASSES, one, nobody)
    assert (zero.candidate.mean, three.candidate.mean) == pytest.approx((0.6, 0.8))


@pytest.mark.parametrize(
    ("classes", "options", "said"),
    [(CLASSES[1:], {}, "25.* for 26 search images"), (CLASSES, {"minimum": 1}, "at least 2")],
)
def test_what_does_not_fit_is_refused(classes, options, said):
    with pytest.raises(OptionError, match=said):
        class_winners(ALL, ROAD, classes, GENERAL, nobody, **options)
