"""Exits and attention: the forward pass by hand, scaling, weights that sum to 1."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sycam
from sycam.applications.segmentation.attention import ExitAttention
from sycam.applications.segmentation.exits import (
    ExitPlace,
    MultiExit,
    between_extremes,
    logits_of,
    scaled,
)
from sycam.errors import LayerError

PLACES = (ExitPlace("stage1", 6), ExitPlace("stage2", 8))


def test_exits_are_a_convolution_of_the_layers_and_their_mean(encoder):
    images = torch.rand(3, 3, 16, 16)
    exits = MultiExit(encoder, PLACES).eval()
    with torch.no_grad():
        shallow = encoder.stage1(images)
        deep = encoder.stage2(shallow.clone())
        maps = exits.maps(exits.features(images))
        for one, features, exit_ in zip(maps, (shallow, deep), exits.exits, strict=True):
            expected = torch.einsum("k,nkhw->nhw", exit_.weight[0, :, 0, 0], features) + exit_.bias
            torch.testing.assert_close(one, expected)
        assert [one.shape for one in maps] == [(3, 16, 16), (3, 8, 8)]
        torch.testing.assert_close(exits(images), maps[1].mean((1, 2))[:, None])
        torch.testing.assert_close(logits_of(maps)[:, 0], maps[0].mean((1, 2)))


def test_a_cam_of_the_deepest_exit_is_its_map(encoder):
    """Its map is a weighted sum of channels, so Grad-CAM is the map's positive part, but for the
    constant that no channel has."""
    images = torch.rand(4, 3, 16, 16)
    exits = MultiExit(encoder, PLACES).eval()
    with torch.no_grad():
        exits.exits[1].bias.zero_()
        deep = exits.maps(exits.features(images))[1]
    heat = sycam.CAM(exits, "encoder.stage2", "grad-cam", output="logits")(images)
    large = torch.nn.functional.interpolate(deep.relu()[:, None], (16, 16), mode="bilinear")[:, 0]
    expected = large / large.amax((1, 2), keepdim=True)
    torch.testing.assert_close(heat, between_extremes(expected), atol=1e-5, rtol=0)


def test_a_layer_that_does_not_run_is_said(encoder):
    encoder.spare = torch.nn.Conv2d(3, 2, 1)
    with pytest.raises(LayerError, match="spare"):
        MultiExit(encoder, [ExitPlace("spare", 2)]).features(torch.rand(1, 3, 16, 16))


def test_maps_are_scaled_between_their_extremes_and_flat_ones_are_zero():
    maps = [torch.tensor([[[-4.0, 2.0], [0.0, -1.0]]]), torch.full((1, 3, 3), 0.1)]
    found = scaled(maps, (2, 2))
    assert found.shape == (1, 2, 2, 2)
    assert found[0, 0].flatten().tolist() == pytest.approx([0, 1, 4 / 6, 3 / 6])
    assert not found[0, 1].any()


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 100))
def test_attention_sums_to_one_and_stays_within_the_maps(exits, channels, seed):
    torch.manual_seed(seed)
    attention = ExitAttention(exits, channels)
    maps, images = torch.rand(2, exits, 5, 6), torch.randn(2, channels, 5, 6)
    with torch.no_grad():
        weights, heat = attention.weights(maps, images), attention(maps, images)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 5, 6))
    assert (weights >= 0).all()
    assert (heat <= maps.amax(1) + 1e-6).all()
    assert (heat >= maps.amin(1) - 1e-6).all()
