"""The synthetic pictures of the gallery."""

from __future__ import annotations

import pytest
import torch


@pytest.mark.parametrize("name", ["ultrasound", "brushed_metal"])
def test_the_mask_lies_on_what_is_darker_than_its_surroundings(name, benchmark_file):
    found = benchmark_file("look_alikes")
    images = found.pictures(getattr(found, name), 12, seed=5)
    assert images.images.shape == (12, 1, 128, 128)
    assert 0 <= images.images.min() < images.images.max() <= 1
    for picture, mask in zip(images.images[:, 0], images.masks.bool(), strict=True):
        assert 10 < mask.sum() < 0.15 * mask.numel()
        near = torch.nn.functional.max_pool2d(mask[None].float(), 9, 1, 4)[0].bool() & ~mask
        assert picture[mask].mean() < picture[near].mean()


def test_the_same_seed_draws_the_same_pictures(benchmark_file):
    found = benchmark_file("look_alikes")
    one, other = (found.pictures(found.ultrasound, 2, seed=1) for _ in range(2))
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.masks, other.masks)
