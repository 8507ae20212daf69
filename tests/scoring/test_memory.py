"""Where memory runs out, a block of images is scored in smaller ones and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sycam.methods import find_method
from sycam.metrics import Metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images
from sycam.scoring.scorer import Scorer


class Hungry(Metric):
    """Mean of the heatmap; more than some images at a time do not fit."""

    name, summary, source, family = "hungry", "mean", "none", "custom"
    most = 64
    invariance = "positive-scale"

    def __init__(self):
        self.sizes: list[int] = []

    def score(self, maps, context):
        if maps.shape[1] > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        self.sizes.append(maps.shape[1])
        return maps.flatten(2).mean(2)


@pytest.fixture(scope="module")
def measured():
    images = demo_images("heldout", 21, 0)
    return ExplainedNetwork.prepare("demo", "auto", images).measure(images)


@pytest.mark.parametrize("count", [1, 9])
@pytest.mark.parametrize("most", [1, 3, 20])
def test_scores_are_the_same_in_smaller_blocks(measured, most, count):
    formulas = ("mean(G)", "G", "relu(G)", "max(G)", "abs(G)", "min(G)", "G * A", "A", "max(A)")
    expressions = [find_method(text).expression for text in formulas[:count]]
    metric, plain = Hungry(), Hungry()
    metric.most = most
    scorer = Scorer(metric, *measured)
    found = scorer.score(expressions)
    expected = Scorer(plain, *measured).score(expressions)
    for ours, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.values, other.values, atol=2e-7)
    assert sum(metric.sizes) == 21  # each image once
    again = len(metric.sizes)
    scorer.score(expressions)
    assert metric.sizes[again:] == metric.sizes[:again]  # the smaller size is kept


def test_one_image_that_does_not_fit_is_said(measured):
    metric = Hungry()
    metric.most = 0
    with pytest.raises(torch.OutOfMemoryError):
        Scorer(metric, *measured).score([find_method("mean(G)").expression])
