"""The published CAMs against the grad-cam package, and against the papers' equations by hand."""

from __future__ import annotations

import copy
import importlib.util

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import mutual_info_score
from torch import Tensor, nn

from sycam import CAM
from sycam.data.demo import LAYER, network, normalise, scenes
from sycam.data.images import load_images
from sycam.errors import LayerError
from sycam.evidence import measure
from sycam.methods import METHODS, find_method
from sycam.targets import Probability, ReST

OF_THE_PACKAGE = {
    "grad-cam": "GradCAM",
    "hirescam": "HiResCAM",
    "grad-cam-elementwise": "GradCAMElementWise",
    "xgrad-cam": "XGradCAM",
    "layer-cam": "LayerCAM",
    "fem": "FEM",
    "grad-cam++-lib": "GradCAMPlusPlus",
}
DEAR_OF_THE_PACKAGE = {"score-cam-lib": "ScoreCAM", "ablation-cam-lib": "AblationCAM"}
HEADED = {"cam", "lift-cam"}  # methods of networks with a linear head after pooling
TOLERANCE = 1e-5


def heatmap(sums: Tensor, size: tuple[int, int]) -> Tensor:
    """``norm01(up(relu(sums)))`` of ``[N,h,w]``, written out once more."""
    up = F.interpolate(sums.clamp(min=0)[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    low, high = up.amin((1, 2), keepdim=True), up.amax((1, 2), keepdim=True)
    return torch.where(high > low, (up - low) / (high - low), torch.zeros_like(up))


# --- against the grad-cam package ----------------------------------------------------------------


@pytest.mark.parametrize("ours", OF_THE_PACKAGE)
def test_the_package_agrees(case, of_the_package, ours):
    targets = case.targets()
    expected = of_the_package(OF_THE_PACKAGE[ours], case.net, case.layer, case.images, targets)
    found = CAM(case.net, case.layer, ours)(case.images, targets)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)
    assert (found.amax((1, 2)) == 1).any()  # they do not agree for being empty


@pytest.mark.parametrize("ours", DEAR_OF_THE_PACKAGE)
def test_the_package_agrees_where_every_channel_takes_a_pass(case, of_the_package, ours):
    images, targets = case.images[:4], case.targets()[:4]
    expected = of_the_package(DEAR_OF_THE_PACKAGE[ours], case.net, case.narrow, images, targets)
    found = CAM(case.net, case.narrow, ours)(images, targets)
    torch.testing.assert_close(found, expected, rtol=0, atol=2 * TOLERANCE)
    assert (found.amax((1, 2)) == 1).any()


TARGETS = {
    "ClassifierOutputSoftmaxTarget": Probability,
    "ClassifierOutputReST": ReST,
}


@pytest.mark.parametrize("theirs", TARGETS)
def test_shapley_cam_of_a_probability(case, of_the_package, theirs):
    """A logit of a ReLU network has no Hessian; a probability has.

    Where a probability is so near 0 or 1 that its gradients are smaller than the 1e-7 by which
    the package scales heatmaps, or vanish in rounding errors, there is nothing to compare. In
    float64, since the package loses confident probabilities in float32, which ours keep.
    """
    net, targets = copy.deepcopy(case.net).double(), case.targets()
    images, layer = case.images.double(), net.get_submodule(case.layer)
    chance = measure(net, layer, images, Probability(targets)).probability
    clear = (chance > 1e-6) & (chance < 1 - 1e-6)
    assert clear.any()
    images, targets = images[clear], targets[clear]
    expected = of_the_package("ShapleyCAM", net, case.layer, images, targets, theirs)
    target = TARGETS[theirs](targets)
    found = CAM(net, case.layer, "shapley-cam")(images, target)
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=TOLERANCE)


