"""Views of images: crops of theirs, mirrored or not, with colours moved within bounds."""

from __future__ import annotations

import pytest
import torch

from sycam.applications.pixels import PixelScale
from sycam.applications.segmentation import views
from sycam.applications.segmentation.views import random_view, two_views

SCALE = PixelScale((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
COUNT = 200


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramps(channels: int) -> torch.Tensor:
    """Pixels ``[N,C,16,24]``: where they lie across, where they lie down, and again."""
    across, down = (((torch.arange(side) + 0.5) / side) for side in (24, 16))
    pair = [across.expand(16, 24), down[:, None].expand(16, 24)]
    return torch.stack([pair[i % 2] for i in range(channels)]).expand(COUNT, -1, -1, -1)


def test_a_view_is_a_crop_of_the_image_itself(monkeypatch):
    """Told by the places of its pixels: area and sides within bounds, mirrored half of the time."""
    monkeypatch.setattr(views, "JITTERED", 0.0)
    scale = PixelScale((0.4, 0.5), (0.2, 0.3))
    seen = scale.pixels(random_view(scale.inputs(ramps(2)), scale, drawn()))
    assert seen.shape == (COUNT, 2, 16, 24)
    assert seen.min() >= 0
    assert seen.max() <= 1
    across, down = seen[:, 0], seen[:, 1]
    torch.testing.assert_close(across, across[:, :1].expand_as(across))  # rows stay rows
    width = (across[:, 0, 12] - across[:, 0, 11]) * 24
    height = (down[:, 8, 0] - down[:, 7, 0]) * 16
    assert (height > 0).all()
    assert 0.35 < (width < 0).float().mean() < 0.65
    area, ratio = width.abs() * height, width.abs() / height
    assert area.min() >= 0.2 * 0.99
    assert area.max() > 0.9
    assert area.mean() == pytest.approx(0.6, abs=0.05)
    assert ((ratio > 0.74) & (ratio < 1.35)).all()
    middle = seen[:, :, 7:9, 11:13].mean((2, 3))
    assert middle.std(0).min() > 0.06  # here and there


def test_brightness_and_contrast_are_moved_within_bounds(monkeypatch):
    """Of one channel: the image times a factor, and its distances from its mean times another."""
    monkeypatch.setattr(views, "AREAS", (1.0, 1.0))
    monkeypatch.setattr(views, "RATIOS", (1.0, 1.0))
    scale, pixels = PixelScale((0.4,), (0.2,)), ramps(1)
    seen = scale.pixels(random_view(scale.inputs(pixels), scale, drawn()))
    bright = seen.mean((1, 2, 3)) / pixels.mean((1, 2, 3))
    contrast = seen.std((1, 2, 3)) / pixels.std((1, 2, 3)) / bright
    for factor in (bright, contrast):
        assert factor.min() >= 0.6 - 1e-4
        assert factor.max() <= 1.4 + 1e-4
        assert factor.std() > 0.15
    left = ((bright - 1).abs() < 1e-4) & ((contrast - 1).abs() < 1e-4)
    assert left.float().mean() == pytest.approx(0.2, abs=0.1)


def test_grey_images_stay_grey_and_colours_are_sometimes_lost():
    grey = ramps(1).expand(-1, 3, -1, -1)
    seen = SCALE.pixels(random_view(SCALE.inputs(grey), SCALE, drawn()))
    torch.testing.assert_close(seen, seen[:, :1].expand_as(seen), atol=1e-5, rtol=0)
    seen = SCALE.pixels(random_view(SCALE.inputs(ramps(3)), SCALE, drawn()))
    lost = (seen - seen[:, :1]).abs().amax((1, 2, 3)) < 1e-5
    assert lost.float().mean() == pytest.approx(0.16, abs=0.08)  # a fifth of four fifths


def test_both_views_of_an_image_are_its_own_and_the_generator_decides_them():
    images = SCALE.inputs(ramps(3) * torch.arange(COUNT)[:, None, None, None] / COUNT)
    both = two_views(images, SCALE, drawn())
    assert torch.equal(both, two_views(images, SCALE, drawn()))
    assert not torch.equal(both, two_views(images, SCALE, drawn(1)))
    first, second = (SCALE.pixels(half).amax((1, 2, 3)) for half in both.split(COUNT))
    assert not torch.equal(first, second)
    for seen in (first, second):
        assert torch.corrcoef(torch.stack([seen, torch.arange(COUNT).float()]))[0, 1] > 0.8
