"""Every operator: the conformance test, and what each computes, by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sycam.language import OPERATORS, Operator, numerics
from sycam.language.signatures import HOMOGENEOUS, SCALE_FREE
from sycam.testing import check_operator
from sycam.testing.tensors import SHAPES, random

COMPUTED = [op for op in OPERATORS.values() if not op.is_leaf]


@pytest.mark.parametrize("op", COMPUTED, ids=lambda op: op.name)
def test_every_operator_passes_the_conformance_test(op: Operator):
    """No NaN, shapes, independence of images and channels, and the declared laws; all of them."""
    report = check_operator(op)
    assert report.inputs >= 34 * len(op.overloads)
    assert report.foldable
    assert report.hints == ()  # a law that holds is declared: the search is quicker for it


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), c=st.floats(1e-3, 1e3))
def test_scaling_laws_hold_for_any_positive_factor(seed, c):
    for op in OPERATORS.values():
        if not op.laws & {SCALE_FREE, HOMOGENEOUS}:
            continue
        for overload in op.overloads:
            arguments = [random(s, seed + i) for i, s in enumerate(overload.arguments)]
            activations = random("map", seed + 9)
            value = overload.compute(arguments, activations)
            made = overload.compute([c * arguments[0], *arguments[1:]], activations)
            expected = value if SCALE_FREE in op.laws else c * value
            torch.testing.assert_close(made, expected, rtol=1e-9, atol=1e-12 * max(c, 1))


# --- what the operators compute, by hand ---------------------------------------------------------


def test_reductions_against_loops():
    t = random("map", 5)
    for n in range(2):
        for k in range(6):
            places = sorted(t[n, k].flatten().tolist())
            average = sum(places) / 20
            deviation = (sum((p - average) ** 2 for p in places) / 20) ** 0.5
            expected = {
                "mean": average,
                "sum": sum(places),
                "max": places[-1],
                "min": places[0],
                "std": deviation,
                "topmean": (places[-1] + places[-2]) / 2,
            }
            for name, number in expected.items():
                got = OPERATORS[name].overload(("map",)).function(t)[n, k, 0, 0]
                assert got.item() == pytest.approx(number, rel=1e-12), name


@pytest.mark.parametrize(("places", "count"), [(1, 1), (9, 1), (10, 1), (11, 2), (49, 5)])
def test_topmean_takes_a_tenth_of_the_places_rounded_up(places, count):
    t = torch.arange(places, dtype=torch.float64).view(1, 1, places)
    expected = sum(range(places - count, places)) / count
    assert numerics.topmean(t).item() == pytest.approx(expected)


def test_elementwise_operators_on_known_numbers():
    t = torch.tensor([-4.0, -0.25, 0.0, 0.25, 4.0], dtype=torch.float64).view(5, 1, 1)
    log = torch.tensor([1.25, 5.0], dtype=torch.float64).log()
    expected = {
        "relu": [0, 0, 0, 0.25, 4],
        "abs": [4, 0.25, 0, 0.25, 4],
        "neg": [4, 0.25, 0, -0.25, -4],
        "square": [16, 0.0625, 0, 0.0625, 16],
        "cube": [-64, -0.015625, 0, 0.015625, 64],
        "symlog": [-log[1], -log[0], 0, log[0], log[1]],
        "symsqrt": [-2, -0.5, 0, 0.5, 2],
        "sign": [-1, -1, 0, 1, 1],
        "exp": t.flatten().exp().tolist(),
        "normalize": [-4 / 8.5, -0.25 / 8.5, 0, 0.25 / 8.5, 4 / 8.5],
    }
    for name, numbers in expected.items():
        got = OPERATORS[name].overload(("weight",)).function(t).flatten()
        torch.testing.assert_close(got, torch.tensor(numbers, dtype=torch.float64), msg=name)
    assert numerics.exponential(torch.tensor(1e6)) == numerics.exponential(torch.tensor(20.0))


def test_a_constant_channel_has_exactly_no_deviation():
    """Averaging 0.1 leaves rounding errors, which a division would blow up."""
    for dtype in (torch.float32, torch.float64):
        for value in (0.1, -3.3, 1e-30, 1e18):
            t = torch.full((2, 3, 7, 7), value, dtype=dtype)
            assert not numerics.std(t).any()
            assert not numerics.minmax(t).any()
            assert not numerics.above(t, torch.ones(1, 1, 1, dtype=dtype)).any()


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e18, 1e30])
def test_deviation_neither_underflows_nor_overflows(scale):
    """The square of 1e-30 is 0 in float32, and that of 1e30 infinite."""
    t = random("map", 2).float()
    two = torch.full((1, 1, 1), 0.5)
    expected = scale * t.double().std((-2, -1), correction=0, keepdim=True)
    torch.testing.assert_close(numerics.std(t * scale).double(), expected, rtol=1e-5, atol=0)
    assert torch.equal(numerics.above(t * scale, two), numerics.above(t, two))
    assert 0 < numerics.above(t, two).mean() < 0.5


def test_above_counts_places_beyond_the_deviation():
    t = torch.tensor([0.0, 0, 0, 0, 10]).view(1, 1, 5)  # mean 2, deviation 4
    for k, expected in ((1.0, 1), (1.9, 1), (2.1, 0)):
        assert numerics.above(t, torch.full((1, 1, 1), k)).sum() == expected


def test_minmax_and_softmax():
    t = random("map", 8)
    scaled = numerics.minmax(t)
    assert torch.equal(scaled.amin((-2, -1)), torch.zeros(2, 6, dtype=torch.float64))
    assert torch.equal(scaled.amax((-2, -1)), torch.ones(2, 6, dtype=torch.float64))
    shares = numerics.softmax_channels(random("weight", 8))
    torch.testing.assert_close(shares.sum(-3).flatten(), torch.ones(2, dtype=torch.float64))


# --- division ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("denominator", ["scalar", "weight", "map"])
def test_division_is_division_where_the_denominator_is_not_tiny(denominator, dtype):
    a, b = random("map", 1, dtype), random(denominator, 2, dtype)
    for scale in (1e-30, 1e-3, 1.0, 1e18):
        torch.testing.assert_close(
            numerics.divide(a, b * scale), a / (b * scale), rtol=1e-5, atol=0
        )


def test_division_by_nothing_is_nothing():
    a = random("map", 1)
    b = random("map", 2)
    b[0] = 0
    b[1, 2, 3] = 0
    value = numerics.divide(a, b)
    assert not value[0].any()
    assert not value[1, 2, 3].any()
    assert value[1, 0].all()


def test_division_follows_its_definition_near_zero():
    """``a b / (b^2 + e^2)``, e = 1e-6 of the largest |b| in the image's tensor."""
    a = random("map", 1)
    b = random("map", 2) * torch.logspace(-9, 0, 120, dtype=torch.float64).view(6, 5, 4)
    e = 1e-6 * b.abs().amax((-3, -2, -1), keepdim=True)
    torch.testing.assert_close(numerics.divide(a, b), a * b / (b * b + e * e), rtol=1e-9, atol=0)