def test_shapley_cam_is_not_always_grad_cam(of_the_package, small_network, small_images):
    targets = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    logit = of_the_package("ShapleyCAM", small_network, "3", small_images, targets)
    shapley = CAM(small_network, "3", "shapley-cam")
    torch.testing.assert_close(shapley(small_images, targets), logit, rtol=0, atol=TOLERANCE)
    plain = CAM(small_network, "3", "grad-cam")(small_images, Probability(targets))
    assert (shapley(small_images, Probability(targets)) - plain).abs().max() > 1e-3
    net = network()  # ReLU alone
    images = normalise(scenes("heldout", 4).images).contiguous()
    same = CAM(net, LAYER, "grad-cam")(images)
    torch.testing.assert_close(CAM(net, LAYER, "shapley-cam")(images), same, rtol=0, atol=1e-6)


# --- against TorchCAM and the original CAM -------------------------------------------------------


@pytest.fixture
def pooled() -> nn.Module:
    """Global average pooling and one linear layer: the networks that CAM was made for."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    ).eval()


def test_cam_is_torchcams(pooled, small_images):
    if importlib.util.find_spec("torchcam") is None:
        pytest.skip("TorchCAM, the reference, is not installed: pip install torchcam")
    from torchcam.methods import CAM as TorchCAM  # noqa: N811

    found = CAM(pooled, "1", "cam")(small_images, [0, 1, 2, 3, 0, 1, 2])
    for i, image in enumerate(small_images):
        with TorchCAM(pooled, "1", "4") as extractor, torch.no_grad():
            scores = pooled(image[None])
            (sums,) = extractor(i % 4, scores, normalized=False)
        expected = heatmap(sums, image.shape[1:])[0]  # its ReLU stays off, ours is on
        torch.testing.assert_close(found[i], expected, rtol=0, atol=TOLERANCE)
    assert (found.amax((1, 2)) == 1).any()


def test_four_methods_coincide_before_global_average_pooling(pooled, small_images):
    """A fact about such networks, and a check of all of them at once."""
    weights = pooled[4].weight[pooled(small_images).argmax(1)].detach()
    sums = (weights[..., None, None] * pooled[:2](small_images)).sum(1).detach()
    expected = heatmap(sums, (16, 16))
    assert (expected.amax((1, 2)) == 1).any()
    for name in ("cam", "grad-cam", "hirescam", "xgrad-cam"):
        found = CAM(pooled, "1", name)(small_images)
        torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


def test_lift_cam_is_deeplifts_contribution_of_each_channel(pooled, small_images):
    """By hand: through a mean and a linear layer, DeepLIFT with reference 0 gives gradient times
    activation."""
    a = pooled[:2](small_images).detach()
    contributions = torch.zeros(7, 6)
    for k in range(6):
        without = a.clone()
        without[:, k] = 0
        # Where all that follows is linear, what a channel contributes is what its absence takes.
        contributions[:, k] = (pooled[2:](a) - pooled[2:](without)).detach()[:, 2]
    expected = heatmap((contributions[..., None, None] * a).sum(1), (16, 16))
    found = CAM(pooled, "1", "lift-cam")(small_images, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)
    assert (found.amax((1, 2)) == 1).any()
    by_gradient = CAM(pooled, "1", "sum(G * A)")(small_images, 2)
    torch.testing.assert_close(found, by_gradient, rtol=0, atol=TOLERANCE)


def test_lift_cam_refuses_other_heads(small_network, small_images):
    with pytest.raises(LayerError, match="needs a linear head directly after global average"):
        CAM(small_network, "3", "lift-cam")(small_images)


def test_lafam_is_the_mean_of_the_channels(small_network, small_images):
    found = CAM(small_network, "3", "lafam")(small_images, 1)
    expected = heatmap(small_network[:4](small_images).detach().mean(1), (16, 16))
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(found, CAM(small_network, "3", "lafam")(small_images, 2))


def test_the_methods_differ_on_a_connected_head(small_network, small_images):
    """Two rows of the table that are one method would mean that one of them is wrong."""
    alike = {
        # Where no activation is negative, relu(G * A) is relu(G) * A.
        frozenset({"grad-cam-elementwise", "layer-cam"}),
        # The tanh in this network's head lies after the layer, yet bends little.
        frozenset({"grad-cam", "shapley-cam"}),
    }
    named = [
        m.name
        for m in METHODS.values()
        if m.kind in ("published", "baseline") and not m.fusion  # of one layer they are another
    ]
    maps = {n: CAM(small_network, "3", n)(small_images) for n in named if n not in HEADED}
    for first in maps:
        for second in maps:
            if first < second and frozenset({first, second}) not in alike:
                assert (maps[first] - maps[second]).abs().max() > 1e-3, (first, second)


# --- against the papers by hand ------------------------------------------------------------------


def grad_cam_plus_plus(a: Tensor, g: Tensor, size: tuple[int, int]) -> Tensor:
    """Chattopadhay et al. 2018, equations 12, 13, 19 in float64, with loops over channels."""
    a, g = a.double(), g.double()
    sums = torch.zeros(len(a), *a.shape[2:], dtype=torch.float64)
    for n in range(len(a)):
        for k in range(a.shape[1]):
            second, third = g[n, k] ** 2, g[n, k] ** 3
            below = 2 * second + a[n, k].sum() * third
            alpha = torch.where(g[n, k] != 0, second / below, torch.zeros_like(below))
            weight = (alpha * g[n, k].clamp(min=0)).sum()
            sums[n] += weight * a[n, k]
    return heatmap(sums, size)


def check_plus_plus(net: nn.Module, name: str, images: Tensor) -> None:
    evidence = measure(net, net.get_submodule(name), images)
    expected = grad_cam_plus_plus(evidence.activations, evidence.gradients, images.shape[-2:])
    found = CAM(net, name, "grad-cam++")(images)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=TOLERANCE)


def test_grad_cam_plus_plus_follows_its_paper(small_network, small_images):
    check_plus_plus(small_network, "3", small_images)
    check_plus_plus(network(), LAYER, normalise(scenes("heldout", 6).images).contiguous())


@pytest.mark.data
def test_grad_cam_plus_plus_follows_its_paper_on_real_images(cifar10, real_data):
    images = load_images(real_data / "cifar10" / "test_lossless_500.npz").images[:12]
    check_plus_plus(cifar10.resnet20(), "layer2", images)


def test_score_cam_by_hand(small_network, small_images):
    """Each mask upsampled without aligned corners, scaled, and shown to the network by itself."""
    a = small_network[:4](small_images).detach()
    sums = []
    for image, maps in zip(small_images, a, strict=True):
        scores = []
        for channel in maps:
            mask = heatmap(channel[None], (16, 16))[0]
            scores.append(small_network((image * mask)[None])[0, 2].detach())
        weights = torch.stack(scores).softmax(0)
        sums.append((weights[:, None, None] * maps).sum(0))
    expected = heatmap(torch.stack(sums), (16, 16))
    found = CAM(small_network, "3", "score-cam")(small_images, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("layer", [2, 3], ids=["before the ReLU", "after it"])
def test_ablation_cam_by_hand(small_network, small_images, layer):
    a = small_network[: layer + 1](small_images).detach()
    rest = small_network[layer + 1 :]
    clean = rest(a)[:, 1].detach()
    sums = torch.zeros_like(a[:, 0])
    for k in range(a.shape[1]):
        without = a.clone()
        without[:, k] = 0
        drop = (clean - rest(without)[:, 1].detach()) / clean
        sums += drop[:, None, None] * a[:, k]
    found = CAM(small_network, str(layer), "ablation-cam")(small_images, 1)
    torch.testing.assert_close(found, heatmap(sums, (16, 16)), rtol=0, atol=TOLERANCE)


@pytest.fixture
def fine() -> nn.Module:
    """A layer as fine as the image, so that upsampling changes nothing."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.Softplus(), nn.Flatten(), nn.Linear(5 * 144, 4)
    ).eval()


