"""MaxBoxAccV2 against its definition by hand."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="module")
def found(benchmark_file):
    return benchmark_file("box_accuracy")


def test_each_connected_part_has_a_box_and_corners_connect(found):
    heatmap = np.zeros((8, 9))
    heatmap[1:3, 2:5] = 0.6
    heatmap[3, 5] = 0.6  # touches by its corner
    heatmap[6, 0] = 0.9
    assert found.boxes_above(heatmap, 0.5).tolist() == [[2, 1, 6, 4], [0, 6, 1, 7]]
    assert found.boxes_above(heatmap, 0.6).tolist() == [[0, 6, 1, 7]]
    assert found.boxes_above(heatmap, 0.95).shape == (0, 4)


def test_overlap(found):
    one, other = np.array([[0, 0, 4, 4]], float), np.array([[2, 0, 6, 4], [8, 8, 9, 9]], float)
    assert found.overlap(one, other).tolist() == [[pytest.approx(8 / 24), 0]]


def test_accuracy_is_the_mean_over_overlaps_of_the_best_threshold_of_all_images(found):
    heatmaps = np.zeros((2, 10, 10))
    heatmaps[0, 2:6, 2:6] = 0.8  # the object's box
    heatmaps[1, 0:4, 0:4] = 0.4
    heatmaps[1, 0:2, 0:4] = 0.9  # half of the box from 0.4 on, all of it below
    boxes = [np.array([[2, 2, 6, 6]]), np.array([[0, 0, 4, 4], [9, 9, 10, 10]])]
    # Below 0.4 both fit; between 0.4 and 0.8 the second overlaps by a half.
    assert found.max_box_accuracy(heatmaps, boxes, [0.2]) == 1
    assert found.max_box_accuracy(heatmaps, boxes, [0.5]) == pytest.approx((1 + 1 + 0.5) / 3)
    assert found.max_box_accuracy(heatmaps, boxes, [0.85]) == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert found.max_box_accuracy(heatmaps, boxes) == 1


def test_no_box_anywhere_is_found_by_a_blank_heatmap(found):
    assert found.max_box_accuracy(np.zeros((1, 5, 5)), [np.array([[0, 0, 5, 5]])]) == 0
