"""Max-sensitivity against Captum, equivariance against scipy's transforms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage, stats
from torch import nn

import sycam
from sycam.data.images import ImageSet
from sycam.errors import OptionError
from sycam.heatmaps import norm01
from sycam.metrics import Context, Equivariance, MaxSensitivity, Noise


def perturbed(images, radius, samples):
    """The metric's own perturbed copies, ``[N, samples, C, H, W]``."""
    count = len(images)
    ctx = Context(
        images,
        torch.zeros(count),
        torch.ones(count),
        None,
        ImageSet.from_arrays(images).digests,
    )
    return torch.stack([Noise("uniform", radius, i).applied(ctx) for i in range(samples)], 1)


def test_max_sensitivity_is_captums_on_the_same_perturbations(small_network, small_images, score):
    attr = pytest.importorskip("captum.attr")
    metrics = pytest.importorskip("captum.metrics")
    layer, radius, samples = small_network[3], 0.05, 6
    cam = attr.LayerGradCam(small_network, layer)
    targets = small_network(small_images).argmax(1)

    def explain(inputs, target):
        inputs = inputs[0] if isinstance(inputs, tuple) else inputs
        with torch.enable_grad():
            found = cam.attribute(inputs, target=target, relu_attributions=True)
        return (norm01(F.interpolate(found.detach(), (16, 16), mode="bilinear")),)

    copies = perturbed(small_images, radius, samples)
    expected = metrics.sensitivity_max(
        explain,
        small_images,
        perturb_func=lambda inputs: copies.flatten(0, 1),
        n_perturb_samples=samples,
        target=targets,
    )
    found = score(MaxSensitivity(radius, samples), small_network, small_images, ["mean(G)"])
    assert expected.min() > 0.01
    assert torch.allclose(found[0].float(), expected, atol=1e-5)


def test_captum_cannot_take_its_own_layer_method(small_network, small_images):
    """A layer method returns a bare tensor. Captum wraps that of the perturbed images, but not that
    of the clean ones, whose seven images it then takes for seven inputs: 10 rows against 70."""
    attr = pytest.importorskip("captum.attr")
    metrics = pytest.importorskip("captum.metrics")
    cam = attr.LayerGradCam(small_network, small_network[3])
    targets = small_network(small_images).argmax(1)
    with pytest.raises(RuntimeError, match=r"tensor a \(70\) must match .* tensor b \(10\)"):
        metrics.sensitivity_max(cam.attribute, small_images, target=targets)
    wrapped = metrics.sensitivity_max(
        lambda inputs, target: (cam.attribute(inputs, target=target),),
        small_images,
        target=targets,
    )
    assert wrapped.shape == (7,)


def test_a_map_that_ranks_nothing_is_not_the_most_stable(small_network, small_images, score):
    metric = MaxSensitivity(samples=2)
    useful, zero = score(metric, small_network, small_images, ["mean(G)", "mean(A - A)"])
    assert (zero >= 0.9).all()
    assert (useful < zero).all()


def test_a_fixed_blob_is_perfectly_stable(small_network, small_images):
    table = sycam.evaluate(
        small_network,
        "3",
        small_images,
        ["centre-prior"],
        [MaxSensitivity(samples=2), Equivariance()],
    )
    assert table.cells["centre-prior", "max-sensitivity:samples=2"].mean == 0
    assert table.cells["centre-prior", "equivariance"].mean == pytest.approx(1)


def flipped(image):
    return image[..., ::-1], np.ones(image.shape[-2:], bool)


def translated(image):
    """Down and to the right by a quarter: 4 of 16 pixels."""
    moved = np.pad(image, [(0, 0), (4, 0), (4, 0)], mode="edge")[:, :16, :16]
    inside = np.zeros((16, 16), bool)
    inside[4:, 4:] = True
    return moved, inside


def rotated(image):
    turn = {"axes": (-2, -1), "reshape": False, "order": 1}
    moved = ndimage.rotate(image, 20, mode="nearest", **turn)
    inside = ndimage.rotate(np.ones((1, 16, 16)), 20, mode="constant", **turn)[0]
    return moved, inside > 1 - 1e-6


@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        (Equivariance(), flipped),
        (Equivariance("translate", 0.25), translated),
        (Equivariance("rotate", 20), rotated),
    ],
    ids=lambda value: getattr(value, "transform", None),
)
def test_equivariance_is_the_correlation_under_scipys_transform(
    metric, reference, small_network, small_images, score, heatmaps
):
    found = score(metric, small_network, small_images, ["mean(G)"])[0]
    targets = small_network(small_images).argmax(1)
    straight = heatmaps(small_network, small_images, "mean(G)", targets)
    moved = np.stack([reference(image)[0] for image in small_images.double().numpy()])
    again = heatmaps(small_network, torch.from_numpy(moved).float(), "mean(G)", targets)
    for i in range(7):
        expected, inside = reference(straight[i : i + 1].double().numpy())
        r = stats.pearsonr(again[i].numpy()[inside], expected[0][inside]).statistic
        assert found[i].item() == pytest.approx((1 + r) / 2, abs=1e-4)


@pytest.fixture
def symmetric_network():
    """Kernels that are their own mirror images, and a head that sees no places."""
    torch.manual_seed(2)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    ).eval()
    kernel = network[0].weight.data
    kernel.copy_((kernel + kernel.flip(-1)) / 2)
    return network


def test_a_network_with_symmetric_kernels_is_equivariant_to_flips(
    symmetric_network, small_images, score
):
    texts = ["mean(G)", "mean(A)", "max(G) * std(A)"]
    found = score("equivariance", symmetric_network, small_images, texts, layer="1")
    assert torch.allclose(found, torch.ones_like(found), atol=1e-6)


@pytest.mark.parametrize("metric", [Equivariance("translate"), Equivariance("rotate", 90)])
def test_a_pointwise_network_is_equivariant_where_pixels_only_move(metric, small_images, score):
    torch.manual_seed(4)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    ).eval()
    found = score(metric, network, small_images, ["mean(G)"], layer="1")
    assert torch.allclose(found, torch.ones_like(found), atol=1e-5)


def test_volumes_are_transformed_in_their_last_two_sides(score):
    torch.manual_seed(5)
    network = nn.Sequential(
        nn.Conv3d(1, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3)
    ).eval()
    volumes = torch.rand(3, 1, 4, 6, 8, generator=torch.Generator().manual_seed(6))
    for metric in (Equivariance(), Equivariance("translate"), Equivariance("rotate", 30)):
        found = score(metric, network, volumes, ["mean(G)"], layer="1")
        assert torch.isfinite(found).all()
        if metric.transform != "rotate":
            assert torch.allclose(found, torch.ones_like(found), atol=1e-5)


def test_flat_maps_count_as_uncorrelated(small_network, small_images, score):
    found = score("equivariance", small_network, small_images, ["mean(A - A)"])
    assert torch.allclose(found, torch.full_like(found, 0.5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaxSensitivity(samples=0), "positive integer, got 0"),
        (lambda: MaxSensitivity(radius=-1), "above 0, got -1"),
        (lambda: Equivariance("shear"), "'flip' or 'translate' or 'rotate'"),
        (lambda: Equivariance("flip", 3), "takes no amount, got 3"),
        (lambda: Equivariance("translate", 0.7), "between 0 and 0.5"),
        (lambda: Equivariance("rotate", math.inf), "between -180 and 180"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
