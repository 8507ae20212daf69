"""Half of a metric's levels: what chooses image by image, and what judges the choice."""

from __future__ import annotations

import numpy as np
import pytest

from sycam.errors import OptionError
from sycam.metrics import find_metric
from sycam.metrics.composition.levels import best_member, halves
from sycam.metrics.composition.objectives import Objectives


def test_roads_even_deciles_choose_and_the_odd_ones_judge():
    road = find_metric("road")
    choosing, judging = halves(road)
    deciles = [[road.percentiles[i] for i in half.levels_seen] for half in (choosing, judging)]
    assert deciles == [[20, 40, 60, 80], [10, 30, 50, 70, 90]]
    assert (choosing.passes, judging.passes) == (8, 10)  # of 18


@pytest.mark.parametrize("name", ["road", "road-morf", "insertion", "deletion:steps=7"])
def test_no_level_both_chooses_and_judges_and_none_is_left_out(name):
    metric = find_metric(name)
    choosing, judging = (set(half.levels_seen) for half in halves(metric))
    assert not choosing & judging
    assert choosing | judging == set(range(metric.levels))


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        (find_metric("iou"), "ground truth"),
        (find_metric("average-drop"), "has no levels"),
        (find_metric("road:percentiles=50"), "has no levels"),
        (Objectives([find_metric("road"), find_metric("insertion")]), "has no levels"),
    ],
)
def test_what_cannot_choose_is_refused_with_what_can(metric, why):
    with pytest.raises(OptionError, match=rf"adapt.*{why}.*road.*insertion"):
        halves(metric)


def test_what_is_not_defined_is_never_the_best():
    scores = np.array([[np.nan, 0.2, np.nan], [-1.0, 0.2, np.nan]])
    assert best_member(scores).tolist() == [1, 0, 0]
