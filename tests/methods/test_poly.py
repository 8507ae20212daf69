"""PolyCAM against the steps of its released code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sycam import CAM, evaluate
from sycam.data.image_set import ImageSet
from sycam.methods import METHODS, shown_methods

LAYERS = ["1", "3", "5"]  # grids of 16, 8 and 4
VARIANTS = {"poly-cam": (1, 1), "poly-cam-plus": (1, 0), "poly-cam-minus": (0, 1)}


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(5)
    made = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(),
        nn.Conv2d(4, 5, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(5, 70, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(70 * 16, 4),
    ).double().eval()  # fmt: skip
    with torch.no_grad():
        made[-1].weight *= 8  # so that masks change the probability by more than its rounding
    return made


def scaled(maps: Tensor) -> Tensor:
    """Their normalize: [..., h, w] between its percentiles 0.1 and 99.9."""
    flat = maps.flatten(-2).numpy()
    low, high = (
        torch.tensor(np.percentile(flat, q, axis=-1))[..., None, None] for q in (0.1, 99.9)
    )
    return ((maps - low) / high.clamp(min=1e-12)).clamp(0, 1)


def resized(maps: Tensor, size) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def by_hand(net: nn.Module, image: Tensor, layers: list[str], parts: tuple[int, int]) -> Tensor:
    """The authors' loop over layers and channels, of one image ``[1,C,H,W]``."""
    target, cam = int(net(image).argmax()), None

    def chance(shown: Tensor) -> float:
        return float(net(shown).softmax(1)[0, target])

    for layer in reversed(layers):
        activations = net[: int(layer) + 1](image)
        masks = resized(scaled(activations), image.shape[2:])
        weights = [
            max(
                parts[0] * chance(image * mask)
                + parts[1] * (chance(image) - chance(image * (1 - mask))),
                0,
            )
            for mask in masks[0]
        ]
        own = (activations * torch.tensor(weights)[None, :, None, None]).sum(1, keepdim=True)
        own = own.clamp(min=0)
        if cam is not None:
            local = resized(resized(own, cam.shape[2:]), own.shape[2:])
            own = own / local.clamp(min=1e-12) * resized(cam, own.shape[2:])
        cam = own
    shown = resized(scaled(cam), image.shape[2:])[0, 0]
    return (shown - shown.min()) / (shown.max() - shown.min())


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_the_authors_loop_agrees(network, small_images, name):
    images = small_images[:3].double()
    found = CAM(network, LAYERS, name)(images)
    for image, one in zip(images, found, strict=True):
        expected = by_hand(network, image[None], LAYERS, VARIANTS[name])
        torch.testing.assert_close(one, expected, rtol=0, atol=1e-5)
    assert (found.amax((1, 2)) == 1).all()


@torch.no_grad()
def test_layers_may_be_given_in_any_order_or_one_alone(network, small_images):
    images = small_images[:2].double()
    whole = CAM(network, LAYERS, "poly-cam")(images)
    # However other methods are fused.
    torch.testing.assert_close(CAM(network, LAYERS[::-1], "poly-cam", fusion="max")(images), whole)
    alone = CAM(network, "3", "poly-cam")(images[:1])[0]
    expected = by_hand(network, images[:1], ["3"], (1, 1))
    torch.testing.assert_close(alone, expected, rtol=0, atol=1e-5)


def test_a_volume_of_one_slice_is_an_image(small_images):
    torch.manual_seed(2)
    network = nn.Sequential(
        nn.Conv3d(3, 4, (1, 3, 3), 1, (0, 1, 1)), nn.ReLU(),
        nn.Conv3d(4, 5, (1, 3, 3), (1, 2, 2), (0, 1, 1)), nn.ReLU(),
        nn.Flatten(), nn.Linear(5 * 64, 3),
    ).double().eval()  # fmt: skip
    images = small_images[:2].double()
    found = CAM(network, ["1", "3"], "poly-cam")(images[:, :, None])
    flat = nn.Sequential(
        nn.Conv2d(3, 4, 3, 1, 1), nn.ReLU(), nn.Conv2d(4, 5, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(5 * 64, 3),
    ).double().eval()  # fmt: skip
    pairs = zip(flat.parameters(), network.parameters(), strict=True)
    for one, other in pairs:
        one.data = other.data.reshape(one.shape)
    expected = CAM(flat, ["1", "3"], "poly-cam")(images)
    torch.testing.assert_close(found[:, 0], expected)


def test_nobody_pays_for_it_unasked(small_network, small_images):
    assert METHODS.keys() >= VARIANTS.keys()
    assert not VARIANTS.keys() & {m.name for m in shown_methods((), ["1", "3"])}
    images = ImageSet.from_arrays(small_images)
    methods = ["poly-cam", "grad-cam@3"]
    table = evaluate(small_network, ["1", "3"], images, methods, ["average-drop"])
    assert {method for method, _ in table.cells} == set(methods)
