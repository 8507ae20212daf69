"""Drops after the removal of the top share of pixels, against the equations pixel by pixel."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import sycam
from sycam.errors import OptionError
from sycam.inference import Classifier
from sycam.metrics import Context, RelativeDrop, TopKDrop
from sycam.metrics.removal.baselines import blur_baseline


@torch.no_grad()
def without_the_top(network, ctx, maps, count, baseline):
    """Probabilities of all classes ``[N, classes]`` without the ``count`` hottest pixels."""
    images = ctx.images.clone().flatten(2)
    for image, empty, heat in zip(images, baseline.flatten(2), maps.flatten(1), strict=True):
        hottest = sorted(range(144), key=lambda i: -heat[i])[:count]
        image[:, hottest] = empty[:, hottest]
    return network(images.view_as(ctx.images)).softmax(1)


@pytest.mark.parametrize(("share", "count"), [(0.05, 7), (0.25, 36), (0.001, 1)])
@pytest.mark.parametrize("baseline", ["zero", "blur"])
def test_drops_are_those_of_the_equations(network12, context12, maps12, share, count, baseline):
    ctx, maps = context12(), maps12(2)
    empty = blur_baseline(ctx.images) if baseline == "blur" else torch.zeros_like(ctx.images)
    top, relative = (
        metric(share, baseline).score(maps, ctx) for metric in (TopKDrop, RelativeDrop)
    )
    before = network12(ctx.images).softmax(1)
    # The rival is the runner-up where the class explained is the predicted one, as here.
    c, d = before.topk(2, dim=1).indices.T[..., None]
    for p in range(2):
        lost = before - without_the_top(network12, ctx, maps[p], count, empty)
        torch.testing.assert_close(top[p], lost.gather(1, c)[:, 0], atol=1e-6, rtol=0)
        expected = (lost.gather(1, c) - lost.gather(1, d))[:, 0]
        torch.testing.assert_close(relative[p], expected, atol=1e-6, rtol=0)


def test_the_rival_of_a_class_that_is_not_predicted_is_the_predicted_one(
    network12, context12, maps12
):
    ctx, maps = context12(), maps12(1)
    predicted = ctx.targets
    other = (predicted + 1) % 4
    clean = ctx.classifier.probability(ctx.images, other)
    turned = replace(ctx, targets=other, clean=clean)
    lost = network12(ctx.images).softmax(1) - without_the_top(
        network12, ctx, maps[0], 7, torch.zeros_like(ctx.images)
    )
    expected = (lost.gather(1, other[:, None]) - lost.gather(1, predicted[:, None]))[:, 0]
    torch.testing.assert_close(RelativeDrop().score(maps, turned)[0], expected, atol=1e-6, rtol=0)


def test_the_rival_costs_no_pass(context12, maps12):
    """The class scores of the clean images are known where these were measured."""
    passes = []
    for metric in (TopKDrop(), RelativeDrop()):
        ctx = context12()
        before = ctx.classifier.passes
        metric.check(ctx)
        metric.score(maps12(2), ctx)
        passes.append(ctx.classifier.passes - before)
    assert passes == [6, 6]


def test_without_class_scores_there_is_no_rival(context12, maps12):
    with pytest.raises(OptionError, match="the context holds no outputs of the network"):
        RelativeDrop().score(maps12(1), replace(context12(), outputs=None))


def test_a_part_of_the_images_has_the_rivals_of_the_whole(context12, maps12):
    ctx, maps = context12(), maps12(2)
    part = slice(1, 3)
    whole = RelativeDrop().score(maps, ctx)[:, part]
    cut = ctx.subset(part)
    assert torch.equal(cut.outputs, ctx.outputs[part])
    torch.testing.assert_close(RelativeDrop().score(maps[:, part], cut), whole, atol=1e-6, rtol=0)


def test_no_heatmap_beats_the_bounds(context12, maps12):
    ctx, maps = context12(), maps12(8)
    for metric in (TopKDrop(0.5), RelativeDrop(0.5)):
        assert (metric.score(maps, ctx) <= metric.bound(ctx)).all()


def test_a_callable_target_has_no_rival(small_network, small_images):
    with pytest.raises(OptionError, match="callable target has none; explain a class, or use top"):
        sycam.evaluate(
            small_network,
            "3",
            small_images,
            ["grad-cam"],
            ["relative-drop"],
            target=lambda output: output[0],
        )


def test_a_single_output_has_no_rival(maps12):
    network = nn.Sequential(nn.Flatten(), nn.Linear(144, 1))
    images, targets = torch.randn(2, 1, 12, 12), torch.zeros(2, dtype=torch.int64)
    classifier = Classifier(network)
    clean, outputs = classifier.probability(images, targets), network(images).detach()
    ctx = Context(images, targets, clean, classifier, ["a", "b"], outputs=outputs)
    with pytest.raises(OptionError, match="the network has a single output; use top-k-drop"):
        RelativeDrop().check(ctx)
    assert TopKDrop().score(maps12(2, 2), ctx).shape == (2, 2)


@pytest.mark.parametrize("share", [0, 1, float("nan"), "5%"])
def test_a_share_is_a_share(share):
    with pytest.raises(OptionError, match=r"share must be a number between 0 and 1, got .*5 %"):
        TopKDrop(share=share)
