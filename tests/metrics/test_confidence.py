"""Metrics of the image multiplied by its heatmap, against the libraries and by hand."""

from __future__ import annotations

import importlib
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sycam.errors import OptionError
from sycam.inference import Classifier
from sycam.metrics import (
    HCI,
    AverageDrop,
    AverageGain,
    Complexity,
    Context,
    DropInDeletion,
    IncreaseInConfidence,
)
from sycam.metrics.confidence import harmonic_mean

MASKED = [AverageDrop, AverageGain, IncreaseInConfidence, DropInDeletion, HCI]


def test_the_package_agrees(grad_cam, context12, maps12):
    """pytorch-grad-cam's drop is the absolute one, and its drop in deletion has the other sign."""
    package = importlib.import_module("pytorch_grad_cam.metrics.cam_mult_image")
    softmax = grad_cam.utils.model_targets.ClassifierOutputSoftmaxTarget
    ctx, maps = context12(16), maps12(1, 16)
    targets = [softmax(int(target)) for target in ctx.targets]

    def theirs(metric, heatmaps):
        return metric(ctx.images, heatmaps[0].numpy(), targets, ctx.classifier.network)

    increases = IncreaseInConfidence().score(maps, ctx)[0]
    assert 0 < increases.mean() < 1
    for ours, expected in (
        (AverageDrop("absolute").score(maps, ctx), theirs(package.DropInConfidence(), maps)),
        (increases, theirs(package.IncreaseInConfidence(), maps)),
        (
            DropInDeletion().score(maps, ctx),
            -theirs(package.CamMultImageConfidenceChange(), 1 - maps),
        ),
    ):
        np.testing.assert_allclose(ours.squeeze(0), expected, atol=1e-5)


def test_torchcam_agrees(network12, context12, maps12, given_maps):
    """Its drop is the relative one."""
    metrics = pytest.importorskip("torchcam.metrics")
    ctx, maps = context12(16), maps12(1, 16)
    peer = metrics.ClassificationMetric(
        given_maps(network12, maps[0]), partial(torch.softmax, dim=-1)
    )
    peer.update(ctx.images)
    ours = {
        "avg_drop": AverageDrop().score(maps, ctx).mean().item(),
        "conf_increase": IncreaseInConfidence().score(maps, ctx).mean().item(),
    }
    assert peer.summary() == pytest.approx(ours, abs=1e-5)


@pytest.fixture
def by_hand():
    """A 4x4 image of ones, and a network whose logit is the sum of the pixels minus 8, so that the
    probability is 1 / (1 + exp(8 - sum))."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    network[1].weight.data.fill_(1.0)
    network[1].bias.data.fill_(-8.0)

    def context(pixel: float) -> Context:
        images = torch.full((1, 1, 4, 4), pixel)
        targets, classifier = torch.zeros(1, dtype=torch.int64), Classifier(network)
        return Context(images, targets, classifier.probability(images, targets), classifier, ["x"])

    return context


def test_the_equations_on_a_map_of_four_by_four(by_hand):
    """Of pixels 0.5, which sum to 8, eleven quarters of the pixels' heat are kept: 0.25 * 8 = 2."""
    heat = torch.zeros(1, 1, 4, 4)
    heat[0, 0, 0], heat[0, 0, 1] = 0.75, 0.25
    ctx = by_hand(0.5)
    p, kept, left = 0.5, 1 / (1 + np.exp(6)), 1 / (1 + np.exp(2))
    found = {
        metric.name: metric.score(heat, ctx)[0, 0].tolist()
        for metric in (AverageDrop(), AverageGain(), DropInDeletion(), HCI(), Complexity())
    }
    assert found == {
        "average-drop": pytest.approx((p - kept) / p, abs=1e-6),
        "average-gain": 0.0,
        "drop-in-deletion": pytest.approx(p - left, abs=1e-6),
        "hci": pytest.approx([(p - kept) / p, 0.0], abs=1e-6),
        "complexity": 0.25,
    }
    # Of pixels -0.5 less is more: the sum rises from -8 to -2.
    ctx = by_hand(-0.5)
    p, kept = 1 / (1 + np.exp(16)), 1 / (1 + np.exp(10))
    won = (kept - p) / (1 - p)
    assert AverageGain().score(heat, ctx).item() == pytest.approx(won, rel=1e-4)
    assert IncreaseInConfidence().score(heat, ctx).item() == 1
    assert AverageDrop().score(heat, ctx).item() == 0


