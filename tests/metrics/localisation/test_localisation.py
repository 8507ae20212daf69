"""Localisation metrics against scikit-learn, scipy, brute force and values worked by hand."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.spatial.distance import cdist, directed_hausdorff
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score
from torch import Tensor

from sycam.errors import DataError, OptionError
from sycam.metrics import (
    AUC,
    HD95,
    METRICS,
    RANKING,
    AveragePrecision,
    Context,
    Dice,
    EnergyPointingGame,
    IoU,
    IoUBestThreshold,
    PointingGame,
    RelevanceMassAccuracy,
    RelevanceRankAccuracy,
)

NAMES = [
    "auc",
    "average-precision",
    "dice",
    "energy-pointing-game",
    "hd95",
    "iou",
    "iou-best-threshold",
    "pointing-game",
    "relevance-mass-accuracy",
    "relevance-rank-accuracy",
]
SIZES = [(6, 5), (3, 4, 5)]


def marked(masks: Tensor) -> Context:
    """The context of images of which only the masks matter."""
    count = len(masks)
    images = torch.zeros(count, 1, *masks.shape[1:])
    nothing = torch.zeros(count)
    return Context(images, nothing, nothing, None, [str(i) for i in range(count)], masks)


def drawn(seed: int, size: tuple[int, ...], levels: int = 5, candidates: int = 2, count: int = 3):
    """Heatmaps with ties, each with a 0 and a 1, and masks that are neither empty nor full."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randint(0, levels, (candidates, count, *size), generator=generator)
    maps = maps.float() / (levels - 1)
    masks = torch.rand(count, *size, generator=generator) > 0.6
    for flat, values in ((maps.flatten(2), (0.0, 1.0)), (masks.flatten(1), (False, True))):
        flat[..., 0], flat[..., 1] = values
    return maps, masks


@pytest.mark.parametrize("name", NAMES)
def test_without_masks_the_error_says_what_to_give(name):
    maps, masks = drawn(0, (6, 5))
    with pytest.raises(DataError, match="give masks"):
        METRICS[name]().score(maps, replace(marked(masks), masks=None))


def each(maps: Tensor, masks: Tensor):
    """Pairs of a heatmap and its mask, flat, in the order of ``scores.flatten(0, 1)``."""
    for one in maps:
        for heat, mask in zip(one, masks, strict=True):
            yield heat.flatten().numpy(), mask.flatten().numpy()


