"""Map-only metrics against Quantus 0.6.0, and where Quantus is wrong."""

from __future__ import annotations

import math
import warnings
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from sycam.metrics import Context, find_metric

SIDE = 16


def judged(quantus: ModuleType, name: str, maps: Tensor, masks: Tensor, **settings) -> np.ndarray:
    """What Quantus says of heatmaps ``[N,H,W]`` as they are, ``[N]``."""
    metric = getattr(quantus, name)(
        abs=False, normalise=False, disable_warnings=True, display_progressbar=False, **settings
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = metric(
            model=None,
            x_batch=np.zeros((len(maps), 3, *maps.shape[1:])),
            y_batch=np.zeros(len(maps), int),
            a_batch=maps[:, None].numpy().copy(),  # it changes what it is given
            s_batch=masks[:, None].numpy(),
        )
    return np.array(found, dtype=float)


def ours(name: str, maps: Tensor, masks: Tensor) -> list[float]:
    count = len(maps)
    images, nothing = torch.zeros(count, 3, *maps.shape[1:]), torch.zeros(count)
    context = Context(images, nothing, nothing, None, [str(i) for i in range(count)], masks)
    return find_metric(name).score(maps[None], context)[0].tolist()


@pytest.fixture
def maps() -> Tensor:
    """``[6,16,16]`` without ties."""
    maps = torch.rand(6, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) ** 2
    return maps / maps.amax((1, 2), keepdim=True)


@pytest.fixture
def masks() -> Tensor:
    return torch.rand(6, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) > 0.7


@pytest.mark.parametrize(
    ("name", "theirs", "factor"),
    [
        ("pointing-game", "PointingGame", 1),
        ("energy-pointing-game", "AttributionLocalisation", 1),
        ("relevance-mass-accuracy", "RelevanceMassAccuracy", 1),
        ("relevance-rank-accuracy", "RelevanceRankAccuracy", 1),
        ("auc", "AUC", 1),
        ("sparseness", "Sparseness", 1),
        ("entropy", "Complexity", math.log(SIDE**2)),
    ],
)
def test_scores_agree(quantus, maps, masks, name, theirs, factor):
    found = [factor * score for score in ours(name, maps, masks)]
    assert found == pytest.approx(judged(quantus, theirs, maps, masks).tolist(), abs=1e-5)


def test_quantus_lets_an_empty_mask_and_a_constant_map_hit(quantus, maps, masks):
    """NaN becomes True in its array of bools, and any tied maximum inside is a hit."""
    maps[1] = 1.0
    masks[0] = False
    assert judged(quantus, "PointingGame", maps, masks)[:2].tolist() == [1, 1]
    share = masks[1].float().mean().item()
    assert ours("pointing-game", maps, masks)[:2] == pytest.approx([0, share])


def test_quantus_weighted_pointing_game_fails(quantus, maps, masks):
    masks[0], maps[0] = True, 1.0  # a hit, which is then to be weighted
    with pytest.raises(TypeError, match="boolean array indexing"):
        judged(quantus, "PointingGame", maps, masks, weighted=True)


def test_quantus_weighted_localisation_depends_on_the_batch(quantus, maps, masks):
    """It divides by the size of all images but the first two."""
    theirs = [
        judged(quantus, "AttributionLocalisation", maps[:n], masks[:n], weighted=True)[0]
        for n in (6, 3, 1)
    ]
    assert theirs[1] == pytest.approx(4 * theirs[0])
    assert theirs[2] == math.inf
    together = ours("energy-pointing-game", maps, masks)
    assert ours("energy-pointing-game", maps[:1], masks[:1])[0] == together[0]


def test_quantus_has_no_score_where_a_map_or_a_mask_is_empty(quantus, maps, masks):
    """A map of zeros is divided by its sum; masks without pixels are NaN by intention."""
    maps[0] = 0.0
    masks[1] = False
    mass = judged(quantus, "RelevanceMassAccuracy", maps, masks)
    assert np.isnan(mass).tolist() == [True, True] + [False] * 4
    assert ours("relevance-mass-accuracy", maps, masks)[:2] == [0, 0]
    assert np.isnan(judged(quantus, "AUC", maps, masks)[1])
    assert ours("auc", maps, masks)[1] == 0.5


def test_quantus_breaks_ties_of_the_rank_as_its_sort_happens_to(quantus, maps, masks):
    """All pixels of a constant map are equal, yet the place of the mask decides."""
    maps[:2] = 1.0
    masks[0], masks[1] = torch.arange(SIDE)[:, None] < SIDE // 2, torch.arange(SIDE) < SIDE // 2
    theirs = judged(quantus, "RelevanceRankAccuracy", maps, masks)
    assert theirs[0] != pytest.approx(theirs[1])
    assert ours("relevance-rank-accuracy", maps, masks)[:2] == [0.5, 0.5]


def test_quantus_sparseness_of_one_pixel_falls_short_by_its_epsilon(quantus):
    """1e-7 on each of 224 * 224 pixels is half a per cent of the only heat there is."""
    maps = torch.zeros(1, 224, 224)
    maps[0, 5, 7] = 1.0
    masks = maps > 0
    theirs = judged(quantus, "Sparseness", maps, masks)[0]
    exact = 1 - 1 / 224**2
    assert ours("sparseness", maps, masks)[0] == pytest.approx(exact, abs=1e-6)
    assert theirs == pytest.approx(exact / (1 + 1e-7 * 224**2), abs=1e-5)
    assert theirs < exact - 0.004


@pytest.mark.parametrize(
    ("name", "theirs"), [("sparseness", "Sparseness"), ("entropy", "Complexity")]
)
def test_quantus_changes_the_heatmaps_it_is_given(quantus, maps, masks, name, theirs):
    metric = getattr(quantus, theirs)(
        abs=False, normalise=False, disable_warnings=True, display_progressbar=False
    )
    handed = maps[:, None].numpy().copy()
    metric(
        model=None, x_batch=np.zeros((6, 3, SIDE, SIDE)), y_batch=np.zeros(6, int), a_batch=handed
    )
    assert not np.array_equal(handed[:, 0], maps.numpy())
    before = maps.clone()
    ours(name, maps, masks)
    assert torch.equal(maps, before)
