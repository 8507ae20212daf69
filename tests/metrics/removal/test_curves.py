"""Insertion and deletion against a literal loop, TorchCAM and Quantus."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.integrate import trapezoid
from torch import nn

import sycam
from sycam.errors import OptionError
from sycam.inference import Classifier
from sycam.metrics import Context, Deletion, Insertion
from sycam.metrics.removal.baselines import baseline_images, blur_baseline


def probability(network, image, target):
    return float(network(image[None]).softmax(1)[0, target])


@pytest.mark.parametrize("baseline", ["zero", "mean", "blur"])
@torch.no_grad()
def test_they_are_areas_under_the_literal_curves(network12, context12, maps12, baseline):
    ctx, maps = context12(), maps12(1)
    scores = [metric(7, baseline).score(maps, ctx)[0] for metric in (Deletion, Insertion)]
    empty = {
        "zero": torch.zeros_like(ctx.images),
        "mean": ctx.images.mean((2, 3), keepdim=True).expand_as(ctx.images),
        "blur": blur_baseline(ctx.images),
    }[baseline]
    for i in range(3):
        order = (-maps[0, i].flatten()).argsort()
        curves, fractions = ([], []), []
        for step in range(8):
            cut = round(144 * step / 7)
            fractions.append(cut / 144)
            chosen = torch.zeros(144, dtype=torch.bool)
            chosen[order[:cut]] = True
            chosen = chosen.view(12, 12)
            for curve, shown in zip(curves, (~chosen, chosen), strict=True):
                image = torch.where(shown, ctx.images[i], empty[i])
                curve.append(probability(network12, image, ctx.targets[i]))
        for found, curve in zip(scores, curves, strict=True):
            assert found[i] == pytest.approx(trapezoid(curve, fractions), abs=1e-5)


@pytest.mark.parametrize("metric", [Deletion, Insertion])
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_the_two_ends_cost_no_pass_of_a_candidate(context12, maps12, metric, steps):
    ctx = context12()
    measured = metric(steps, "blur")
    passes = []
    for seed in (1, 2):  # two batches of two candidates: the empty images are forwarded once
        before = ctx.classifier.passes
        measured.score(maps12(2, seed=seed), ctx)
        passes.append(ctx.classifier.passes - before)
    assert measured.passes == steps - 1
    assert passes == [3 + 6 * measured.passes, 6 * measured.passes]


@pytest.mark.parametrize("baseline", ["zero", "mean", "blur"])
@pytest.mark.parametrize("steps", [12, 144])
def test_torchcam_agrees_where_there_are_no_ties(
    network12, context12, maps12, given_maps, baseline, steps
):
    metrics = pytest.importorskip("torchcam.metrics")
    ctx, maps = context12(), maps12(1)
    peer = metrics.DeletionInsertionMetric(
        given_maps(network12, maps[0]),
        partial(torch.softmax, dim=-1),
        steps=steps,
        baseline=baseline_images(baseline, ctx),
    )
    peer.update(ctx.images)
    ours = {
        "deletion_auc": Deletion(steps, baseline).score(maps, ctx).mean().item(),
        "insertion_auc": Insertion(steps, baseline).score(maps, ctx).mean().item(),
    }
    assert peer.summary() == pytest.approx(ours, abs=1e-5)


@pytest.fixture
def flips():
    """Quantus' probabilities ``[N, 12]`` as it flips 12 pixels a step of one-colour images."""
    quantus = pytest.importorskip("quantus")

    def run(ctx, maps, baseline) -> np.ndarray:
        metric = quantus.PixelFlipping(
            features_in_step=12,
            perturb_baseline=baseline,
            normalise=False,
            abs=False,
            disable_warnings=True,
            return_aggregate=False,
            return_auc_per_sample=False,
        )
        return np.array(
            metric(
                model=ctx.classifier.network,
                x_batch=ctx.images.numpy(),
                y_batch=ctx.targets.numpy(),
                a_batch=maps[0][:, None].numpy(),
                softmax=True,
                device="cpu",
            )
        )

    return run


def one_colour() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 144, 3)
    ).eval()


def area_of(flipped, ctx):
    """The clean image is a curve's first point, which Quantus leaves out."""
    curve = np.concatenate([ctx.clean.numpy()[:, None], flipped], 1)
    return trapezoid(curve, dx=1 / 12, axis=1)


def test_quantus_flips_the_same_pixels_to_zero(context12, maps12, flips):
    ctx, maps = context12(2, one_colour(), colours=1), maps12(1, 2)
    ours = Deletion(steps=12).score(maps, ctx)[0]
    np.testing.assert_allclose(ours, area_of(flips(ctx, maps, 0.0), ctx), atol=1e-5)