HEAT = [
    [0.0, 0.1, 0.2, 0.0],
    [0.0, 1.0, 0.5, 0.0],
    [0.0, 0.5, 0.3, 0.0],
    [0.6, 0.0, 0.0, 0.0],
]
MASK = [
    [0, 0, 0, 0],
    [0, 1, 1, 0],
    [0, 1, 1, 0],
    [0, 0, 0, 0],
]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        # Hot are the centre's 1.0, 0.5, 0.5 and the corner's 0.6: three of four in the mask.
        (IoU(), 3 / 5),
        (Dice(), 6 / 8),
        (IoU(threshold=0.6), 1 / 5),
        (IoUBestThreshold(thresholds=(0.2, 0.3, 0.6)), [4 / 6, 4 / 5, 1 / 5]),
        (EnergyPointingGame(), 2.3 / 3.2),
        (RelevanceMassAccuracy(), 2.3 / 3.2),
        (PointingGame(), 1.0),
        (RelevanceRankAccuracy(), 3 / 4),
        # Of 4 times 12 pairs only the corner beats three of the mask's pixels.
        (AUC(), 45 / 48),
        # Precision at 1.0, 0.5 (twice) and 0.3.
        (AveragePrecision(), (1 + 3 / 4 + 3 / 4 + 4 / 5) / 4),
        # The corner is one diagonal step from (2, 1); (2, 2) is one step from the heat.
        (HD95(percentile=100), math.sqrt(2)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_scores_worked_by_hand(metric, expected):
    context = marked(torch.tensor(MASK, dtype=torch.bool)[None])
    found = metric.score(torch.tensor(HEAT)[None, None], context)
    assert found[0, 0].tolist() == pytest.approx(expected, abs=1e-6)


@given(seed=st.integers(0, 10_000), size=st.sampled_from(SIZES), levels=st.sampled_from([2, 5, 99]))
@settings(max_examples=25, deadline=None)
def test_scores_are_those_of_scikit_learn_ties_included(seed, size, levels):
    maps, masks = drawn(seed, size, levels)
    context = marked(masks)
    references = {
        AUC(): roc_auc_score,
        AveragePrecision(): average_precision_score,
        IoU(): lambda mask, heat: jaccard_score(mask, heat >= 0.5),
        Dice(threshold=0.25): lambda mask, heat: f1_score(mask, heat >= 0.25),
    }
    for metric, reference in references.items():
        expected = [reference(mask, heat) for heat, mask in each(maps, masks)]
        found = metric.score(maps, context).flatten()
        assert found.tolist() == pytest.approx(expected, abs=1e-6), metric.name


@pytest.mark.parametrize("size", [(64, 64), (16, 16, 16)])
def test_areas_are_exact_on_larger_maps_that_are_measured_in_parts(size, monkeypatch):
    monkeypatch.setattr("sycam.metrics.localisation.ranking._TOGETHER", 2 * math.prod(size))
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(1, 3, *size, generator=generator).sub(0.4).clamp(min=0)
    masks = torch.rand(3, *size, generator=generator) > 0.8
    for metric, reference in (AUC(), roc_auc_score), (AveragePrecision(), average_precision_score):
        expected = [reference(mask, heat) for heat, mask in each(maps, masks)]
        found = metric.score(maps, marked(masks)).flatten()
        assert found.tolist() == pytest.approx(expected, abs=1e-6)


@given(seed=st.integers(0, 10_000), size=st.sampled_from(SIZES))
@settings(max_examples=15, deadline=None)
def test_iou_at_every_threshold_is_that_of_one_comparison_each(seed, size):
    # 21 levels: every threshold is itself a heat, so that >= matters.
    maps, masks = drawn(seed, size, levels=21)
    context = marked(masks)
    metric = IoUBestThreshold()
    one_by_one = [IoU(threshold=t).score(maps, context) for t in metric.thresholds]
    assert torch.equal(metric.score(maps, context), torch.stack(one_by_one, -1))


def test_the_best_threshold_is_fitted_once_and_used_on_other_images():
    metric = IoUBestThreshold(thresholds=(0.25, 0.5, 0.75))
    searched = np.array([[0.1, 0.6, 0.5], [0.3, 0.4, 0.5]])
    other = np.array([[0.9, 0.1, 0.2], [0.7, 0.3, 0.4]])
    assert metric.fit(searched) == 1  # 0.5 on average, as the third: the lower one is taken
    assert metric.reduce(searched) == pytest.approx(0.5)
    assert metric.reduce(other, metric.fit(searched)) == pytest.approx(0.2)
    assert metric.per_image(other, 1).tolist() == [0.1, 0.3]
    assert metric.reduce(other) == pytest.approx(0.8)
    assert metric.per_image(other).mean() == pytest.approx(metric.reduce(other))
    # Several candidates, or resamples, at once.
    both = np.stack([searched, other])
    assert metric.reduce(both).tolist() == pytest.approx([0.5, 0.8])
    assert metric.reduce(both, 2).tolist() == pytest.approx([0.5, 0.3])


def all_tie_breaks(heat: np.ndarray, mask: np.ndarray) -> float:
    """Mean of the rank accuracy over all choices of the hottest ``|mask|`` pixels."""
    wanted = mask.sum()
    last = np.sort(heat)[::-1][wanted - 1]
    sure, tied = np.flatnonzero(heat > last), np.flatnonzero(heat == last)
    choices = itertools.combinations(tied, wanted - len(sure))
    return np.mean([mask[[*sure, *choice]].sum() / wanted for choice in choices])


@given(seed=st.integers(0, 10_000), levels=st.integers(2, 6))
@settings(max_examples=30, deadline=None)
def test_rank_accuracy_is_the_mean_over_all_ways_to_break_ties(seed, levels):
    maps, masks = drawn(seed, (3, 4), levels)
    expected = [all_tie_breaks(heat, mask) for heat, mask in each(maps, masks)]
    found = RelevanceRankAccuracy().score(maps, marked(masks)).flatten()
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("metric", [AUC(), AveragePrecision(), RelevanceRankAccuracy()])
def test_minus_zero_ties_with_zero(metric):
    """A ReLU may leave either, and their bits differ."""
    heat = torch.tensor([[1.0, 0.0, 0.0, 0.5]])[None, None]
    mask = torch.tensor([[False, True, False, True]])[None]
    signed = heat * torch.tensor([1.0, -1.0, 1.0, 1.0])
    assert metric.score(signed, marked(mask)) == metric.score(heat, marked(mask))


def test_pointing_game_shares_a_hit_among_tied_maxima():
    heat = torch.tensor([[1.0, 0.0, 1.0], [0.5, 1.0, 0.0]])[None, None]
    mask = torch.tensor([[1, 1, 0], [0, 0, 0]]).bool()[None]
    assert PointingGame().score(heat, marked(mask)).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("tolerance", [1, 1.5, 3])
def test_pointing_game_accepts_pixels_near_the_mask(tolerance):
    places = np.array(list(np.ndindex(7, 6)))
    mask = torch.zeros(7, 6, dtype=torch.bool)
    mask[1:3, 4] = mask[5, 0] = True
    near = cdist(places, mask.nonzero()).min(1) <= tolerance
    # One heatmap for each pixel, with its maximum there.
    maps = torch.eye(42).view(42, 1, 7, 6)
    # An empty mask is not widened: it has no near pixels.
    masks = torch.stack([mask, torch.zeros_like(mask)])
    scores = PointingGame(tolerance).score(maps.expand(-1, 2, -1, -1), marked(masks))
    assert scores[:, 0].tolist() == near.astype(float).tolist()
    assert not scores[:, 1].any()


def surface(region: np.ndarray) -> np.ndarray:
    return np.argwhere(region & ~binary_erosion(region))


@pytest.mark.parametrize("size", [(24, 17), (9, 12, 10), (1, 12, 12)])
def test_hd95_is_that_of_all_pairwise_distances(size):
    rng = np.random.default_rng(0)
    fields = [gaussian_filter(rng.standard_normal(size), 2) for _ in range(9)]
    fields = np.stack([field / field.max() for field in fields]).astype(np.float32)
    maps = torch.from_numpy(fields[:6]).clamp(min=0).view(2, 3, *size)
    masks = torch.from_numpy(fields[6:] > 0.4)
    expected = {50: [], 95: [], 100: []}
    for p, n in itertools.product(range(2), range(3)):
        heat, mask = surface(maps[p, n].numpy() >= 0.5), surface(masks[n].numpy())
        pairs = cdist(heat, mask)
        for q, found in expected.items():
            found.append(max(np.percentile(pairs.min(side), q) for side in (0, 1)))
        hausdorff = max(directed_hausdorff(heat, mask)[0], directed_hausdorff(mask, heat)[0])
        assert expected[100][-1] == pytest.approx(hausdorff)
    for q, values in expected.items():
        found = HD95(percentile=q).score(maps, marked(masks)).flatten()
        assert found.tolist() == pytest.approx(values, abs=1e-5)


def test_hd95_takes_the_larger_percentile_and_does_not_pool_the_distances():
    """The heat is the mask's column of 60 and 4 pixels at distance 9: 6 % of its border, 3 % of
    both."""
    mask = torch.zeros(60, 20, dtype=torch.bool)
    mask[:, 0] = True
    heat = mask.float()
    heat[:4, 9] = 1.0
    forth = [0.0] * 60 + [9.0] * 4
    back = [0.0] * 60
    found = HD95().score(heat[None, None], marked(mask[None])).item()
    assert found == pytest.approx(0.85 * 9)  # between the 60th and the 61st of 64
    assert np.percentile(forth + back, 95) == 0  # what medpy would say


@pytest.mark.parametrize(
    ("name", "zero", "constant", "other"),
    # For an empty, a full and a half mask; the last heatmap is hot on a quarter outside the half.
    [
        ("auc", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), (0.5, 0.5, 0.25)),
        ("average-precision", (0, 1, 0.5), (0, 1, 0.5), (0, 1, 0.5)),
        ("dice", (0, 0, 0), (0, 1, 2 / 3), (0, 0.4, 0)),
        ("energy-pointing-game", (0, 0, 0), (0, 1, 0.5), (0, 1, 0)),
        ("hd95", (0, math.sqrt(32), math.sqrt(32)), (math.sqrt(32), 0, 2), (math.sqrt(32), 3, 3)),
        ("iou", (0, 0, 0), (0, 1, 0.5), (0, 0.25, 0)),
        ("pointing-game", (0, 1, 0.5), (0, 1, 0.5), (0, 1, 0)),
        ("relevance-mass-accuracy", (0, 0, 0), (0, 1, 0.5), (0, 1, 0)),
        ("relevance-rank-accuracy", (0, 1, 0.5), (0, 1, 0.5), (0, 1, 1 / 3)),
    ],
)
def test_empty_and_full_masks_zero_and_constant_maps_have_defined_scores(
    name, zero, constant, other
):
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[1] = True
    masks[2, :2] = True
    maps = torch.zeros(3, 3, 4, 4)
    maps[1] = 1.0
    maps[2, :, 3] = 1.0
    found = METRICS[name]().score(maps, marked(masks))
    expected = torch.tensor([zero, constant, other])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@given(seed=st.integers(0, 10_000), size=st.sampled_from(SIZES))
