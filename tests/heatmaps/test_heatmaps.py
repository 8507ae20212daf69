"""Weighted sums to heatmaps: against a loop by hand, flat maps, overflow, range."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sycam.heatmaps import finish, heatmaps, is_degenerate, norm01
from sycam.language import parse

TEXTS = ("mean(G)", "G", "relu(G)", "sum(G * A) / sum(A)", "mean(above(A, 1))", "neg(A)")


@pytest.fixture
def leaves() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(4)
    return {
        "activations": torch.rand(3, 5, 4, 3, generator=g),
        "gradients": torch.randn(3, 5, 4, 3, generator=g),
    }


def bilinear(grid: list[list[float]], height: int, width: int) -> list[list[float]]:
    """Bilinear upsampling with corners not aligned, by the textbook."""

    def taps(i: int, given: int, wanted: int) -> tuple[int, int, float]:
        x = max((i + 0.5) * given / wanted - 0.5, 0.0)
        low = math.floor(x)
        return low, min(low + 1, given - 1), x - low

    out = []
    for row in range(height):
        r0, r1, fr = taps(row, len(grid), height)
        line = []
        for column in range(width):
            c0, c1, fc = taps(column, len(grid[0]), width)
            top = grid[r0][c0] * (1 - fc) + grid[r0][c1] * fc
            bottom = grid[r1][c0] * (1 - fc) + grid[r1][c1] * fc
            line.append(top * (1 - fr) + bottom * fr)
        out.append(line)
    return out


def by_hand(weights: Tensor, activations: Tensor, size: tuple[int, int]) -> Tensor:
    """One image: ``norm01(up(relu(sum_k w_k A_k)))`` in Python's own numbers."""
    channels, h, w = activations.shape
    weights = weights.expand(channels, h, w).tolist()
    a = activations.tolist()
    grid = [
        [max(sum(weights[k][i][j] * a[k][i][j] for k in range(channels)), 0.0) for j in range(w)]
        for i in range(h)
    ]
    up = bilinear(grid, *size)
    low, high = min(map(min, up)), max(map(max, up))
    span = high - low
    return torch.tensor([[(v - low) / span if span else 0.0 for v in line] for line in up])


def test_heatmaps_equal_a_loop_by_hand(leaves):
    a, g = leaves["activations"], leaves["gradients"]
    size = (9, 13)
    found = heatmaps([parse(t) for t in TEXTS], leaves, size)
    assert found.maps.shape == (6, 3, 9, 13)
    assert found.maps.dtype == torch.float32
    deviation = a.std((2, 3), correction=0, keepdim=True)
    weights = [
        g.mean((2, 3), keepdim=True),
        g,
        g.clamp(min=0),
        (g * a).sum((2, 3), keepdim=True) / a.sum((2, 3), keepdim=True),
        (a > a.mean((2, 3), keepdim=True) + deviation).float().mean((2, 3), keepdim=True),
        -a,
    ]
    for p, expected in enumerate(weights):
        for n in range(3):
            torch.testing.assert_close(
                found.maps[p, n], by_hand(expected[n], a[n], size), rtol=0, atol=1e-5
            )
    assert found.finite.tolist() == [True] * 6
    assert found.degenerate.tolist() == [[False] * 3] * 5 + [[True] * 3]


def test_candidates_and_images_do_not_see_each_other(leaves):
    expressions = [parse(t) for t in TEXTS]
    together = heatmaps(expressions, leaves, (8, 8))
    for p, expression in enumerate(expressions):
        for n in range(3):
            one = {name: t[n : n + 1] for name, t in leaves.items()}
            alone = heatmaps([expression], one, (8, 8))
            torch.testing.assert_close(alone.maps[0, 0], together.maps[p, n], rtol=0, atol=1e-6)
            assert alone.degenerate[0, 0] == together.degenerate[p, n]


