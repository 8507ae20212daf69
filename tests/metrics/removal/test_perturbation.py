"""The engine of all perturbation metrics: what is forwarded, and that nobody sees the others."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sycam.heatmaps import norm01
from sycam.metrics import Context, Deletion, Road, TopKDrop, find_metric
from sycam.metrics.removal.perturbation import removal_probabilities
from sycam.metrics.removal.pixel_ranks import relevance_ranks

NAMES = ["road", "insertion", "deletion", "top-k-drop", "relative-drop", "average-drop", "hci"]


@pytest.mark.parametrize("name", NAMES)
def test_scores_of_a_candidate_do_not_depend_on_the_others_nor_on_the_batch(
    name, context12, maps12
):
    metric, ctx, maps = find_metric(name), context12(), maps12(3)
    together = metric.score(maps, ctx)
    for p in range(3):
        assert torch.allclose(metric.score(maps[p : p + 1], ctx)[0], together[p], atol=1e-5)
    ctx.classifier.batch = 5
    assert torch.allclose(metric.score(maps, ctx), together, atol=1e-5)


@pytest.mark.parametrize("ties", ["blur", "plateau"])
def test_scores_of_an_image_do_not_depend_on_its_place(ties, context12, maps12):
    ctx, maps = context12(3), maps12(1)
    order = [2, 0, 1]
    turned = Context(
        ctx.images[order],
        ctx.targets[order],
        ctx.clean[order],
        ctx.classifier,
        [ctx.digests[i] for i in order],
    )
    # Ties everywhere, so that the seeded permutation decides.
    for heatmaps in (maps, torch.zeros_like(maps)):
        straight = Road(ties=ties).score(heatmaps, ctx)
        assert torch.allclose(
            Road(ties=ties).score(heatmaps[:, order], turned), straight[:, order], atol=1e-5
        )


def test_equal_masks_are_forwarded_once(context12, maps12):
    ctx, maps = context12(), maps12(1)
    before = ctx.classifier.passes
    Road().score(maps.expand(5, -1, -1, -1), ctx)
    assert ctx.classifier.passes - before == 3 * 18
    before = ctx.classifier.passes
    Deletion().score(maps12(4), ctx)  # the last step is shared by all, the first is known
    assert ctx.classifier.passes - before == 3 * (4 * 19 + 1)


def test_metrics_that_remove_alike_share_their_passes(context12, maps12):
    maps = maps12(2)
    flat = torch.zeros(maps.shape[:2], dtype=torch.bool)
    ctx = context12().scoring(candidates=None, degenerate=flat)
    Deletion(steps=20).score(maps, ctx)
    before = ctx.classifier.passes
    TopKDrop(share=0.05).score(maps, ctx)
    assert ctx.classifier.passes == before


def test_several_classes_an_image_from_one_pass(network12, context12, maps12):
    ctx, maps = context12(), maps12(2)
    classes = torch.tensor([[0, 2, 3]]).expand(3, -1)

    def fill(images, removed, index):
        return images[index].masked_fill(removed[:, None], 0.0)

    before = ctx.classifier.passes
    found = removal_probabilities(maps, [(0, 9), (9, 60)], fill, "key", ctx, classes)
    assert ctx.classifier.passes - before == 2 * 3 * 2
    assert found.shape == (2, 3, 2, 3)
    order = (-maps[1, 2].flatten()).argsort()
    image = ctx.images[2].clone().flatten(1)
    image[:, order[9:60]] = 0
    expected = network12(image.view(1, 3, 12, 12)).softmax(1)[0, classes[2]]
    torch.testing.assert_close(found[1, 2, 1], expected, atol=1e-6, rtol=0)


@given(st.integers(0, 10_000), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_every_candidate_removes_the_same_number_of_pixels(seed, levels):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randint(0, levels, (2, 2, 9, 7), generator=generator).float()
    shuffles = torch.stack([torch.randperm(63, generator=generator) for _ in range(2)])
    ranks = relevance_ranks(maps, shuffles)
    assert torch.equal(ranks.sort(-1).values, torch.arange(63, dtype=torch.int32).expand(2, 2, 63))
    # A pixel of higher value is always removed first.
    flat = maps.flatten(-2)
    higher = flat[..., :, None] > flat[..., None, :]
    assert (ranks[..., :, None] < ranks[..., None, :])[higher].all()


@pytest.mark.parametrize("name", NAMES)
def test_declared_invariance_to_positive_scale_holds(name, context12, maps12):
    metric, ctx, maps = find_metric(name), context12(2), maps12(2, 2)
    assert torch.allclose(
        metric.score(norm01(maps * 37.5), ctx), metric.score(maps, ctx), atol=1e-5
    )