@settings(max_examples=15, deadline=None)
def test_metrics_of_the_ranking_do_not_see_an_increasing_function_of_the_heat(seed, size):
    maps, masks = drawn(seed, size)
    generator = torch.Generator().manual_seed(seed)
    levels = torch.rand(5, generator=generator).sort().values
    levels[0], levels[-1] = 0.0, 1.0
    changed = levels[(maps * 4).round().long()]
    for name in NAMES:
        metric = METRICS[name]()
        if metric.invariance == RANKING:
            before, after = (metric.score(m, marked(masks)) for m in (maps, changed))
            assert torch.equal(before, after), name


@pytest.mark.parametrize("name", [n for n in NAMES if METRICS[n].invariance != RANKING])
def test_metrics_that_see_more_than_the_ranking_say_so(name):
    maps, masks = drawn(0, (6, 5))
    metric = METRICS[name]()
    before, after = (metric.score(m, marked(masks)) for m in (maps, maps**3))
    assert not torch.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_a_score_depends_on_its_own_heatmap_and_mask_alone(name, size):
    maps, masks = drawn(3, size)
    metric = METRICS[name]()
    given_maps, given_masks = maps.clone(), masks.clone()
    together = metric.score(maps, marked(masks))
    assert torch.equal(maps, given_maps)
    assert torch.equal(masks, given_masks)
    for p, n in itertools.product(range(2), range(3)):
        alone = metric.score(maps[p : p + 1, n : n + 1], marked(masks[n : n + 1]))
        assert torch.equal(alone[0, 0], together[p, n])