def sums(seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1.0, 1e20, 5e37])
def test_maps_fill_the_range_whatever_the_scale(scale):
    maps = finish(sums(scale=scale), (16, 16))
    assert maps.amin((-2, -1)).eq(0).all()
    assert maps.amax((-2, -1)).eq(1).all()
    tolerance = 1e-5 if scale > 1e-37 else 1e-2  # subnormal numbers have few digits
    torch.testing.assert_close(maps, finish(sums(), (16, 16)), rtol=0, atol=tolerance)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    exponent=st.floats(-30, 30),
    offset=st.floats(-5, 5),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_maps_stay_in_range(seed, exponent, offset, size):
    given_sums = (sums(seed) + offset) * 10**exponent
    maps = finish(given_sums, size)
    assert maps.isfinite().all()
    assert maps.min() >= 0
    assert maps.max() <= 1


@pytest.mark.parametrize("value", [0.3, 1e-30, 1e30, 7.0, 0.1])
@pytest.mark.parametrize("grid", [(1, 1), (3, 3), (7, 5)])
def test_a_constant_map_becomes_zeros(value, grid):
    """Upsampling a constant leaves rounding errors, which scaling once blew up to the range."""
    flat = torch.full((1, 2, *grid), value)
    assert is_degenerate(flat).all()
    for size in ((64, 64), (33, 17), grid):
        assert not finish(flat, size).any()


def test_a_map_without_positive_sums_is_degenerate_and_zero():
    negative = -sums().abs()
    assert is_degenerate(negative).all()
    assert not finish(negative, (8, 8)).any()
    assert is_degenerate(torch.zeros(1, 1, 3, 3)).all()
    assert not finish(torch.zeros(1, 1, 3, 3), (8, 8)).any()


@pytest.mark.parametrize(
    ("low", "high", "other", "degenerate"),
    [
        (1.0, 1.0 + 9e-7, 1.0, True),  # range just below 1e-6 of the largest
        (1.0, 1.0 + 1.2e-6, 1.0, False),
        (0.0, 9e-7, -1.0, True),  # the largest |sum| is of a negative one, cut by the ReLU
        (0.0, 1.2e-6, -1.0, False),
        (0.0, 1e-30, 0.0, False),  # small, but next to nothing larger
        (-1.0, -0.5, -3.0, True),
    ],
)
def test_degenerate_is_relative_to_the_largest_sum_before_the_relu(low, high, other, degenerate):
    grid = torch.full((1, 1, 2, 2), low, dtype=torch.float64)
    grid[..., 0, 0], grid[..., 1, 1] = high, other
    for scale in (1e-20, 1.0, 1e20):
        assert bool(is_degenerate(grid * scale)) is degenerate
        assert bool(finish(grid * scale, (6, 6)).any()) is not degenerate


def test_overflow_is_told_and_leaves_no_nan(leaves):
    """In float32 the cube of e^20 squared is infinite; the difference of two such is NaN."""
    big = {name: t * 1e18 for name, t in leaves.items()}
    texts = ("mean(G)", "cube(A)", "cube(A) - cube(G)", "relu(G)")
    found = heatmaps([parse(t) for t in texts], big, (8, 8))
    assert found.finite.tolist() == [True, False, False, True]
    assert found.maps.isfinite().all()
    assert found.maps.min() >= 0
    assert found.maps.max() <= 1


def test_one_overflowing_image_marks_the_candidate_only(leaves):
    leaves["activations"][1] *= 1e30
    found = heatmaps([parse("mean(G)"), parse("square(A)")], leaves, (8, 8))
    assert found.finite.tolist() == [True, False]
    assert found.maps.isfinite().all()


def test_norm01():
    maps = torch.rand(4, 3, 7, 7, generator=torch.Generator().manual_seed(2)) * 9 - 4
    scaled = norm01(maps)
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    torch.testing.assert_close(scaled, (maps - low) / (high - low))
    assert torch.equal(norm01(scaled), scaled)
    assert not norm01(torch.full((1, 5, 5), 3.0)).any()
    assert torch.equal(norm01(maps.flatten(0, 1)), scaled.flatten(0, 1))
