"""ROAD, insertion, deletion and localisation against loops that follow the papers literally."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sycam.errors import OptionError, UnknownNameError
from sycam.evidence import Classifier
from sycam.kernels import norm01
from sycam.metrics import (
    METRICS,
    Context,
    Deletion,
    EnergyPointingGame,
    Insertion,
    IoU,
    Road,
    RoadLerf,
    RoadMorf,
    find_metric,
)
from sycam.metrics.curves import blur_baseline
from sycam.metrics.imputation import impute_exact
from sycam.metrics.ranking import relevance_ranks

SIDE = 12


def network():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * SIDE * SIDE, 4)
    ).eval()


def context(count=3, seed=0, masks=False, net=None):
    generator = torch.Generator().manual_seed(7)
    images = torch.randn(count, 3, SIDE, SIDE, generator=generator)
    net = net or network()
    classifier = Classifier(net)
    targets = net(images).argmax(1)
    return Context(
        images=images,
        targets=targets,
        clean=classifier.probability(images, targets),
        classifier=classifier,
        digests=[f"image {i}" for i in range(count)],
        masks=torch.rand(count, SIDE, SIDE, generator=generator) > 0.6 if masks else None,
        seed=seed,
    )


def smooth_maps(candidates, count, seed=1):
    """Heatmaps without ties."""
    generator = torch.Generator().manual_seed(seed)
    return norm01(torch.rand(candidates, count, SIDE, SIDE, generator=generator))


def probability(net, image, target):
    return float(net(image[None]).softmax(1)[0, target])


def literal_curves(net, ctx, heatmap, i, noise=0.0):
    """MoRF and LeRF of one map as the reference defines them, where there are no ties."""
    flat, found = heatmap.flatten().numpy(), {"morf": [], "lerf": []}
    clean = probability(net, ctx.images[i], ctx.targets[i])
    for q in range(10, 100, 10):
        for side, ranking in (("morf", flat), ("lerf", -flat)):
            keep = ranking < np.percentile(ranking, q)
            removed = torch.from_numpy(~keep).view(1, SIDE, SIDE)
            image = impute_exact(ctx.images[i : i + 1], removed)[0]
            image = image + noise * ctx.noise[i] * removed[0]
            found[side].append(probability(net, image, ctx.targets[i]) - clean)
    return found


def test_road_is_the_papers_curve_area_image_by_image():
    net = network()
    ctx, maps = context(net=net), smooth_maps(2, 3)
    exact = {"solver": "exact", "noise": 0.0}
    road, morf, lerf = (m(**exact).score(maps, ctx) for m in (Road, RoadMorf, RoadLerf))
    with torch.no_grad():
        for p in range(2):
            for i in range(3):
                curves = literal_curves(net, ctx, maps[p, i], i)
                assert morf[p, i] == pytest.approx(np.mean(curves["morf"]), abs=1e-5)
                assert lerf[p, i] == pytest.approx(np.mean(curves["lerf"]), abs=1e-5)
                expected = (np.mean(curves["lerf"]) - np.mean(curves["morf"])) / 2
                assert road[p, i] == pytest.approx(expected, abs=1e-5)


def test_road_with_multigrid_is_that_of_the_exact_solution_within_a_thousandth():
    ctx, maps = context(8), smooth_maps(4, 8)
    fast, exact = Road().score(maps, ctx), Road(solver="exact").score(maps, ctx)
    assert (fast - exact).abs().mean() < 1e-3


def test_scores_of_a_candidate_do_not_depend_on_the_others_nor_on_the_batch():
    ctx, maps = context(), smooth_maps(3, 3)
    for name in ("road", "insertion", "deletion"):
        metric = find_metric(name)
        together = metric.score(maps, ctx)
        for p in range(3):
            assert torch.allclose(metric.score(maps[p : p + 1], ctx)[0], together[p], atol=1e-5)
        ctx.classifier.batch = 5
        assert torch.allclose(metric.score(maps, ctx), together, atol=1e-5)


def test_scores_of_an_image_do_not_depend_on_its_place():
    ctx, maps = context(3), smooth_maps(1, 3)
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
        straight = Road().score(heatmaps, ctx)
        assert torch.allclose(
            Road().score(heatmaps[:, order], turned), straight[:, order], atol=1e-5
        )


def test_equal_masks_are_forwarded_once():
    ctx, maps = context(), smooth_maps(1, 3)
    before = ctx.classifier.passes
    Road().score(maps.expand(5, -1, -1, -1), ctx)
    assert ctx.classifier.passes - before == 3 * 18
    before = ctx.classifier.passes
    Deletion().score(smooth_maps(4, 3), ctx)  # the first and last step are shared by all
    assert ctx.classifier.passes - before == 3 * (4 * 19 + 2)


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


def test_insertion_and_deletion_are_areas_under_the_literal_curves():
    net = network()
    ctx, maps = context(net=net), smooth_maps(1, 3)
    deletion, insertion = Deletion().score(maps, ctx), Insertion().score(maps, ctx)
    blurred = blur_baseline(ctx.images)
    with torch.no_grad():
        for i in range(3):
            order = (-maps[0, i].flatten()).argsort()
            curves = {"deletion": [], "insertion": []}
            fractions = []
            for step in range(21):
                cut = round(SIDE * SIDE * step / 20)
                fractions.append(cut / SIDE**2)
                chosen = torch.zeros(SIDE * SIDE, dtype=torch.bool)
                chosen[order[:cut]] = True
                chosen = chosen.view(SIDE, SIDE)
                image, base = ctx.images[i], blurred[i]
                gone = torch.where(chosen, torch.zeros_like(image), image)
                shown = torch.where(chosen, image, base)
                curves["deletion"].append(probability(net, gone, ctx.targets[i]))
                curves["insertion"].append(probability(net, shown, ctx.targets[i]))
            expected = {k: np.trapezoid(v, fractions) for k, v in curves.items()}
            assert deletion[0, i] == pytest.approx(expected["deletion"], abs=1e-5)
            assert insertion[0, i] == pytest.approx(expected["insertion"], abs=1e-5)


def test_paper_steps_remove_one_row_of_pixels_a_step():
    ctx, maps = context(2), smooth_maps(1, 2)
    before = ctx.classifier.passes
    Deletion(steps="paper").score(maps, ctx)
    assert ctx.classifier.passes - before == 2 * (SIDE + 1)


def test_blur_keeps_a_constant_image_and_blurs_any_other():
    flat = torch.full((1, 3, 32, 32), 0.7)
    assert torch.allclose(blur_baseline(flat), flat, atol=1e-6)
    noisy = torch.randn(1, 3, 32, 32)
    assert blur_baseline(noisy).std() < noisy.std()


def test_localisation_by_hand():
    heat = torch.tensor([[0.0, 0.5], [1.0, 0.25]])[None, None]
    mask = torch.tensor([[False, True], [False, True]])[None]
    ctx = Context(torch.zeros(1, 3, 2, 2), torch.zeros(1), torch.ones(1), None, ["x"], mask)
    assert IoU().score(heat, ctx).item() == pytest.approx(1 / 3)  # {01, 10} and {01, 11}
    assert EnergyPointingGame().score(heat, ctx).item() == pytest.approx(0.75 / 1.75)


def test_binarising_a_map_gains_nothing_that_a_plateau_would_give():
    """Regression: with plateaus removed at once, a binarised map gained 74 %."""
    from sycam.inputs import demo_images
    from sycam.methods import find_method
    from sycam.subject import Subject

    subject = Subject.prepare("demo", "features", demo_images("heldout", 24, 5))
    evidence, ctx = subject.measure(demo_images("heldout", 24, 5))
    maps = find_method("grad-cam").heatmaps(evidence, ctx).maps
    tenth = maps.flatten(2).quantile(0.9, dim=2)[..., None, None]
    binary = (maps >= tenth).float()
    scores = Road().score(torch.cat([maps, binary]), ctx)
    gain = scores[1] - scores[0]
    error = gain.std() / math.sqrt(len(gain))
    assert gain.mean() <= 2 * error


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_declares_itself_and_keeps_its_range(name):
    metric = find_metric(name)
    ctx = context(2, masks=True)
    scores = metric.score(smooth_maps(3, 2), ctx)
    low, high = metric.range
    assert scores.shape == (3, 2)
    assert torch.isfinite(scores).all()
    assert (scores >= low - 1e-6).all()
    assert (scores <= high + 1e-6).all()
    assert metric.summary
    assert metric.source


@pytest.mark.parametrize("name", ["road", "insertion", "deletion", "iou", "energy-pointing-game"])
def test_declared_invariance_to_positive_scale_holds(name):
    metric, ctx, maps = find_metric(name), context(2, masks=True), smooth_maps(2, 2)
    assert torch.allclose(
        metric.score(norm01(maps * 37.5), ctx), metric.score(maps, ctx), atol=1e-5
    )


def test_unknown_metrics_and_options_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'road'"):
        find_metric("raod")
    with pytest.raises(OptionError, match="between 0 and 100"):
        Road(percentiles=(0, 50))
    with pytest.raises(OptionError, match="solver"):
        Road(solver="magic")
    with pytest.raises(OptionError, match="positive integer or 'paper'"):
        Deletion(steps=0)