@pytest.mark.parametrize("name", NAMES)
def test_the_bound_is_reached_by_the_mask_and_never_passed(name):
    maps, masks = drawn(4, (6, 5), candidates=20)
    masks = torch.cat([masks, torch.zeros_like(masks[:1]), torch.ones_like(masks[:1])])
    maps = torch.cat([maps, maps[:, :2]], 1)
    metric, context = METRICS[name](), marked(masks)
    best = metric.oriented(metric.bound(context))
    scores, ideal = (metric.oriented(metric.score(m, context)) for m in (maps, masks[None].float()))
    if metric.components:
        scores, ideal = (s.amax(-1) for s in (scores, ideal))
    assert (scores <= best + 1e-6).all()
    assert ideal[0].tolist() == pytest.approx(best.tolist())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IoU(threshold=0), "threshold 0 .* above 0"),
        (lambda: Dice(threshold=1.5), "threshold 1.5 .* at most 1"),
        (lambda: HD95(threshold=float("nan")), "threshold nan"),
        (lambda: HD95(percentile=0), "percentile 0"),
        (lambda: IoUBestThreshold(thresholds=()), "one or more"),
        (lambda: IoUBestThreshold(thresholds=(0.5, 0.2)), "not ascending"),
        (lambda: PointingGame(tolerance=-1), "0 or more"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