@pytest.mark.parametrize("metric", MASKED)
@pytest.mark.parametrize("pixel", [-100.0, 0.5, 100.0])
def test_scores_are_finite_where_the_clean_image_is_certain(by_hand, metric, pixel):
    """Probabilities 0 and 1 to the last bit: nothing to lose, nothing to win."""
    ctx = by_hand(pixel)
    for heat in (torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)):
        assert torch.isfinite(metric().score(heat, ctx)).all()
    if pixel == -100:
        assert ctx.clean == 0
        assert AverageDrop().score(torch.ones(1, 1, 4, 4), ctx).item() == 0
    if pixel == 100:
        assert ctx.clean == 1
        assert AverageGain().score(torch.ones(1, 1, 4, 4), ctx).item() == 0


def test_a_map_of_zeros_shows_zero_in_the_input_scale_and_one_of_ones_the_image(context12):
    """Zero is the mean colour of normalised images, not black."""
    ctx = context12()
    zeros, ones = torch.zeros(1, 3, 12, 12), torch.ones(1, 3, 12, 12)
    empty = ctx.classifier.probability(torch.zeros_like(ctx.images), ctx.targets)
    shown = ctx.clean - AverageDrop("absolute").score(zeros, ctx)[0]
    torch.testing.assert_close(shown, empty.minimum(ctx.clean), atol=1e-6, rtol=0)
    torch.testing.assert_close(DropInDeletion().score(ones, ctx)[0], ctx.clean - empty)
    # What keeps the whole image loses nothing, and rounding is no increase.
    assert AverageDrop().score(ones, ctx).max() < 1e-5
    assert (IncreaseInConfidence().score(ones, ctx) == 0).all()
    assert Complexity().score(ones, ctx).tolist() == [[1, 1, 1]]


def test_hci_is_of_the_means(context12, maps12):
    ctx, maps = context12(16), maps12(3, 16)
    values = HCI().score(maps, ctx).double().numpy()
    drop = AverageDrop().score(maps, ctx).double().mean(1).numpy()
    increase = IncreaseInConfidence().score(maps, ctx).double().mean(1).numpy()
    expected = 2 * (1 - drop) * increase / ((1 - drop) + increase)
    np.testing.assert_allclose(HCI().reduce(values), expected, atol=1e-7)


@pytest.mark.parametrize(
    ("drop", "increase", "expected"),
    [(1, 0, 0), (0, 0, 0), (1, 1, 0), (0, 1, 1), (0.5, 0.5, 0.5), (0.4, 0.3, 0.4)],
)
def test_hci_by_hand(drop, increase, expected):
    values = np.array([[drop, increase]] * 4, dtype=float)
    assert HCI().reduce(values) == pytest.approx(expected)
    assert HCI().reduce(values[None]).shape == (1,)


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=4))
def test_a_harmonic_mean_lies_between_its_parts(parts):
    found = harmonic_mean(torch.tensor(parts, dtype=torch.float64)).item()
    assert min(parts) - 1e-12 <= found <= max(parts) + 1e-12
    if min(parts) == 0:
        assert found == 0


@pytest.mark.parametrize("metric", [AverageDrop, AverageGain, DropInDeletion, IncreaseInConfidence])
def test_no_heatmap_beats_the_bound(context12, maps12, metric):
    ctx = context12()
    gap = metric().oriented(metric().bound(ctx) - metric().score(maps12(8), ctx))
    assert (gap >= 0).all()


def test_metrics_of_the_masked_image_share_its_pass(context12, maps12):
    maps = maps12(2)
    ctx = context12().scoring(None, torch.zeros(2, 3, dtype=torch.bool))
    before = ctx.classifier.passes
    for metric in (AverageDrop, AverageGain, IncreaseInConfidence, HCI):
        metric().score(maps, ctx)
    assert ctx.classifier.passes - before == 2 * 3


def test_a_bad_kind_is_named():
    with pytest.raises(OptionError, match="kind 'percent' is not known; expected 'relative' or"):
        AverageDrop(kind="percent")
