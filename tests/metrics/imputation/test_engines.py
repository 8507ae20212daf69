"""The ROAD imputer: agreement with the exact solution, and what a Laplace equation promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from holes import road_masks, smooth_images, special_masks
from hypothesis import given, settings
from hypothesis import strategies as st

from sycam.errors import DataError, OptionError
from sycam.metrics.imputation import c_engine, torch_engine
from sycam.metrics.imputation.c_engine import native_available
from sycam.metrics.imputation.impute import impute, impute_exact


@pytest.fixture(params=["torch", "native"])
def native(request) -> bool:
    if request.param == "native" and not native_available():
        pytest.skip("no C compiler here")
    return request.param == "native"


SHAPES = [(8, 8), (9, 8), (33, 47), (64, 64), (17, 100), (16, 4)]
THIN = [(2, 128), (5, 300), (300, 7), (16, 1000), (2, 500)]


@pytest.mark.parametrize("tolerance", [1e-2, 1e-5])
@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_agrees_with_the_exact_solution(height, width, tolerance, native):
    removed = torch.cat([road_masks(height, width), special_masks(height, width)])
    images = smooth_images(len(removed), 2, height, width)
    error = (
        impute(images, removed, tolerance=tolerance, native=native)
        - impute_exact(images.double(), removed)
    ).abs()
    missing = error.amax(1)[removed]
    assert missing.quantile(0.999) <= tolerance
    assert missing.max() <= 2 * tolerance
    assert missing.square().mean().sqrt() <= tolerance / 4


@pytest.mark.parametrize(("scale", "offset"), [(60, 110), (1000, 0), (1e-3, 0)])
def test_the_tolerance_holds_whatever_the_unit_of_the_images(scale, offset, native):
    """Grey values from 0 to 255, Hounsfield units, and small values, of which more is asked."""
    removed = road_masks(96, 96)[::5]
    images = smooth_images(len(removed), 1, 96, 96) * scale + offset
    tolerance = 1e-2 if scale > 1 else 1e-2 * scale
    exact = impute_exact(images.double(), removed)
    for largest in (None, float(images.abs().max())):
        found = impute(images, removed, tolerance=tolerance, native=native, largest=largest)
        error = (found.double() - exact).abs().amax(1)[removed]
        assert error.quantile(0.999) <= tolerance
    found = impute(images.double(), removed, tolerance=1e-5, native=native, largest=1.0)
    assert found.dtype == torch.float64
    assert (found - exact).abs().amax(1)[removed].quantile(0.999) <= 1e-5


@pytest.mark.parametrize(("height", "width"), THIN)
def test_long_holes_of_thin_images_are_filled(height, width, native):
    """What is known lies at the two ends, or in two corners."""
    removed = torch.ones(2, height, width, dtype=torch.bool)
    removed[0, : height // 6 if height > width else None, : width // 6] = False
    removed[0, -1, -1] = removed[1, 0, 0] = removed[1, -1, -1] = False
    images = smooth_images(2, 2, height, width)
    filled = impute(images, removed, native=native)
    assert (filled - impute_exact(images.double(), removed)).abs().max() < 0.03


def test_exact_solves_the_stated_system():
    """Against a dense solve written from the definition, pixel by pixel."""
    generator = np.random.default_rng(0)
    image = generator.normal(size=(2, 6, 5))
    removed = generator.random((6, 5)) < 0.6
    removed[0, 0], removed[5, 4], removed[2, 2] = True, True, False
    matrix, right = np.zeros((30, 30)), np.zeros((30, 2))
    for i in range(6):
        for j in range(5):
            row = 5 * i + j
            if not removed[i, j]:
                matrix[row, row], right[row] = 1, image[:, i, j]
                continue
            for y in range(max(0, i - 1), min(6, i + 2)):
                for x in range(max(0, j - 1), min(5, j + 2)):
                    if (y, x) != (i, j):
                        weight = 1 / 6 if y == i or x == j else 1 / 12
                        matrix[row, 5 * y + x] += weight
                        matrix[row, row] -= weight
    expected = np.linalg.solve(matrix, right).T.reshape(2, 6, 5)
    ours = impute_exact(torch.from_numpy(image)[None], torch.from_numpy(removed)[None])
    np.testing.assert_allclose(ours[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_known_pixels_are_bit_identical(dtype, native):
    removed = torch.cat([road_masks(33, 20), special_masks(33, 20)])
    images = smooth_images(len(removed), 3, 33, 20).to(dtype)
    images[:, :, :3] *= 1e3
    before = images.clone()
    filled = impute(images, removed, native=native)
    known = ~removed.unsqueeze(1).expand_as(images)
    assert filled.dtype == dtype
    assert torch.equal(filled[known], images[known])
    assert torch.equal(images, before)
    assert torch.equal(impute_exact(images, removed)[known], images[known])


def test_what_was_at_removed_places_is_not_read(native):
    removed = special_masks(16, 16)
    images = smooth_images(len(removed), 1, 16, 16)
    spoilt = images.masked_fill(removed.unsqueeze(1), float("nan"))
    assert torch.equal(
        impute(spoilt, removed, native=native), impute(images, removed, native=native)
    )
    assert torch.equal(impute_exact(spoilt, removed), impute_exact(images, removed))


def test_a_constant_image_stays_constant(native):
    removed = torch.cat([road_masks(40, 24), special_masks(40, 24)])
    images = torch.full((len(removed), 1, 40, 24), 2.5)
    torch.testing.assert_close(impute(images, removed, native=native), images, atol=1e-3, rtol=0)


def test_a_ramp_is_continued_inside(native):
    """A linear function satisfies the equation away from the border."""
    ramp = 0.1 * torch.arange(30.0)[:, None] - 0.05 * torch.arange(21.0)
    removed = torch.zeros(1, 30, 21, dtype=torch.bool)
    removed[0, 2:27, 3:18] = True
    images = ramp.expand(1, 1, 30, 21)
    filled = impute(images, removed, tolerance=1e-5, native=native)
    torch.testing.assert_close(filled, images, atol=2e-5, rtol=0)


def test_one_known_pixel_fills_the_image(native):
    removed = torch.ones(1, 50, 31, dtype=torch.bool)
    removed[0, 49, 0] = False
    images = torch.full((1, 1, 50, 31), 0.7)
    filled = impute(images, removed, tolerance=1e-4, native=native)
    torch.testing.assert_close(filled, images, atol=1e-4, rtol=0)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(8, 40),
    width=st.integers(8, 40),
    share=st.floats(0, 1),
    cell=st.sampled_from([1, 3, 8]),
    seed=st.integers(0, 10_000),
    native=st.booleans(),
)
def test_maximum_principle(height, width, share, cell, seed, native):
    """A filled value lies between the smallest and the largest known one."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.rand(4, 1, -(-height // cell), -(-width // cell), generator=generator)
    removed = F.interpolate(cells, scale_factor=cell)[:, 0, :height, :width] < share
    removed[:, seed % height, seed % width] = False
    images = torch.randn(4, 1, height, width, generator=generator)
    filled = impute(images, removed, tolerance=1e-3, native=native)
    for image, result, mask in zip(images[:, 0], filled[:, 0], removed, strict=True):
        assert result.min() >= image[~mask].min() - 2e-3
        assert result.max() <= image[~mask].max() + 2e-3


