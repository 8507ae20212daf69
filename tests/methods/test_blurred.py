"""Published CAMs with a blur: rivals where a metric rewards it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sycam import CAM
from sycam.errors import ExpressionError
from sycam.evidence import measure
from sycam.evidence.layers import find_layer
from sycam.heatmaps import norm01
from sycam.methods import METHODS, find_method, shown_methods
from sycam.metrics import find_metric
from sycam.metrics.composition.objectives import Objectives


def test_the_weighted_sum_is_blurred_before_the_relu(small_network, small_images):
    layer = find_layer(small_network, "3", small_images[:1])
    measured = measure(small_network, layer, small_images, 2)
    gradients, activations = measured.gradients, measured.activations
    sums = (gradients.mean((2, 3), keepdim=True) * activations).sum(1, keepdim=True)
    kernel = torch.outer(*2 * [torch.tensor([1.0, 2.0, 1.0])]) / 16
    padded = F.pad(sums, (1, 1, 1, 1), mode="replicate")
    blurred = F.conv2d(padded, kernel[None, None]).clamp(min=0)
    enlarged = F.interpolate(
        blurred, small_images.shape[2:], mode="bilinear", align_corners=False
    )  # fmt: skip
    found = CAM(small_network, "3", "blurred-grad-cam")(small_images, 2)
    torch.testing.assert_close(found, norm01(enlarged[:, 0]), rtol=0, atol=1e-6)


def test_it_is_found_at_a_layer_and_by_its_formula():
    assert str(find_method("blurred-layer-cam").expression) == "smooth(relu(G))"
    at = find_method("blurred-layer-cam@layer4.1")
    assert (at.name, at.kind) == ("blurred-layer-cam@layer4.1", "blurred")
    assert str(at.expression) == "cam[layer4.1](smooth(relu(G)))"
    with pytest.raises(ExpressionError, match="computed directly"):
        find_method("blurred-kpca-cam")


def test_every_published_cam_is_shown_plain_and_blurred_where_asked():
    plain, both = shown_methods(), shown_methods(blurred=True)
    agnostic = ("fem", "lafam", "eigen-cam")  # no answers, so no rivals that count
    published = [m.name for m in plain if m.kind == "published" and m.name not in agnostic]
    assert [m.name for m in both if m.kind == "blurred"] == [f"blurred-{n}" for n in published]
    assert [m for m in both if m.kind != "blurred"] == plain
    assert not any(name.startswith("blurred") for name in METHODS)


@pytest.mark.parametrize(
    ("metric", "rewarded"),
    [("road", True), ("road-morf", True), ("insertion", True), ("deletion", True), ("iou", False),
     ("average-drop", False), ("road + iou", True)],
)  # fmt: skip
def test_blur_is_rewarded_by_removal(metric, rewarded):
    assert find_metric(metric).rewards_blur is rewarded


def test_and_where_one_of_several_goals_does():
    assert Objectives([find_metric("iou"), find_metric("road")]).rewards_blur