def test_quantus_takes_the_mean_of_what_is_flipped_already(context12, maps12, flips):
    """Its mean is taken again at each step, so that pixels flipped later become another colour than
    those flipped first; ours is the clean image's."""
    ctx, maps = context12(2, one_colour(), colours=1), maps12(1, 2)
    ours = Deletion(steps=12, baseline="mean").score(maps, ctx)[0].numpy()
    drifting = ctx.images.clone().flatten(1)
    orders = maps[0].flatten(1).argsort(descending=True)
    curve = []
    for order in orders.view(2, 12, 12).unbind(1):
        drifting.scatter_(1, order, drifting.mean(1, keepdim=True).expand(-1, 12))
        curve.append(ctx.classifier.probability(drifting.view_as(ctx.images), ctx.targets).numpy())
    package = flips(ctx, maps, "mean")
    np.testing.assert_allclose(package, np.stack(curve, 1), atol=1e-5)
    assert np.abs(area_of(package, ctx) - ours).max() > 1e-4


@pytest.mark.parametrize("metric", [Deletion, Insertion])
def test_the_bound_knows_the_ends_of_the_curve(context12, maps12, metric):
    ctx, maps = context12(), maps12(4)
    # With one step there is nothing between the ends.
    only_ends = metric(steps=1)
    torch.testing.assert_close(
        only_ends.score(maps, ctx).float(), only_ends.bound(ctx).expand(4, -1), atol=1e-6, rtol=0
    )
    many = metric(steps=20)
    gap = many.oriented(many.bound(ctx) - many.score(maps, ctx))
    assert (gap >= 0).all()
    # Between the ends, 7 of 144 pixels wide each, the curve is taken as the best possible.
    empty = baseline_images(many.baseline, ctx).expand_as(ctx.images)
    ends = (ctx.clean + ctx.classifier.probability(empty, ctx.targets)) / 2 * 7 / 144
    expected = ends + (137 / 144 if many.higher_is_better else 0)
    torch.testing.assert_close(many.bound(ctx), expected, atol=1e-6, rtol=0)


def test_paper_steps_remove_one_row_of_pixels_a_step(context12, maps12):
    ctx, maps = context12(2), maps12(1, 2)
    before = ctx.classifier.passes
    Deletion(steps="paper").score(maps, ctx)
    assert ctx.classifier.passes - before == 2 * 12  # the clean image's is known


def test_more_steps_than_pixels_change_nothing(context12, maps12):
    ctx, maps = context12(2), maps12(1, 2)
    exact, more = (Insertion(steps=steps).score(maps, ctx) for steps in (144, 288))
    torch.testing.assert_close(exact, more, atol=1e-6, rtol=0)


def test_blur_keeps_a_constant_image_and_blurs_any_other():
    flat = torch.full((1, 3, 32, 32), 0.7)
    assert torch.allclose(blur_baseline(flat), flat, atol=1e-6)
    noisy = torch.randn(1, 3, 32, 32)
    assert blur_baseline(noisy).std() < noisy.std()


def test_an_image_one_pixel_high_is_blurred_along_its_row():
    """A border of one pixel cannot be reflected, which once was torch's own error."""
    row = torch.rand(2, 3, 1, 16, generator=torch.Generator().manual_seed(0))
    side = math.exp(-2)  # of a Gaussian of sigma 0.5, the least, at one pixel
    whole = F.pad(row, (1, 1, 0, 0), mode="reflect")
    expected = (whole[..., :-2] * side + row + whole[..., 2:] * side) / (1 + 2 * side)
    torch.testing.assert_close(blur_baseline(row), expected)
    torch.testing.assert_close(blur_baseline(row.mT), expected.mT)
    assert torch.equal(blur_baseline(row[..., :1]), row[..., :1])
    network = nn.Sequential(nn.Conv2d(3, 4, (1, 3)), nn.ReLU(), nn.Flatten(), nn.Linear(56, 3))
    metrics = ["insertion", "deletion:baseline=blur"]
    found = sycam.evaluate(network, "0", row, ["grad-cam"], metrics)
    assert all(0 <= found.cells["grad-cam", metric].mean <= 1 for metric in metrics)


def test_a_volume_loses_the_same_pixels_as_a_flat_image(maps12):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(144, 3)).eval()
    images, targets, maps = torch.randn(2, 144), torch.tensor([0, 2]), maps12(2, 2)

    def scores(*shape):
        pixels, classifier = images.view(2, 1, *shape), Classifier(network)
        clean = classifier.probability(pixels, targets)
        ctx = Context(pixels, targets, clean, classifier, ["a", "b"])
        return Deletion(baseline="mean").score(maps.view(2, 2, *shape), ctx)

    torch.testing.assert_close(scores(3, 4, 12), scores(12, 12), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "positive integer or 'paper', got 0"),
        ({"baseline": "noise"}, "'noise' is not known; expected 'zero' or 'mean' or 'blur'"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(OptionError, match=words):
        Deletion(**options)
