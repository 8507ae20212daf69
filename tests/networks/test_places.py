"""How outputs lie over the images, told by following the operations of one pass."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sycam.networks.layouts.places import layouts

IMAGES = torch.rand(3, 3, 16, 32, generator=torch.Generator().manual_seed(0))


class After(nn.Module):
    """A convolution to (N,8,4,8), then a function whose output is looked at."""

    def __init__(self, function):
        super().__init__()
        self.patches, self.function, self.seen = nn.Conv2d(3, 8, 4, 4), function, nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.seen(self.function(self.patches(images)))


def flat(maps: Tensor) -> Tensor:
    return maps.flatten(2).mT


def with_token(maps: Tensor, where: int) -> Tensor:
    token = torch.zeros(len(maps), 2, 8)
    return torch.cat([token, flat(maps)] if where else [flat(maps), token], 1)


def windows(maps: Tensor) -> Tensor:
    """(N,h,w,K) in windows of 2 x 2, attended to, and put together again."""
    count = len(maps)
    inside = maps.permute(0, 2, 3, 1).roll(1, 1).view(count, 2, 2, 4, 2, 8).transpose(2, 3)
    inside = inside.reshape(count * 8, 4, 8)
    inside = F.scaled_dot_product_attention(inside, inside, inside)
    whole = inside.view(count, 2, 4, 2, 2, 8).transpose(2, 3).reshape(count, 4, 8, 8)
    return whole.roll(-1, 1)


def heads(maps: Tensor) -> Tensor:
    return flat(maps).unflatten(2, (2, 4)).transpose(1, 2)


def attended(maps: Tensor) -> Tensor:
    """By hand, with weights that name no place themselves."""
    q = heads(maps)
    return ((q @ q.mT).softmax(-1) @ q).transpose(1, 2).flatten(2)


def unfolded(maps: Tensor) -> Tensor:
    """(N,K,pixel,patch), as inside a MobileViT."""
    return maps.view(len(maps), 8, 2, 2, 4, 2).permute(0, 1, 3, 5, 2, 4).reshape(-1, 8, 4, 8)


def written(maps: Tensor) -> Tensor:
    """Tokens written into a buffer."""
    buffer = maps.new_zeros(len(maps), 33, 8)
    buffer[:, 1:] = flat(maps)
    return buffer


@pytest.mark.parametrize(
    ("function", "layout"),
    [
        (lambda m: m, "channels-first"),
        (lambda m: m.permute(0, 2, 3, 1), "channels-last"),
        (flat, "tokens:prefix=0,grid=4x8"),
        (lambda m: m.flatten(2), "tokens:prefix=0,grid=4x8,order=NKT"),
        (lambda m: flat(m).transpose(0, 1), "tokens:prefix=0,grid=4x8,order=TNK"),
        (lambda m: with_token(m, 1), "tokens:prefix=2,grid=4x8"),
        (lambda m: with_token(m, 0), "tokens:prefix=0,grid=4x8"),
        (written, "tokens:prefix=1,grid=4x8"),
        (windows, "channels-last"),
        (attended, "tokens:prefix=0,grid=4x8"),
        (lambda m: F.pixel_shuffle(m, 2), "channels-first"),
        (lambda m: F.interpolate(m, (9, 13), mode="bilinear"), "channels-first"),
        (lambda m: m * m.mean((2, 3), keepdim=True).sigmoid() + m, "channels-first"),
        (lambda m: F.conv2d(F.pad(m, (0, 1, 0, 1)), torch.ones(8, 8, 3, 3)), "channels-first"),
        (lambda m: F.pad(m, (0, 1, 0, 1)), ""),
        (lambda m: F.conv2d(F.pad(m, (0, 4, 0, 4)), torch.ones(8, 8, 1, 1)), ""),
        (heads, ""),
        (unfolded, ""),
        (lambda m: flat(m)[:, torch.randperm(32)], ""),
        (lambda m: flat(m)[:, :30], ""),
        (lambda m: m.mean((2, 3)), ""),
        (lambda m: flat(m) + torch.fft.fft2(flat(m)).real, "tokens:prefix=0,grid=4x8"),
    ],
)
def test_layouts(function, layout):
    assert layouts(After(function).eval(), IMAGES)["seen"].layout == layout


def test_a_network_that_takes_no_other_number_of_images():
    network = After(lambda m: flat(m).view(3, 32, 8)).eval()
    assert layouts(network, IMAGES)["seen"].layout == "tokens:prefix=0,grid=4x8"
    with pytest.raises(RuntimeError):
        network(IMAGES[:2])


def test_places_that_are_lost_are_not_known():
    network = After(lambda m: torch.from_numpy(m.detach().numpy().copy())).eval()
    seen = layouts(network, IMAGES)
    assert (seen["seen"].layout, seen["seen"].placed) == ("", False)
    assert seen["patches"].layout == "channels-first"
