"""Regions as another library finds them, and shifts that keep what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from sycam.applications.hot_spots.options import AblationOptions
from sycam.applications.hot_spots.regions import hot_regions, shifted
from sycam.data.images import ImageSet
from sycam.errors import OptionError, UnknownNameError
from sycam.metrics import Context
from sycam.problem.explained_network import ExplainedNetwork


@pytest.fixture
def context(small_network, small_images) -> Context:
    images = ImageSet.from_arrays(small_images, masks=small_images[:, 0] > 0.5)
    return ExplainedNetwork.prepare(small_network, "3", images).measure(images)[1]


@pytest.fixture
def maps() -> torch.Tensor:
    """``[2,7,16,16]``, one degenerate."""
    found = torch.rand(2, 7, 16, 16, generator=torch.Generator().manual_seed(1))
    found[1, 2] = 0
    return found


def regions_of(maps, context, **options) -> tuple[np.ndarray, np.ndarray]:
    found, counts = hot_regions(maps, context, AblationOptions(**options))
    return found.numpy(), counts.numpy()


@pytest.mark.parametrize("smallest", [0, 0.9, 2.5])
def test_components_are_those_of_scikit_image(maps, context, smallest):
    measure = pytest.importorskip("skimage.measure")
    found, counts = regions_of(maps, context, threshold=0.6, smallest=smallest)
    for place in np.ndindex(2, 7):
        labels = measure.label(maps[place].numpy() >= 0.6, connectivity=2)
        kept = [
            part.label for part in measure.regionprops(labels)
            if 100 * part.area >= smallest * 256
        ]  # fmt: skip
        np.testing.assert_array_equal(found[place], np.isin(labels, kept))
        assert counts[place] == len(kept)
    assert counts[1, 2] == 0


def test_the_hottest_regions_are_kept(context):
    heat = torch.zeros(1, 7, 16, 16)
    heat[..., 1:3, 1:3] = 1  # total 4
    heat[..., 6:10, 6:10] = 0.6  # 9.6
    heat[..., 13, :] = 0.55  # 8.8
    for most, total in ((1, 16), (2, 32), (None, 36)):
        found, counts = regions_of(heat, context, most=most)
        assert (found.sum((2, 3)) == total).all()
        assert (counts == (most or 3)).all()
    assert regions_of(heat, context, most=1)[0][0, 0, 6:10, 6:10].all()


def test_top_counts_pixels_whatever_the_heat(maps, context):
    found, _ = regions_of(maps, context, top=10, smallest=0)
    sizes = found.sum((2, 3))
    assert sizes[0].tolist() == [26] * 7
    assert maps[0, 0].numpy()[found[0, 0]].min() > maps[0, 0].numpy()[~found[0, 0]].max()


def test_regions_stay_within_the_masks_before_they_are_filtered(maps, context):
    found, _ = regions_of(maps, context, threshold=0.5, smallest=0, allowed=True)
    np.testing.assert_array_equal(found, (maps.numpy() >= 0.5) & context.masks.numpy())
    filtered, _ = regions_of(maps, context, threshold=0.5, smallest=5, allowed=True)
    assert filtered.sum() < found.sum()


def test_a_degenerate_map_has_no_region(maps, context):
    from dataclasses import replace

    flat = torch.zeros(2, 7, dtype=torch.bool)
    flat[0, 3] = True
    context = replace(context, degenerate=flat)
    for how in ({"top": 20}, {"threshold": 0.1}):
        found, counts = regions_of(maps, context, **how)
        assert not found[0, 3].any()
        assert counts[0, 3] == 0
        assert found[0, 4].any()


@given(st_numpy.arrays(bool, st_numpy.array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=9)))
def test_shifted_regions_are_rolls_of_them(region):
    given_region = torch.from_numpy(region)
    found = shifted(given_region, 5, torch.Generator().manual_seed(0))
    sides = tuple(range(region.ndim))
    rolls = {
        np.roll(region, move, sides).tobytes(): np.roll(region, move, sides)
        for move in np.ndindex(region.shape)
    }
    covered = sorted(
        (np.roll(region, move, sides) & region).sum() for move in np.ndindex(region.shape)
    )
    least = covered[-(-len(covered) // 4) - 1]
    for one in found.numpy():
        assert one.tobytes() in rolls
        assert (one & region).sum() <= least


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 1000))
def test_a_compact_region_leaves_its_place_altogether(top, left, seed):
    region = torch.zeros(16, 16, dtype=torch.bool)
    region[top : top + 4, left : left + 4] = True
    found = shifted(region, 8, torch.Generator().manual_seed(seed))
    assert not (found & region).any()
    assert len({one.numpy().tobytes() for one in found}) > 1


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"threshold": 0}, OptionError, "threshold must be above 0"),
        ({"threshold": float("nan")}, OptionError, "threshold must be above 0"),
        ({"top": 100}, OptionError, "top must be a percentage"),
        ({"smallest": -1}, OptionError, "smallest must be a percentage"),
        ({"most": 0}, OptionError, "most must be a whole number of at least 1"),
        ({"shifts": 0}, OptionError, "shifts must be a whole number of at least 1"),
        ({"examples": True}, OptionError, "examples must be a whole number of at least 0"),
        ({"fill": "means"}, UnknownNameError, "mean"),
    ],
)
def test_what_cannot_be_used_is_said(options, error, said):
    with pytest.raises(error, match=said):
        AblationOptions(**options)
