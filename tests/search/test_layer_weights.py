"""Learnt weights of layers: the best of the grid on the search images, with held-out figures."""

from __future__ import annotations

import pytest

import sycam
from sycam.data import demo
from sycam.errors import OptionError
from sycam.problem.images import demo_images

LAYERS = ["features.5", "features.8"]


@pytest.mark.parametrize("metric", ["iou", "road-morf"])
def test_the_weights_are_the_best_of_the_grid(metric):
    count = 24 if metric == "iou" else 8
    found = sycam.learn_fusion(
        "demo", LAYERS, "grad-cam", "demo", metric=metric, search_images=count, heldout=count
    )
    assert found.layers == tuple(LAYERS)
    assert sum(found.weights) == pytest.approx(1)
    images = demo_images("search", count, 0)
    better = max if metric == "iou" else min
    by_hand = {}
    for tenth in range(11):
        weights = (tenth / 10, 1 - tenth / 10)
        table = sycam.evaluate(
            demo.network(), LAYERS, images, ["grad-cam"], [metric], fusion=weights
        )
        by_hand[tenth] = table.cells["grad-cam", metric].mean
    assert found.search == pytest.approx(better(by_hand.values()), abs=1e-6)
    best = better(by_hand, key=by_hand.get)
    assert found.weights[0] == pytest.approx(best / 10)
    unseen = demo_images("heldout", count, 0)
    for name, fusion in (("mean", "mean"), (LAYERS[0], (1, 0)), (LAYERS[1], (0, 1))):
        table = sycam.evaluate(
            demo.network(), LAYERS, unseen, ["grad-cam"], [metric], fusion=fusion
        )
        assert found.alternatives[name].mean == pytest.approx(
            table.cells["grad-cam", metric].mean, abs=1e-6
        )


def test_one_layer_needs_no_weights():
    with pytest.raises(OptionError, match="at least two layers, got 1"):
        sycam.learn_fusion("demo", "features.5", "grad-cam", "demo")
    with pytest.raises(OptionError, match="different layers"):
        sycam.learn_fusion("demo", ["features.5", "features.5"], "grad-cam", "demo")
