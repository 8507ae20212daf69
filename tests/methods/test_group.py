"""Group-CAM against the lines of its released code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sycam import CAM, evaluate
from sycam.data.image_set import ImageSet
from sycam.evidence import measure
from sycam.methods import shown_methods
from sycam.metrics.removal.baselines import blur_baseline


def by_hand(net: nn.Module, image: Tensor, a: Tensor, g: Tensor, target: int) -> Tensor:
    """The authors' loop over groups, one image ``[C,H,W]`` at a time."""
    weighted = g.mean((1, 2), keepdim=True) * a
    blurred = blur_baseline(image[None], 51, 50)
    base = net(blurred).softmax(1)[0, target].detach()
    total = torch.zeros(image.shape[1:], dtype=image.dtype)
    for group in weighted.chunk(32, 0):
        grid = group.sum(0).clamp(min=0)
        threshold = np.percentile(grid.numpy(), 70)
        grid = torch.where(grid > threshold, grid, torch.zeros_like(grid))[None, None]
        mask = F.interpolate(grid, image.shape[1:], mode="bilinear", align_corners=False)
        if mask.max() == mask.min():
            continue
        mask = (mask - mask.min()) / (mask.max() - mask.min())
        shown = image * mask + blurred * (1 - mask)
        total += (net(shown).softmax(1)[0, target].detach() - base) * mask[0, 0]
    total = total.clamp(min=0)
    return (total - total.min()) / (total.max() - total.min())


@pytest.mark.parametrize("channels", [6, 70])
def test_the_authors_loop_agrees(small_images, channels):
    torch.manual_seed(5)
    net = nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(channels * 49, 4)
    ).eval()
    net, images = net.double(), small_images.double()
    with torch.no_grad():
        net[3].weight *= 8  # so that masks change the probability by more than its rounding
    evidence = measure(net, net[1], images)
    found = CAM(net, "1", "group-cam")(images)
    for n, image in enumerate(images):
        a, g = evidence.activations[n], evidence.gradients[n]
        expected = by_hand(net, image, a, g, int(evidence.targets[n])).nan_to_num()
        torch.testing.assert_close(found[n], expected, rtol=0, atol=1e-5)
    assert (found.amax((1, 2)) == 1).sum() > 2


def test_nobody_pays_for_it_unasked(small_network, small_images):
    assert "group-cam" not in {m.name for m in shown_methods()}
    images = ImageSet.from_arrays(small_images)
    table = evaluate(small_network, "3", images, ["group-cam", "grad-cam"], ["average-drop"])
    assert {method for method, _ in table.cells} == {"group-cam", "grad-cam"}
    layers = evaluate(small_network, ["1", "3"], images, ["group-cam@3"], ["average-drop"])
    there = layers.cells["group-cam@3", "average-drop"].mean
    assert there == pytest.approx(table.cells["group-cam", "average-drop"].mean)