def information(image: Tensor, a: Tensor) -> Tensor:
    """Mutual information ``[K]`` of the grey image and each channel, 32 bins, by scikit-learn."""

    def binned(values: Tensor) -> np.ndarray:
        flat = values.flatten().double().numpy()
        share = (flat - flat.min()) / (flat.max() - flat.min())
        return np.minimum((share * 32).astype(int), 31)

    grey = binned(image.mean(0))
    return torch.tensor([mutual_info_score(grey, binned(channel)) for channel in a])


@pytest.mark.parametrize("name", ["mi-cam", "mi-grad-cam"])
def test_mutual_information_cams_by_hand(fine, name):
    images = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(5))
    evidence = measure(fine, fine[1], images)
    sums = []
    for image, a, g in zip(images, evidence.activations, evidence.gradients, strict=True):
        weights = information(image, a).float()
        assert weights.min() > 0.1
        assert weights.max() < np.log(32)
        assert weights.std() > 0.01
        if name == "mi-grad-cam":
            weights = weights / weights.sum() * g.mean((1, 2))
        sums.append((weights[:, None, None] * a).sum(0))
    expected = heatmap(torch.stack(sums), (12, 12))
    found = CAM(fine, "1", name)(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


def test_opti_cam_by_hand(small_network, small_images):
    """The released code's lines: channels' softmax, mask scaled by its extremes, Adam on the loss
    of the logit."""
    net, images = small_network.double(), small_images[:3].double()
    features = net[:4](images).detach()
    u = torch.full((3, features.shape[1], 1, 1), 0.5, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([u], lr=0.1)
    scores = []
    for _ in range(50):
        sums = (u.softmax(1) * features).sum(1, keepdim=True)
        up = F.interpolate(sums, (16, 16), mode="bilinear", align_corners=False)
        low = up.flatten(1).min(1)[0].view(3, 1, 1, 1)
        high = up.flatten(1).max(1)[0].view(3, 1, 1, 1)
        scores.append(net(images * ((up - low) / (high - low)))[:, 2])
        adam.zero_grad()
        (-scores[-1]).sum().backward()
        adam.step()
    assert (scores[-1] > scores[0]).all()
    sums = (u.detach().softmax(1) * features).sum(1)
    found = CAM(net, "3", "opti-cam")(images, 2)
    torch.testing.assert_close(found, heatmap(sums, (16, 16)), rtol=0, atol=TOLERANCE)


def test_recipro_cam_by_hand(small_network, small_images):
    """The authors' loop: the head on features that are zero but at one place, softmax."""
    net, images = small_network.double(), small_images.double()  # single places differ little
    features = net[:4](images).detach()
    maps = torch.zeros_like(features[:, 0])
    for i in range(features.shape[2]):
        for j in range(features.shape[3]):
            alone = torch.zeros_like(features)
            alone[:, :, i, j] = features[:, :, i, j]
            maps[:, i, j] = net[4:](alone).softmax(1)[:, 2].detach()
    expected = heatmap(maps, (16, 16))
    assert (expected.amax((1, 2)) == 1).all()
    for cam in (CAM(net, "3", "recipro-cam"), CAM(net, "cam[3](R)"), CAM(net, "recipro-cam@3")):
        torch.testing.assert_close(cam(images, 2), expected, rtol=0, atol=TOLERANCE)


def test_fem_xplique_by_hand(small_network, small_images):
    """xplique: L = sum_k mu_k [A_k >= mu_k + 2 sigma_k]."""
    a = small_network[:4](small_images).detach().numpy()
    mu, sigma = a.mean((2, 3), keepdims=True), a.std((2, 3), keepdims=True)
    sums = torch.from_numpy((mu * (a >= mu + 2 * sigma)).sum(1))
    found = CAM(small_network, "3", "fem-xplique")(small_images)
    torch.testing.assert_close(found, heatmap(sums, (16, 16)), rtol=0, atol=TOLERANCE)
    assert (found - CAM(small_network, "3", find_method("fem"))(small_images)).abs().max() > 0.1