def test_an_item_does_not_depend_on_its_batch(native, monkeypatch):
    monkeypatch.setitem(torch_engine.CHUNK_VALUES, "cpu", 12 * 3 * 32 * 32)
    removed = torch.cat([road_masks(32, 32), special_masks(32, 32)])
    images = smooth_images(len(removed), 3, 32, 32)
    together = impute(images, removed, native=native)
    order = torch.randperm(len(removed), generator=torch.Generator().manual_seed(0))
    shuffled = impute(images[order], removed[order], native=native)
    torch.testing.assert_close(shuffled, together[order], atol=5e-6, rtol=0)
    for item in (0, 8, 17, 22):
        alone = impute(images[item : item + 1], removed[item : item + 1], native=native)
        torch.testing.assert_close(alone[0], together[item], atol=5e-6, rtol=0)


def test_it_is_deterministic(native):
    removed = road_masks(48, 48)
    images = smooth_images(18, 3, 48, 48)
    first = impute(images, removed, native=native)
    assert torch.equal(first, impute(images, removed, native=native))


@pytest.mark.skipif(not native_available(), reason="no C compiler here")
def test_the_engines_agree():
    removed = torch.cat([road_masks(45, 52), special_masks(45, 52)])
    images = smooth_images(len(removed), 3, 45, 52)
    torch.testing.assert_close(
        impute(images, removed, native=True), impute(images, removed), atol=1e-2, rtol=0
    )


