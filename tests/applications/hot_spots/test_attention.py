"""Gates on a backbone: nothing at first, learnt alone, and looked at by CAMs as any layer."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import sycam
from sycam.applications import AttentionNetwork, ablate
from sycam.applications.hot_spots.attention import GATES
from sycam.errors import LayerError, OptionError, UnknownNameError


def trained(network: nn.Module, images: torch.Tensor, **options) -> tuple[nn.Module, list[float]]:
    torch.manual_seed(0)
    found = AttentionNetwork(network, "3", images[:1], **options).train()
    labels = torch.arange(len(images)) % 5
    optimiser = torch.optim.Adam(found.learnt(), lr=0.02)
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(found(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return found.eval(), losses


@pytest.mark.parametrize("gates", [GATES, ("point",), ("spatial", "channel")])
def test_untrained_gates_leave_the_backbone_as_it_is(small_network, small_images, gates):
    before = copy.deepcopy(small_network.state_dict())
    found = AttentionNetwork(small_network, "3", small_images[:1], gates=gates)
    assert torch.equal(found(small_images), small_network(small_images))
    assert list(small_network.state_dict()) == list(before)
    assert not any(module._forward_hooks for module in found.modules())
    assert not found.training


def test_each_gate_learns_and_the_frozen_backbone_stays(small_network, small_images):
    for gate in GATES:
        found, losses = trained(small_network, small_images, gates=(gate,), reduction=1)
        assert losses[-1] < losses[0], gate
    found, losses = trained(small_network, small_images, reduction=1)
    assert losses[-1] < losses[0] - 0.03
    own, theirs = dict(small_network.named_parameters()), dict(found.backbone.named_parameters())
    for name, value in own.items():
        kept = theirs[name if not name.startswith("3.") else name.replace("3.", "3.inner.", 1)]
        assert torch.equal(kept, value)
    assert not torch.equal(found(small_images), small_network(small_images))


def test_frozen_batch_norms_do_not_move():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(8 * 196, 5),
    )  # fmt: skip
    images = torch.rand(6, 3, 16, 16)
    found = AttentionNetwork(network, "2", images[:1]).train()
    assert torch.equal(found(images), network.eval()(images))
    free = AttentionNetwork(network, "2", images[:1], frozen=False).train()
    free(images)
    assert free.backbone.get_submodule("1").num_batches_tracked == 1
    assert found.backbone.get_submodule("1").num_batches_tracked == 0
    assert len(free.learnt()) > len(found.learnt())


def test_cams_and_ablation_take_the_gated_network(small_network, small_images):
    found, _ = trained(small_network, small_images)
    again = AttentionNetwork(small_network, "3", small_images[:1])
    again.load_state_dict(found.state_dict())
    again.eval()
    assert torch.equal(again(small_images), found(small_images))
    cam = sycam.CAM(found, "backbone.3", "layer-cam")
    assert cam(small_images).shape == (7, 16, 16)
    result = ablate(found, "backbone.3", small_images, "layer-cam", shifts=1, examples=0)
    assert result.row("layer-cam").area.mean > 0


def test_what_cannot_be_gated_is_said(small_network, small_images):
    with pytest.raises(OptionError, match="gates must be some of channel, point, spatial"):
        AttentionNetwork(small_network, "3", small_images[:1], gates=("chanel",))
    with pytest.raises(OptionError, match="reduction must be"):
        AttentionNetwork(small_network, "3", small_images[:1], reduction=0)
    with pytest.raises(LayerError, match="7"):
        AttentionNetwork(small_network, "7", small_images[:1])
    with pytest.raises(UnknownNameError, match="layer '33' is not known"):
        AttentionNetwork(small_network, "33", small_images[:1])
