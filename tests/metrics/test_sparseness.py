"""Sparseness and entropy worked by hand, at their extremes and under what they must not see."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sycam.metrics import Context, Entropy, Sparseness
from sycam.metrics.pixel_order import ascending

METRICS = [Sparseness(), Entropy()]


def context(count: int, size: tuple[int, ...]) -> Context:
    images = torch.zeros(count, 1, *size)
    nothing = torch.zeros(count)
    return Context(images, nothing, nothing, None, [str(i) for i in range(count)])


def test_scores_worked_by_hand():
    heat = torch.tensor([[0.0, 0.25], [1.0, 0.75]])[None, None]
    # (-3 * 0 - 1 * 0.25 + 1 * 0.75 + 3 * 1) / (4 * 2)
    assert Sparseness().score(heat, context(1, (2, 2))).item() == pytest.approx(3.5 / 8)
    shares = (0.125, 0.5, 0.375)
    nats = -sum(p * math.log(p) for p in shares)
    assert Entropy().score(heat, context(1, (2, 2))).item() == pytest.approx(nats / math.log(4))


@pytest.mark.parametrize("size", [(4, 4), (300, 200), (8, 9, 10)])
def test_extremes_and_bounds(size):
    ctx = context(1, size)
    pixels = math.prod(size)
    one_pixel = torch.zeros(pixels)
    one_pixel[3] = 1.0
    maps = torch.stack([torch.zeros(pixels), torch.full((pixels,), 0.3), one_pixel])
    maps = maps.view(3, 1, *size)
    sparseness, entropy = (m.score(maps, ctx)[:, 0].tolist() for m in METRICS)
    assert sparseness == pytest.approx([0, 0, 1 - 1 / pixels], abs=1e-6)
    assert entropy == pytest.approx([1, 1, 0], abs=1e-6)
    assert [m.bound(ctx).item() for m in METRICS] == pytest.approx([sparseness[2], entropy[2]])


@given(st.integers(0, 10_000), st.floats(1e-3, 1e3))
@settings(max_examples=25, deadline=None)
def test_neither_scale_nor_place_nor_batch_mates_matter(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(2, 3, 6, 5, generator=generator).sub(0.3).clamp(min=0)
    moved = maps.flatten(2)[..., torch.randperm(30, generator=generator)].view_as(maps)
    for metric in METRICS:
        before = metric.score(maps, context(3, (6, 5)))
        after = metric.score(moved * scale, context(3, (6, 5)))
        torch.testing.assert_close(after, before, rtol=0, atol=1e-5)
        alone = metric.score(maps[1:, 2:], context(1, (6, 5)))
        assert torch.equal(alone[0, 0], before[1, 2])


def test_heatmaps_of_a_bfloat16_network_are_sorted():
    """numpy, which sorts on a CPU, does not know bfloat16."""
    values = torch.tensor([0.5, 0.25, 1.0], dtype=torch.bfloat16)
    assert ascending(values).tolist() == [0.25, 0.5, 1.0]