def test_noise_is_added_to_removed_pixels_only(native):
    removed = torch.cat([road_masks(24, 20), special_masks(24, 20)])
    images = smooth_images(5, 3, 24, 20)
    noise = torch.randn(5, 3, 24, 20, generator=torch.Generator().manual_seed(0))
    index = torch.arange(len(removed)) % 5
    found = impute(images, removed, index=index, native=native, noise=noise)
    expected = impute(images[index], removed, native=native) + removed[:, None] * noise[index]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 3e38])
def test_one_pixel_that_is_not_finite_does_not_spoil_the_next_image(value, native):
    """In the last column, far from a hole whose rows of vectors end before it."""
    images = smooth_images(2, 1, 36, 29)
    expected = impute(images, road_masks(36, 29)[[0, 0]], native=native)[1]
    for (y, x), hole in (((18, 28), (19, 15)), ((33, 28), (31, 8)), ((13, 28), (14, 3))):
        removed = road_masks(36, 29)[[0, 0]]
        removed[0] = False
        removed[0][hole] = True
        spoilt = images.clone()
        spoilt[0, 0, y, x] = value
        found = impute(spoilt, removed, native=native, largest=1.0)[1]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("colours", [3, 5])
def test_colours_that_are_solved_one_by_one_agree(colours, native, monkeypatch):
    monkeypatch.setattr(c_engine, "CACHE", 0)
    removed = road_masks(33, 20)
    images = smooth_images(len(removed), colours, 33, 20)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    found = impute(images, removed, native=native, noise=noise)
    expected = impute_exact(images.double(), removed) + removed[:, None] * noise
    error = (found - expected).abs().amax(1)[removed]
    assert error.quantile(0.999) <= 1e-2
    assert error.max() <= 2e-2


def test_an_image_that_is_not_finite_does_not_spoil_the_next(native):
    removed = road_masks(20, 20)
    images = smooth_images(len(removed), 3, 20, 20)
    spoilt = images.clone()
    spoilt[4] = torch.nan
    spoilt[9, 1] = torch.inf
    found, expected = (impute(i, removed, native=native) for i in (spoilt, images))
    others = [i for i in range(len(removed)) if i not in (4, 9)]
    torch.testing.assert_close(found[others], expected[others], atol=1e-5, rtol=0)


def test_strided_input_and_an_empty_batch(native):
    removed = road_masks(16, 24)
    images = smooth_images(18, 3, 16, 24)
    expected = impute(images, removed, native=native)
    strided = images.to(memory_format=torch.channels_last)
    assert torch.equal(impute(strided, removed, native=native), expected)
    turned = removed.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(impute(images, turned, native=native), expected)
    assert impute(images[:0], removed[:0], native=native).shape == (0, 3, 16, 24)


def test_bad_input_is_named():
    images, removed = torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.bool)
    with pytest.raises(DataError, match=r"float32 or float64 tensor \[B, C, H, W\]"):
        impute(images[0], removed)
    with pytest.raises(DataError, match=r"torch\.uint8"):
        impute(images.to(torch.uint8), removed)
    with pytest.raises(DataError, match=r"bool tensor \[B, H, W\] = \[2, 8, 8\]"):
        impute(images, removed[:1])
    with pytest.raises(DataError, match="True where a pixel is missing"):
        impute_exact(images, removed.float())
    with pytest.raises(DataError, match="image 1 has no known pixel"):
        impute(images, removed.index_fill(0, torch.tensor([1]), True))
    with pytest.raises(DataError, match="at least 2x2"):
        impute(images[..., :1], removed[..., :1])
    for tolerance in (0.0, -1.0, float("nan")):
        with pytest.raises(OptionError, match="tolerance must be positive"):
            impute(images, removed, tolerance=tolerance)


def test_rows_and_noise_that_fit_no_image_are_refused(native):
    images, removed = torch.rand(2, 1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool)
    removed[0, 2:5, 2:5] = True
    for place in (2, -1):
        with pytest.raises(DataError, match="images 0 to 1"):
            impute(images, removed, index=torch.tensor([place]), native=native)
    with pytest.raises(DataError, match=r"int64 tensor \[B\]"):
        impute(images, removed, index=torch.tensor([0], dtype=torch.int32), native=native)
    with pytest.raises(DataError, match="noise must be like the images"):
        impute(images, removed, index=torch.tensor([1]), native=native, noise=images[:1])
