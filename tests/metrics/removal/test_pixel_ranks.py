"""Ranks of pixels: values first, then their blur, then a permutation, each rank once."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from sycam.metrics.removal import pixel_ranks
from sycam.metrics.removal.pixel_ranks import (
    gaussian_blur,
    mask_keys,
    ranked_between,
    relevance_ranks,
)


def in_torch():
    """Within this context no function of the C file serves."""
    return mock.patch.object(pixel_ranks, "ranks_library", return_value=None)


def by_definition(maps: torch.Tensor, shuffles: torch.Tensor, blurred: torch.Tensor) -> np.ndarray:
    """Python's sort of (value, blur, place in the permutation), pixel by pixel."""
    P, N, pixels = maps.flatten(2).shape
    ranks = np.empty((P, N, pixels), np.int32)
    for p in range(P):
        for n in range(N):
            value, blur = maps[p, n].flatten().tolist(), blurred[p, n].flatten().tolist()
            place = {int(pixel): i for i, pixel in enumerate(shuffles[n])}
            order = sorted(range(pixels), key=lambda i: (-value[i], -blur[i], place[i]))
            ranks[p, n, order] = np.arange(pixels)
    return ranks


def shuffles_of(images: int, pixels: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(pixels, generator=generator) for _ in range(images)])


@settings(max_examples=30, deadline=None)
@given(
    levels=st.sampled_from([1, 2, 3, 20, 10**6]),
    scale=st.sampled_from([1.0, 1e-30, 7.0]),
    height=st.integers(2, 9),
    seed=st.integers(0, 1000),
)
def test_ranks_are_those_of_the_definition(levels, scale, height, seed):
    """Maps with no ties, some, and nothing else."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randint(0, levels, (3, 2, height, 7), generator=generator) * (scale / levels)
    maps[1] = torch.rand(2, height, 7, generator=generator)  # beside tied maps
    shuffles = shuffles_of(2, height * 7, seed)
    # What is blurred together decides the last bits.
    blurred = torch.cat([gaussian_blur(part, min(height, 7) / 8) for part in maps.split(1)])
    expected = by_definition(maps, shuffles, blurred)
    found = relevance_ranks(maps, shuffles)
    np.testing.assert_array_equal(found.numpy(), expected)
    assert found.dtype == torch.int32
    with in_torch():
        np.testing.assert_array_equal(relevance_ranks(maps, shuffles).numpy(), expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40))
def test_masks_are_the_pixels_between_two_ranks(seed, pixels):
    generator = torch.Generator().manual_seed(seed)
    ranks = torch.stack([torch.randperm(pixels, generator=generator) for _ in range(3)]).int()
    rows = torch.randint(0, 3, (8,), generator=generator)
    bounds = torch.randint(0, pixels + 1, (8, 2), generator=generator).int()
    found = ranked_between(ranks, rows, bounds)
    assert torch.equal(ranked_between(ranks.long(), rows.int(), bounds.long()), found)
    for row, (first, end), mask in zip(rows.tolist(), bounds.tolist(), found, strict=True):
        assert mask.tolist() == [first <= rank < end for rank in ranks[row].tolist()]
    with in_torch():
        assert torch.equal(ranked_between(ranks, rows, bounds), found)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_equal_masks_of_one_image_and_no_others_have_equal_keys(seed):
    generator = torch.Generator().manual_seed(seed)
    ranks = torch.stack([torch.randperm(4, generator=generator) for _ in range(12)]).int()
    ranks = ranks.view(6, 2, 4)
    bounds = torch.tensor([(i, j) for i in range(5) for j in range(i, 5)], dtype=torch.int32)
    bounds = bounds.expand(6, 2, -1, -1)
    keys = mask_keys(ranks, bounds)
    rows = torch.arange(12).repeat_interleave(bounds.shape[2])
    masks = ranked_between(ranks.flatten(0, 1), rows, bounds.flatten(0, 2)).view(*keys.shape, 4)
    seen = {}
    for p, n, m in np.ndindex(*keys.shape):
        seen.setdefault(int(keys[p, n, m]), set()).add((n, *masks[p, n, m].tolist()))
    assert all(len(alike) == 1 for alike in seen.values())
    assert len(seen) == len(set().union(*seen.values()))
    with in_torch():
        assert torch.equal(mask_keys(ranks, bounds), keys)


def test_a_map_alone_is_ranked_as_among_others():
    maps = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    maps[::2] = maps[::2].mul(6).round() / 6
    shuffles = shuffles_of(3, 256)
    together = relevance_ranks(maps, shuffles)
    for p in range(4):
        assert torch.equal(relevance_ranks(maps[p : p + 1], shuffles)[0], together[p])


def test_plateaus_are_removed_from_their_middle():
    """A constant map with one bump: the tied pixels follow in order of the distance from it."""
    maps = torch.zeros(1, 1, 21, 21)
    maps[0, 0, 10, 10] = 1.0
    ranks = relevance_ranks(maps, shuffles_of(1, 441)).view(21, 21)
    assert ranks[10, 10] == 0
    assert sorted(ranks[9:12, 9:12].flatten().tolist()) == list(range(9))


@pytest.mark.parametrize("shape", [(2, 3, 12, 10), (1, 2, 6, 12, 10)])
def test_the_blur_is_scipys_where_the_border_is_far(shape):
    maps = torch.zeros(shape)
    middle = tuple(size // 2 for size in shape[2:])
    maps[(..., *middle)] = 1.0
    found = gaussian_blur(maps, 0.5)[0, 0]
    expected = gaussian_filter(maps[0, 0].numpy(), 0.5, truncate=10, mode="constant")
    places = tuple(slice(m - 1, m + 2) for m in middle)
    np.testing.assert_allclose(found[places].numpy(), expected[places], rtol=2e-3)
