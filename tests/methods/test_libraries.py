"""Where libraries leave the papers: each difference, and the one cause that explains all of it."""

from __future__ import annotations

import importlib.util

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sycam import CAM
from sycam.evidence import measure
from sycam.heatmaps import from_sums

SEEN = 1e-3  # a difference that nobody takes for rounding
TOLERANCE = 1e-5
TARGETS = torch.tensor([0, 1, 2, 3, 4, 0, 1])


def test_score_cam_of_the_package_aligns_corners(of_the_package, small_network, small_images):
    theirs = of_the_package("ScoreCAM", small_network, "3", small_images, TARGETS)
    ours = CAM(small_network, "3", "score-cam")(small_images, TARGETS)
    assert (ours - theirs).abs().max() > SEEN
    # The paper's formula once more, with masks upsampled as the package does.
    a = small_network[:4](small_images).detach()
    up = F.interpolate(a, (16, 16), mode="bilinear", align_corners=True)
    low, high = up.amin((2, 3), keepdim=True), up.amax((2, 3), keepdim=True)
    masks = torch.where(high > low, (up - low) / (high - low), 0)
    scores = torch.stack(
        [
            small_network(image * mask[:, None])[:, target].detach()
            for image, mask, target in zip(small_images, masks, TARGETS, strict=True)
        ]
    )
    sums = (scores.softmax(1)[..., None, None] * a).sum(1)
    aligned = from_sums(sums[None], (16, 16)).maps[0]
    torch.testing.assert_close(aligned, theirs, rtol=0, atol=TOLERANCE)


def test_ablation_cam_of_the_package_goes_far_below_zero(
    of_the_package, small_network, small_images
):
    """Where the smallest activation is 0, as after a ReLU, the package follows the paper."""
    theirs = of_the_package("AblationCAM", small_network, "3", small_images, TARGETS)
    ours = CAM(small_network, "3", "ablation-cam")(small_images, TARGETS)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE)
    torch.manual_seed(1)
    positive = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.Softplus(), nn.Flatten(), nn.Linear(6 * 49, 5)
    ).eval()
    theirs = of_the_package("AblationCAM", positive, "1", small_images, TARGETS)
    ours = CAM(positive, "1", "ablation-cam")(small_images, TARGETS)
    assert (ours - theirs).abs().max() > SEEN
    # The paper's formula once more, with the minimum less 1e7, 2e7, ... for 0.
    a = positive[:2](small_images).detach()
    sums = torch.zeros_like(a[:, 0])
    for n, target in enumerate(TARGETS):
        clean = positive[2:](a[n : n + 1])[0, target].detach()
        lowest = a[n].min()
        for k in range(a.shape[1]):
            without = a[n : n + 1].clone()
            lowest = lowest - 1e7
            without[0, k] = lowest
            sums[n] += (clean - positive[2:](without)[0, target].detach()) / clean * a[n, k]
    compounded = from_sums(sums[None], (16, 16)).maps[0]
    torch.testing.assert_close(compounded, theirs, rtol=0, atol=TOLERANCE)
    variant = CAM(positive, "1", "ablation-cam-lib")(small_images, TARGETS)
    torch.testing.assert_close(variant, theirs, rtol=0, atol=TOLERANCE)


def test_grad_cam_plus_plus_of_the_package_depends_on_the_scores_scale(
    of_the_package, small_network, small_images
):
    """Its absolute 1e-6 is large beside small gradients, and nothing beside large ones."""

    def times(factor: float):
        return lambda target: lambda row: factor * row[target]

    ours = CAM(small_network, "3", "grad-cam++")
    for factor, differs in ((1e-3, True), (1e5, False)):
        arguments = ("GradCAMPlusPlus", small_network, "3", small_images, TARGETS)
        theirs = of_the_package(*arguments, times(factor))
        scaled = [times(factor)(int(t)) for t in TARGETS]
        # sum(A) * G is part of the paper's formula: the score's scale is not without effect.
        error = (ours(small_images, scaled) - theirs).abs().max()
        assert error > SEEN if differs else error < TOLERANCE, (factor, error)


def test_grad_cam_plus_plus_of_torchcam_loses_its_denominator(small_network, small_images):
    if importlib.util.find_spec("torchcam") is None:
        pytest.skip("TorchCAM, the reference, is not installed: pip install torchcam")
    from torchcam.methods import GradCAMpp

    theirs = []
    for image, target in zip(small_images, TARGETS.tolist(), strict=True):
        with GradCAMpp(small_network, "3") as extractor:
            (sums,) = extractor(target, small_network(image[None]), normalized=False)
        theirs.append(from_sums(sums.detach()[None], (16, 16)).maps[0, 0])
    theirs = torch.stack(theirs)
    numerator = CAM(small_network, "3", "torchcam-grad-cam++")(small_images, TARGETS)
    torch.testing.assert_close(numerator, theirs, rtol=0, atol=TOLERANCE)
    for name in ("grad-cam++", "grad-cam++-lib"):
        assert (CAM(small_network, "3", name)(small_images, TARGETS) - theirs).abs().max() > SEEN


def test_grad_cam_plus_plus_of_monai_sums_activations_times_gradients(small_network, small_images):
    """MONAI's lines by hand, in float64: ``sum(A * G^3)`` where the paper has ``sum(A) * G^3``."""
    network, images = small_network.double(), small_images.double()
    # Its 1e-7 is nothing beside gradients of this size.
    large = [lambda row, c=int(c): 1e3 * row[c] for c in TARGETS]
    found = CAM(network, "3", "monai-grad-cam++")(images, large)
    evidence = measure(network, network[3], images, large)
    a, g = evidence.activations, evidence.gradients
    below = 2 * g**2 + (a * g**3).sum((2, 3), keepdim=True)
    below = torch.where(below != 0, below, 1) + 1e-7
    weights = (g**2 / below * g.clamp(min=0)).sum((2, 3), keepdim=True)
    expected = from_sums((weights * a).sum(1)[None], (16, 16)).maps[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)
    assert (found - CAM(network, "3", "grad-cam++")(images, large)).abs().max() > SEEN


def test_variants_read_what_they_say(small_network, small_images):
    """A channel that is nowhere active gets a weight from each variant, and adds nothing."""
    dead = nn.Sequential(*small_network)
    with torch.no_grad():
        dead[2].bias[3] = -100
    a: Tensor = measure(dead, dead[3], small_images).activations
    assert not a[:, 3].any()
    for name in ("score-cam-lib", "ablation-cam-lib", "grad-cam++-lib"):
        maps = CAM(dead, "3", name)(small_images)
        assert maps.isfinite().all()
        assert maps.amax() == 1
