"""The target layer: by name, by module, and by ``auto``."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sycam.errors import LayerError, NetworkError, UnknownNameError
from sycam.evidence import find_layer, measure, measure_layers, varies
from sycam.methods import CAM

IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Pooled(nn.Module):
    """Global average pooling and one linear layer: constant gradients at the last convolution."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.last = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(self.stem(x)).mean((2, 3)))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()
        self.conv2, self.relu2 = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu2(x + self.conv2(self.relu1(self.conv1(x))))


class Residual(nn.Module):
    """The last block's branch has varying gradients; so has the block before it, as a whole."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.block1, self.block2 = Block(), Block()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block2(self.block1(self.stem(x))).mean((2, 3)))


def made(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(2)
    return kind().eval()


def test_by_name_and_by_module():
    network = made(Residual)
    found = find_layer(network, "block1.conv2", IMAGES[:0])
    assert found.name == "block1.conv2"
    assert found.module is network.block1.conv2
    assert not found.note
    same = find_layer(network, network.block1.conv2, torch.empty(0))
    assert same == found


@pytest.mark.parametrize(
    ("name", "near"),
    [("blok1", "'block1'"), ("block1.conv3", "'block1.conv2'"), ("Head", "'head'"), ("", "'auto'")],
)
def test_an_unknown_name_comes_with_the_nearest(name, near):
    with pytest.raises(UnknownNameError, match="is not known") as caught:
        find_layer(made(Residual), name, IMAGES)
    assert near in str(caught.value)
    assert "'auto'" in str(caught.value)


def test_a_module_of_another_network():
    with pytest.raises(LayerError, match=r"the layer given \(Conv2d\) is no part of the network"):
        find_layer(made(Residual), made(Residual).block1.conv1, IMAGES)


def test_auto_takes_the_last_spatial_layer_before_a_connected_head(small_network, small_images):
    found = find_layer(small_network, "auto", small_images)
    assert found.name == "3"
    assert found.module is small_network[3]
    assert found.note == "deepest layer with gradients that vary over places: 3"


def test_auto_passes_over_constant_gradients():
    network = made(Pooled)
    found = find_layer(network, "auto", IMAGES)
    # A ReLU lies between the last convolution and the pooling: gradients vary before it,
    # but activations there are negative; the stem is as fine and after its ReLU.
    assert found.name == "stem"
    assert "at last they are constant over places" in found.note
    assert "Grad-CAM" in found.note
    assert varies(measure(network, found.module, IMAGES).gradients)
    assert not varies(measure(network, network.last, IMAGES).gradients)


def test_auto_stays_out_of_a_residual_branch():
    network = made(Residual)
    found = find_layer(network, "auto", IMAGES)
    assert found.name == "block1"
    assert "at block2 they are constant" in found.note
    # The layers that it passed over are inside the last block's branch, and do vary.
    assert varies(measure(network, network.block2.relu1, IMAGES).gradients)


def test_auto_with_in_place_activations():
    torch.manual_seed(3)
    layers = [
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(4 * 256, 3),
    ]
    assert find_layer(nn.Sequential(*layers).eval(), "auto", IMAGES).name == "3"


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_auto_inside_the_callers_grad_mode(small_network, context):
    """Under inference_mode it once said that no layer has a spatial output."""
    with context():
        assert find_layer(small_network, "auto", IMAGES.clone()).name == "3"


def test_auto_leaves_no_trace():
    network = made(Residual).train()
    network.block1.eval()
    modes = [m.training for m in network.modules()]
    random = torch.get_rng_state()
    find_layer(network, "auto", IMAGES)
    assert [m.training for m in network.modules()] == modes
    assert not any(m._forward_hooks for m in network.modules())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert IMAGES.requires_grad is False


def test_auto_where_nothing_is_spatial():
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 9), nn.ReLU(), nn.Linear(9, 3))
    with pytest.raises(LayerError, match="no layer of the network has a spatial output"):
        find_layer(network, "auto", IMAGES)


def test_auto_where_all_gradients_are_constant():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    with pytest.raises(LayerError, match=r"zero or constant over places; name a layer"):
        find_layer(network, "auto", IMAGES)


def test_auto_on_images_that_the_network_refuses(small_network):
    """Once the network's own exception came through."""
    hooks = [len(m._forward_hooks) for m in small_network.modules()]
    with pytest.raises(NetworkError, match=r"failed on images of shape \(2, 5, 16, 16\)"):
        find_layer(small_network, "auto", torch.rand(2, 5, 16, 16))
    with pytest.raises(NetworkError, match="returned tuple"):
        find_layer(Tupled(), "auto", IMAGES)
    assert [len(m._forward_hooks) for m in small_network.modules()] == hooks


