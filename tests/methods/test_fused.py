"""CAMs that read all layers at once: RefineCAM and Zoom-CAM."""

from __future__ import annotations

import pytest
import torch

from sycam import CAM, evaluate
from sycam.data.image_set import ImageSet
from sycam.heatmaps import norm01
from sycam.methods import METHODS, shown_methods

LAYERS = ["1", "3"]


@pytest.mark.parametrize(
    ("name", "of_a_layer", "join"),
    [("refine-cam", "grad-cam++", torch.mul), ("zoom-cam", "hirescam", torch.maximum)],
)
def test_they_join_the_heatmaps_of_all_layers(small_network, small_images, name, of_a_layer, join):
    one, two = (CAM(small_network, layer, of_a_layer)(small_images, 2) for layer in LAYERS)
    expected = norm01(join(one, two))
    assert (expected.amax((1, 2)) == 1).any()
    # However other methods are fused.
    for fusion in ("mean", "max", "product"):
        found = CAM(small_network, LAYERS, name, fusion=fusion)(small_images, 2)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    alone = CAM(small_network, "3", name)(small_images, 2)
    torch.testing.assert_close(alone, two, rtol=0, atol=1e-6)


def test_zoom_cam_by_hand(small_network, small_images):
    """Gradients times activations at each layer, upsampled, scaled, the larger of both."""
    head = small_network[2:]
    first = small_network[:2](small_images).detach().requires_grad_()
    second = head[:2](first)
    gradients = torch.autograd.grad(head[2:](second)[:, 2].sum(), [first, second])
    maps = []
    for a, g in zip((first, second), gradients, strict=True):
        sums = (a * g).sum(1, keepdim=True).clamp(min=0).detach()
        up = torch.nn.functional.interpolate(sums, (16, 16), mode="bilinear", align_corners=False)
        maps.append(norm01(up[:, 0]))
    expected = norm01(torch.maximum(*maps))
    found = CAM(small_network, LAYERS, "zoom-cam")(small_images, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_they_are_shown_once_where_there_are_several_layers():
    fused = {m.name for m in METHODS.values() if m.fusion}
    assert fused == {"refine-cam", "zoom-cam"}
    for sites in ((), ("1",)):
        assert not fused.intersection(m.name.partition("@")[0] for m in shown_methods((), sites))
    names = [m.name for m in shown_methods((), LAYERS)]
    assert len(set(names)) == len(names)
    assert fused <= set(names)
    assert not any(name.startswith(("refine-cam@", "zoom-cam@")) for name in names)


def test_they_are_evaluated_beside_cams_of_one_layer(small_network, small_images):
    images = ImageSet.from_arrays(small_images)
    methods = ["zoom-cam", "refine-cam", "grad-cam@3"]
    table = evaluate(small_network, LAYERS, images, methods, ["average-drop"])
    assert {method for method, _ in table.cells} == set(methods)
