"""CAMs by formulas that name the layers that they read."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sycam import CAM, evaluate
from sycam.data.images import ImageSet
from sycam.errors import ExpressionError, OptionError, UnknownNameError
from sycam.evidence import Examples, Stack, measure_leaves
from sycam.evidence.layers import find_layer
from sycam.heatmaps import maps_of, norm01
from sycam.language import parse


def stacked(network, images, *names):
    layers = [find_layer(network, name, images[:1]) for name in names]
    return Stack(measure_leaves(network, layers, Examples(images), ["gradients"], 2))


def by_hand(network, images, name, weights):
    """The saliency map of ``weights(G)`` at a layer."""
    measured = stacked(network, images, name).layers[0]
    sums = (weights(measured.gradients) * measured.activations).sum(1).clamp(min=0)
    return sums / sums.amax((1, 2), keepdim=True).clamp(min=1e-30)


def resized(maps, side):
    return F.interpolate(maps[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0]


def test_a_product_of_two_layers_by_hand(small_network, small_images):
    fine = by_hand(small_network, small_images, "1", lambda g: g.clamp(min=0))
    deep = by_hand(small_network, small_images, "3", lambda g: g.mean((2, 3), keepdim=True))
    expected = norm01(resized(fine * resized(deep, fine.shape[-1]), small_images.shape[-1]))
    cam = CAM(small_network, "cam[1](relu(G)) * cam[3](mean(G))")
    torch.testing.assert_close(cam(small_images, 2), expected, rtol=0, atol=1e-6)
    assert cam.layer == "1 + 3"


@pytest.mark.parametrize(("name", "power"), [("symsqrt", 0.5), ("square", 2)])
def test_a_region_grows_and_shrinks_by_a_power_of_the_map(small_network, small_images, name, power):
    """At a layer with the images' own grid, where nothing is interpolated."""
    heat = by_hand(small_network, small_images, "1", lambda g: g.clamp(min=0))
    expected = norm01(heat**power)
    cam = CAM(small_network, f"{name}(cam[1](relu(G)))")
    torch.testing.assert_close(cam(small_images, 2), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("formula", ["relu(G)", "mean(G)", "smooth(G)"])
def test_one_layer_named_is_the_formula_there(small_network, small_images, formula):
    named = CAM(small_network, f"cam[3]({formula})")(small_images)
    torch.testing.assert_close(named, CAM(small_network, "3", formula)(small_images))
    alone = CAM(small_network, "3", f"cam({formula})")(small_images)
    torch.testing.assert_close(alone, named)


def test_a_batch_of_formulas_of_both_kinds_keeps_its_order(small_network, small_images):
    evidence = stacked(small_network, small_images, "1", "3")
    texts = ["mean(G)", "cam[3](G)", "relu(G)", "cam[1](G) + cam[3](G)"]
    size = tuple(small_images.shape[2:])
    together = maps_of([parse(text) for text in texts], evidence, size)
    for place, text in enumerate(texts):
        alone = maps_of([parse(text)], evidence, size)
        torch.testing.assert_close(together.maps[place], alone.maps[0])
        assert together.degenerate[place].equal(alone.degenerate[0])


def test_an_evaluation_takes_them_where_their_layers_are_measured(small_network, small_images):
    images = ImageSet.from_arrays(small_images)
    product = "cam[1](relu(G)) * cam[3](relu(G))"
    table = evaluate(small_network, ["1", "3"], images, [product, "layer-cam"], ["average-drop"])
    assert table.cells[product, "average-drop"].mean == pytest.approx(
        evaluate(small_network, ["3", "1"], images, [product], ["average-drop"])
        .cells[product, "average-drop"].mean
    )  # fmt: skip
    with pytest.raises(UnknownNameError, match=r"'3' is not known.*measure it"):
        evaluate(small_network, "1", images, [product], ["average-drop"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("3",), "a formula is needed beside the layer"),
        (("auto",), "a formula is needed beside the layer"),
        (("mean(G)",), "does not say at which layer"),
        (("grad-cam",), "does not say at which layer"),
        (("3", "cam[1](G)"), "leave out layer"),
        ((["1", "3"],), "a formula is needed beside the layer"),
    ],
)
def test_layers_are_said_once(small_network, arguments, said):
    with pytest.raises(OptionError, match=said):
        CAM(small_network, *arguments)


@pytest.mark.parametrize("name", ["grad-cam", "layer-cam", "eigen-cam", "kpca-cam"])
def test_a_published_cam_at_a_layer_is_that_cam_there(small_network, small_images, name):
    there = CAM(small_network, "3", name)(small_images)
    torch.testing.assert_close(CAM(small_network, f"{name}@3")(small_images), there)
    images = ImageSet.from_arrays(small_images)
    table = evaluate(small_network, ["1", "3"], images, [f"{name}@3"], ["average-drop"])
    alone = evaluate(small_network, "3", images, [name], ["average-drop"])
    found = table.cells[f"{name}@3", "average-drop"].mean
    assert found == pytest.approx(alone.cells[name, "average-drop"].mean)


def test_what_cannot_be_is_told(small_network, small_images):
    with pytest.raises(UnknownNameError, match="layer 'layer9' is not known"):
        CAM(small_network, "cam[layer9](G)")
    with pytest.raises(ExpressionError, match="one without"):
        CAM(small_network, "cam[1](G) * cam(G) * cam[3](G)")(small_images)
    with pytest.raises(ExpressionError, match="one without"):
        CAM(small_network, "cam[1](G) * cam(G) * cam[3](G)", compile=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "formula", ["maximum(smooth(cam[1](p * G)), 0.5 * cam[3](A))", "cam[3](smooth(G))"]
)
def test_the_compiled_formula_agrees(small_network, small_images, formula):
    try:
        torch.compile(torch.sin)(torch.zeros(3))
    except Exception:
        pytest.skip("torch finds no C++ compiler")
    compiled = CAM(small_network, formula, compile=True)
    for batch in (7, 3):
        found = compiled(small_images, 2, batch=batch)
        expected = CAM(small_network, formula)(small_images, 2)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
