"""CAMs that read all layers at once: RefineCAM and Zoom-CAM."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from sycam import CAM, evaluate
from sycam.data.image_set import ImageSet
from sycam.evidence import measure
from sycam.heatmaps import from_sums, fuse, norm01, weighted_sums
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


def test_refine_cam_is_torchcams(small_network, small_images):
    """TorchCAM scales each map before it is upsampled, which a product does not see where each
    map is 0 somewhere; its own Grad-CAM++ differs, so that it is given ours."""
    if importlib.util.find_spec("torchcam") is None:
        pytest.skip("TorchCAM, the reference, is not installed: pip install torchcam")
    from torchcam.methods import RefineCAM

    weights, grids = METHODS["grad-cam++"].expression, []
    for layer in LAYERS:
        evidence = measure(small_network, small_network.get_submodule(layer), small_images, 2)
        sums = weighted_sums([weights], evidence.leaves)[0].clamp(min=0)
        # Where the least value is a single place, upsampling keeps none of it.
        grids.append((sums - sums.flatten(1).quantile(0.5, dim=1)[:, None, None]).clamp(min=0))
    expected = RefineCAM.fuse_cams([grid.clone() for grid in grids], (16, 16))
    assert (expected.amax((1, 2)) == 1).any()
    finished = [from_sums(grid[None], (16, 16)) for grid in grids]
    found = fuse(finished, METHODS["refine-cam"].fusion).maps[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


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
