"""The imputer of volumes: the stated 26-neighbour system, and what it shares with images."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sycam.errors import DataError
from sycam.metrics.imputation.impute import impute, impute_exact

WEIGHTS = {1: 1 / 14, 2: 1 / 28, 3: 1 / 56}  # by the number of steps: face, edge, corner


def smooth(*shape: int, seed: int = 0) -> torch.Tensor:
    """``[1, 2, D, H, W]`` of unit variance, with structure at two scales."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 2, 3, 3, 3, generator=generator)
    total = F.interpolate(coarse, shape, mode="trilinear")
    total += 0.2 * torch.randn(total.shape, generator=generator)
    return (total - total.mean()) / total.std()


def holes(*shape: int) -> torch.Tensor:
    """The hottest tenth, half and nine tenths of a smooth map, one known voxel, known corners."""
    generator = torch.Generator().manual_seed(1)
    heat = F.interpolate(torch.rand(1, 1, 3, 3, 3, generator=generator), shape, mode="trilinear")
    ranks = heat.flatten().argsort().argsort().view(shape)
    masks = [ranks >= (1 - share) * ranks.numel() for share in (0.1, 0.5, 0.9)]
    one, corners = torch.ones(2, *shape, dtype=torch.bool)
    one[shape[0] // 2, 1, 0] = False
    corners[0, 0, 0] = corners[-1, -1, -1] = False
    return torch.stack([*masks, one, corners])


def test_voxels_solve_the_stated_system():
    """Against a dense solve written from the definition, voxel by voxel."""
    shape = (4, 5, 6)
    generator = np.random.default_rng(0)
    volume = generator.normal(size=(2, *shape))
    removed = generator.random(shape) < 0.6
    removed[0, 0, 0], removed[3, 4, 5], removed[2, 2, 2] = True, True, False
    matrix, right = np.zeros((120, 120)), np.zeros((120, 2))
    for place in product(*map(range, shape)):
        row = np.ravel_multi_index(place, shape)
        if not removed[place]:
            matrix[row, row], right[row] = 1, volume[:, *place]
            continue
        for step in product((-1, 0, 1), repeat=3):
            there = tuple(p + s for p, s in zip(place, step, strict=True))
            inside = all(0 <= p < side for p, side in zip(there, shape, strict=True))
            if inside and any(step):
                weight = WEIGHTS[sum(map(abs, step))]
                matrix[row, np.ravel_multi_index(there, shape)] += weight
                matrix[row, row] -= weight
    expected = np.linalg.solve(matrix, right).T.reshape(2, *shape)
    given = torch.from_numpy(volume)[None], torch.from_numpy(removed)[None]
    np.testing.assert_allclose(impute_exact(*given)[0].numpy(), expected, atol=1e-12)
    close = impute(*given, tolerance=1e-9)
    np.testing.assert_allclose(close[0].numpy(), expected, atol=1e-8)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-5])
@pytest.mark.parametrize("shape", [(8, 12, 12), (2, 30, 8), (2, 2, 40), (13, 9, 14)])
def test_agrees_with_the_exact_solution(shape, tolerance):
    removed = holes(*shape)
    volumes = smooth(*shape).expand(len(removed), -1, -1, -1, -1)
    found = impute(volumes, removed, tolerance=tolerance, native=True)
    error = (found - impute_exact(volumes.double(), removed)).abs().amax(1)
    assert error.max() <= 5 * tolerance
    error = error[:3][removed[:3]]  # where more than a voxel or two are known
    assert error.quantile(0.999) <= tolerance
    assert error.square().mean().sqrt() <= tolerance / 4


@pytest.mark.parametrize("slices", [2, 5])
def test_equal_slices_are_filled_as_one_slice_is(slices):
    removed = holes(5, 12, 9)[:3, 2]
    images = smooth(5, 12, 9)[:, :, 2].expand(3, -1, -1, -1).double()
    flat = impute_exact(images, removed)
    volumes = images[:, :, None].expand(-1, -1, slices, -1, -1)
    masks = removed[:, None].expand(-1, slices, -1, -1)
    expected = flat[:, :, None].expand_as(volumes)
    torch.testing.assert_close(impute_exact(volumes, masks), expected, atol=1e-10, rtol=0)
    close = impute(volumes, masks, tolerance=1e-6)
    torch.testing.assert_close(close, expected, atol=1e-6, rtol=0)


def test_known_voxels_stay_and_removed_ones_are_not_read():
    removed, volume = holes(6, 7, 8), smooth(6, 7, 8)
    index = torch.zeros(len(removed), dtype=torch.int64)
    filled = impute(volume, removed, index=index)
    known = ~removed[:, None].expand_as(filled)
    assert torch.equal(filled[known], volume.expand_as(filled)[known])
    spoilt = volume.expand_as(filled).masked_fill(removed[:, None], torch.nan)
    assert torch.equal(impute(spoilt, removed), filled)
    noise = torch.randn(volume.shape, generator=torch.Generator().manual_seed(0))
    noisy = impute(volume, removed, index=index, noise=noise)
    torch.testing.assert_close(noisy, filled + removed[:, None] * noise, atol=1e-6, rtol=0)


def test_bad_volumes_are_named():
    volume, removed = torch.zeros(1, 1, 4, 4, 4), torch.ones(1, 4, 4, 4, dtype=torch.bool)
    with pytest.raises(DataError, match="no known pixel"):
        impute(volume, removed)
    with pytest.raises(DataError, match=r"= \[1, 4, 4, 4\]"):
        impute(volume, removed[:, 0])
    with pytest.raises(DataError, match="volumes 2x2x2"):
        impute(volume[:, :, :1], removed[:, :1])