@settings(max_examples=50, deadline=None)
@given(exponent=st.integers(-80, 60))
def test_division_is_scale_free_in_both_arguments(exponent):
    a, b = random("map", 3).float(), random("map", 4).float()
    b[..., 0] = 0
    b[..., 1] *= 1e-7
    c = 2.0**exponent
    value = numerics.divide(a, b)
    assert torch.equal(numerics.divide(a, c * b), value / c)
    assert torch.equal(numerics.divide(c * a, b), value * c)
    # An image's scale is its own.
    both = numerics.divide(a, b * torch.tensor([1.0, c]).view(2, 1, 1, 1))
    assert torch.equal(both[0], value[0])


def test_smooth_is_a_binomial_blur_that_keeps_constants_and_the_sum_inside():
    spike = torch.zeros(1, 1, 5, 5)
    spike[..., 2, 2] = 16.0
    expected = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]])
    assert torch.equal(numerics.smooth(spike)[0, 0, 1:4, 1:4], expected)
    flat = torch.full((2, 3, 4, 1), 0.7)
    torch.testing.assert_close(numerics.smooth(flat), flat)


@pytest.mark.parametrize("sort", ["weight", "map"])
def test_smoothing_weights_blurs_the_weighted_sum(sort):
    weights, activations = random(sort, 1), random("map", 2)
    (overload,) = [o for o in OPERATORS["smooth"].overloads if o.arguments == (sort,)]
    heat = overload.compute([weights], activations)
    assert heat.shape == (2, *SHAPES["heat"])
    by_hand = torch.stack([(w * a).sum(0) for w, a in zip(weights, activations, strict=True)])
    torch.testing.assert_close(heat, numerics.smooth(by_hand[:, None]))
