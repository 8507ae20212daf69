"""Votes against their definition by hand, against the language, and among equal members."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sycam import CAM
from sycam.applications.ensembles.votes import Members, Vote, consensus, highest
from sycam.data.images import ImageSet
from sycam.heatmaps import norm01
from sycam.methods import find_method
from sycam.metrics import find_metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.scoring.scorer import Scorer

ROAD = find_metric("road:percentiles=20+60,ties=plateau")  # equal heat is removed together


def measured(network, images, layer="3"):
    explained = ExplainedNetwork.prepare(network, layer, ImageSet.from_arrays(images))
    return explained.measure(ImageSet.from_arrays(images))


def members(*texts: str) -> Members:
    return Members([find_method(text) for text in texts])


@given(
    arrays(np.float32, (2, 3, 4), elements=st.integers(0, 20).map(float)),
    st.floats(0.5, 100, width=32),
)
def test_what_is_left_is_the_highest_and_as_much_as_asked_for(maps, percent):
    left = highest(torch.from_numpy(maps), percent).numpy()
    for before, after in zip(maps, left, strict=True):
        kept = after > 0
        assert (after[kept] == before[kept]).all()
        if (~kept).any() and kept.any():
            assert before[~kept].max() < before[kept].min() or before[~kept].max() == 0
        wanted = max(1, math.ceil(percent / 100 * before.size))
        limit = np.sort(before.ravel())[-wanted]
        assert kept.sum() == ((before >= limit) & (before > 0)).sum()


def test_votes_by_hand():
    one = torch.tensor([[[0.9, 0.5], [0.1, 0.0]]])
    other = torch.tensor([[[0.2, 0.8], [1.0, 0.0]]])
    kept = torch.stack([highest(one, 50), highest(other, 50)])
    # Of one the upper row is left, of the other the second column's top and the first's bottom.
    by_hand = torch.tensor([[[1 + 0.5 * 0.45, 2 + 0.5 * 0.65], [1 + 0.5 * 0.5, 0.0]]])
    assert torch.allclose(consensus(kept), by_hand)


def test_an_ensemble_is_made_of_the_heatmaps_of_its_cams(small_network, small_images):
    evidence, context = measured(small_network, small_images)
    found = members("grad-cam", "layer-cam", "kpca-cam").vote(Vote((0, 1, 2), 25.0))
    maps = found.heatmaps(evidence, context).maps[0].numpy()
    # The method by name: sycam.CAM makes its heatmaps by its own way.
    parts = [CAM(small_network, "3", n)(small_images) for n in ("grad-cam", "layer-cam")]
    kernel = find_method("kpca-cam").heatmaps(evidence, context).maps[0]
    for i, one in enumerate(zip(*parts, kernel, strict=True)):
        votes, heat = np.zeros((16, 16)), np.zeros((16, 16))
        for heatmap in (h.numpy() for h in one):
            held = (heatmap >= np.sort(heatmap.ravel())[-64]) & (heatmap > 0)
            votes += held
            heat += np.where(held, heatmap, 0) / 3
        wanted = votes + heat / 2
        wanted = (wanted - wanted.min()) / (wanted.max() - wanted.min())
        assert maps[i] == pytest.approx(wanted, abs=2e-6)


@pytest.mark.parametrize("percent", [20.0, 100.0])
def test_members_that_are_one_cam_give_that_cam(small_network, small_images, percent):
    """Under a metric that sees the order of the pixels only."""
    evidence, context = measured(small_network, small_images)
    same = members("grad-cam++", "sum(relu(G) / (2 + sum(A) * G))", "grad-cam++")
    scorer = Scorer(ROAD, evidence, context)
    one = scorer.score_method(same.vote(Vote((0,), percent)))
    three = scorer.score_method(same.vote(Vote((0, 1, 2), percent)))
    assert three.values.tolist() == pytest.approx(one.values.tolist(), abs=1e-6)
    if percent == 100:
        whole = scorer.score_method(find_method("grad-cam++"))
        assert one.values.tolist() == pytest.approx(whole.values.tolist(), abs=1e-6)


def test_the_formula_is_the_ensemble_where_the_layer_is_as_fine_as_the_image(
    small_network, small_images
):
    evidence, context = measured(small_network, small_images, "1")  # 16x16, as the images
    some = members("grad-cam", "layer-cam", "mean(relu(G)) * max(A)")
    for vote in (Vote((0, 1, 2), 30.0), Vote((1,), 10.0), Vote((0, 2), 50.0)):
        formula = find_method(some.expression(vote))
        here = some.vote(vote).heatmaps(evidence, context).maps
        there = formula.heatmaps(evidence, context).maps
        assert torch.allclose(here, norm01(there, 2), atol=2e-6)
    assert members("kpca-cam", "grad-cam").expression(Vote((0, 1), 30.0)) is None


def test_heatmaps_do_not_depend_on_what_else_is_made(small_network, small_images):
    evidence, context = measured(small_network, small_images)
    some, vote = members("grad-cam", "layer-cam", "random-weights"), Vote((0, 2), 20.0)
    together = some.vote(vote).heatmaps(evidence, context).maps[0]
    assert torch.equal(some.vote(vote).heatmaps(evidence, context).maps[0], together)
    apart = [
        some.alone(vote).heatmaps(evidence.subset(part), context.subset(part)).maps[0, 0]
        for part in (slice(i, i + 1) for i in range(len(context)))
    ]
    assert torch.allclose(torch.stack(apart), together, atol=1e-6)
    other = measured(small_network, small_images.flip(0))
    assert torch.allclose(some.vote(vote).heatmaps(*other).maps[0].flip(0), together, atol=1e-6)
