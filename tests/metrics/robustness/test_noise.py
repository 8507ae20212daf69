"""Noise is what its definition says, in units of the image, and belongs to the image alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sycam.errors import OptionError
from sycam.metrics import Context, Noise
from sycam.metrics.robustness.noise import KINDS


def context(images, digests=None):
    digests = digests or [f"image {i}" for i in range(len(images))]
    return Context(images, torch.zeros(len(images)), torch.ones(len(images)), None, digests)


@pytest.fixture
def images():
    """Three images of range 4 (from -1), 8 (from -2) and 12 (from -3)."""
    drawn = torch.rand(3, 3, 40, 30, generator=torch.Generator().manual_seed(1))
    low, high = drawn.amin((1, 2, 3), keepdim=True), drawn.amax((1, 2, 3), keepdim=True)
    return (4 * (drawn - low) / (high - low) - 1) * torch.tensor([1.0, 2, 3])[:, None, None, None]


SPAN = torch.tensor([4.0, 8, 12])[:, None, None, None]


def test_gaussian_noise_is_normal_with_a_share_of_the_range_as_deviation(images):
    drawn = (Noise("gaussian", 0.25).applied(context(images)) - images) / (0.25 * SPAN)
    assert drawn.mean().item() == pytest.approx(0, abs=0.03)
    assert drawn.std().item() == pytest.approx(1, abs=0.03)
    assert drawn.abs().max() > 3


def test_uniform_noise_fills_the_ball_and_stays_in_it(images):
    drawn = (Noise("uniform", 0.25).applied(context(images)) - images) / (0.25 * SPAN)
    assert drawn.abs().max().item() == pytest.approx(1, abs=1e-3)
    assert drawn.abs().max() <= 1 + 1e-5
    assert drawn.std().item() == pytest.approx(3**-0.5, abs=0.02)


def test_speckle_grows_with_brightness_and_spares_the_darkest_pixel(images):
    noisy = Noise("speckle", 0.25).applied(context(images))
    low = images.amin((1, 2, 3), keepdim=True)
    dark = images == low
    assert torch.equal(noisy[dark], images[dark])
    drawn = ((noisy - images) / (0.25 * (images - low)))[images - low > 0.5]
    assert drawn.std().item() == pytest.approx(1, abs=0.03)


def test_salt_and_pepper_sets_whole_pixels_to_the_extremes(images):
    noisy = Noise("salt-and-pepper", 0.3).applied(context(images))
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    pepper, salt = (noisy == low).all(1), (noisy == high).all(1)
    assert pepper.float().mean().item() == pytest.approx(0.15, abs=0.02)
    assert salt.float().mean().item() == pytest.approx(0.15, abs=0.02)
    kept = ~(pepper | salt)[:, None].expand_as(images)
    assert torch.equal(noisy[kept], images[kept])


def test_blur_is_a_gaussian_of_a_share_of_the_shorter_side(images):
    blurred = Noise("blur", 0.05).applied(context(images))
    expected = ndimage.gaussian_filter(images[0, 0].double().numpy(), 0.05 * 30, truncate=9)
    middle = slice(14, -14), slice(14, -14)  # away from the border, which scipy reflects
    assert np.allclose(blurred[0, 0].numpy()[middle], expected[middle], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_of_an_image_depends_on_its_content_alone(kind, images):
    noise, before = Noise(kind, 0.1), images.clone()
    together = noise.applied(context(images))
    turned = noise.applied(context(images[[2, 0]], ["image 2", "image 0"]))
    assert torch.allclose(turned, together[[2, 0]], atol=1e-6)
    assert torch.equal(images, before)
    other = Noise(kind, 0.1, 1).applied(context(images))
    assert torch.equal(other, together) == (kind == "blur")


@given(st.sampled_from(sorted(KINDS)), st.floats(0.1, 50), st.floats(-20, 20))
@settings(max_examples=30, deadline=None)
def test_noise_scales_with_the_input_scale(kind, scale, shift):
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    noise = Noise(kind, 0.2)
    straight = noise.applied(context(images)) * scale + shift
    assert torch.allclose(noise.applied(context(images * scale + shift)), straight, atol=1e-3)


def test_volumes_have_noise_too():
    volumes = torch.rand(2, 1, 4, 6, 5)
    for kind in KINDS:
        assert Noise(kind, 0.1).applied(context(volumes)).shape == volumes.shape


@pytest.mark.parametrize(
    ("kind", "level", "message"),
    [
        ("gauss", 0.1, "expected 'gaussian' or"),
        ("gaussian", 0, "number above 0, got 0"),
        ("blur", float("nan"), "above 0"),
        ("salt-and-pepper", 1.5, "at most 1, got 1.5"),
    ],
)
def test_unknown_kinds_and_levels_are_refused(kind, level, message):
    with pytest.raises(OptionError, match=message):
        Noise(kind, level)