class Tupled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.conv(x)
        return y.mean((2, 3)), y


def test_variation_is_relative():
    flat = torch.ones(2, 3, 4, 4)
    assert not varies(flat)
    assert not varies(torch.zeros(2, 3, 4, 4))
    assert not varies(flat + 1e-5 * torch.rand(2, 3, 4, 4))
    flat[1, 2, 3, 3] = 1.1
    assert varies(flat)
    assert varies(flat * 1e-20)


def test_last_is_the_deepest_layer_with_places(small_images):
    """Before global average pooling ``auto`` passes over what ``last`` takes."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    ).eval()
    last = find_layer(network, "last", small_images)
    assert (last.name, last.module) == ("3", network[3])
    assert find_layer(network, "auto", small_images).name != "3"
    with pytest.raises(LayerError, match="sought with its layout; leave out reshape"):
        find_layer(network, "last", small_images, reshape="tokens")


class Turned(nn.Module):
    """Channels last behind its convolution, ``(N,h,w,K)``, as in a Swin transformer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.norm = nn.LayerNorm(8)
        self.block = nn.Sequential(nn.Linear(8, 8), nn.Tanh())
        self.head = nn.Linear(8 * 49, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.block(self.norm(self.conv(images).movedim(1, -1))).flatten(1))


def test_channels_last_is_not_taken_for_channels_first():
    """Channels would be rows otherwise, on a grid of columns by channels."""
    network, images = made(Turned), torch.rand(2, 3, 16, 16)
    found = find_layer(network, "auto", images)
    assert (found.name, found.reshape) == ("block", "channels-last")
    assert "layer block: channels-last, 7x7 grid" in found.note
    for layer in ("norm", "block"):
        told = CAM(network, layer, "grad-cam")(images)
        said = CAM(network, layer, "grad-cam", reshape="channels-last")(images)
        torch.testing.assert_close(told, said, rtol=0, atol=0)
    as_it_is = CAM(network, "block", "grad-cam", reshape=lambda output: output)
    same = CAM(network, "block", "grad-cam", reshape="channels-first")
    assert torch.equal(as_it_is(images), same(images))
    assert not torch.allclose(same(images), told)
    assert find_layer(network, "conv", images).reshape is None


class Shortcut(nn.Module):
    """An Identity on a shortcut, whose input the other branch reads, too."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.c, self.short = nn.Conv2d(4, 4, 3, padding=1), nn.Identity()
        self.head = nn.Linear(4 * 16 * 16, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        return self.head((self.c(x).relu() + self.short(x)).flatten(1))


def test_an_identity_on_a_shortcut_is_that_path_only():
    """Once the gradients of its input were those of the whole block."""
    network = made(Shortcut)
    assert find_layer(network, "auto", IMAGES).name == "stem"
    first = measure_layers(network, [network.short], IMAGES)[0]
    behind = measure_layers(network, [network.stem, network.short], IMAGES)
    x = network.stem(IMAGES).detach().requires_grad_()
    skip = x.clone()
    outputs = network.head((network.c(x).relu() + skip).flatten(1))
    whole, only = torch.autograd.grad(outputs.amax(1).sum(), [x, skip])
    torch.testing.assert_close(first.gradients, only)
    torch.testing.assert_close(behind[1].gradients, only)
    torch.testing.assert_close(behind[0].gradients, whole)
    assert not torch.allclose(whole, only)


class Pyramid(nn.Module):
    """A head that joins the last two resolutions, as those for segmentation do."""

    def __init__(self, stages: int = 5):
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3 if i == 0 else 4, 4, 3, 1 + i % 2, 1), nn.ReLU())
            for i in range(stages)
        )
        self.lateral, self.head = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = [images]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        fine = maps[1]
        coarse = nn.functional.interpolate(self.lateral(maps[-1]), fine.shape[2:])
        return self.head(coarse + fine).relu().amax((2, 3))


def test_auto_does_not_fall_back_before_a_head_of_several_resolutions():
    found = find_layer(made(Pyramid), "auto", IMAGES)
    assert found.name == "stages.4"
    assert "passed over: head (one channel per class, so that all formulas coincide)" in found.note
    assert "finer resolutions go round stages.4 as well" in found.note
