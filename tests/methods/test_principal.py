"""First principal components, by formula and by a kernel: the package's, with a sign."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sycam import CAM
from sycam.evidence import Evidence, Stack, measure
from sycam.heatmaps import from_sums
from sycam.methods import find_method

NAMES = ("eigen-cam", "eigen-grad-cam", "seg-eigen-cam", "kpca-cam")
TOLERANCE = 1e-5


def evidence_of(maps: Tensor, gradients: Tensor | None = None) -> Evidence:
    """Evidence with these activations ``[N,K,h,w]`` and nothing else of interest."""
    gradients = torch.ones_like(maps) if gradients is None else gradients
    return Evidence(maps, gradients, maps.new_zeros(len(maps), 2), torch.zeros(len(maps)).long())


@pytest.fixture
def maps_of(context_of, small_network):
    """Heatmaps of a method for activations alone, on the layer's own grid."""

    def run(name: str, activations: Tensor, gradients: Tensor | None = None):
        evidence = evidence_of(activations, gradients)
        images = torch.zeros(len(activations), 3, *activations.shape[-2:])
        chance = {"probability": torch.ones(len(activations), 1, 1, 1)}
        context = context_of(small_network, replace(evidence, others=chance), images)
        return find_method(name).heatmaps(evidence, context)

    return run


@pytest.mark.parametrize("name", NAMES)
def test_the_package_agrees_up_to_the_sign(case, grad_cam, name):
    """Its projection before the ReLU, in either sign, is ours; ours peaks where it is largest."""
    evidence = measure(case.net, case.net.get_submodule(case.layer), case.images)
    a, g = evidence.activations.double().numpy(), evidence.gradients.double().numpy()
    svd = grad_cam.utils.svd_on_activations
    if name == "kpca-cam":
        projection = svd.get_2d_projection_kernel(a)
    else:
        points = {"eigen-cam": a, "eigen-grad-cam": g * a, "seg-eigen-cam": abs(g) * a}[name]
        projection = svd.get_2d_projection(points)
    projection = torch.from_numpy(projection)
    size = tuple(case.images.shape[2:])
    either = from_sums(torch.stack([projection, -projection]), size).maps
    found = CAM(case.net, case.layer, name)(case.images)
    error = (found - either).abs().amax((2, 3))
    assert (error.amin(0) <= TOLERANCE).all(), error
    largest = projection.amax((1, 2)) >= -projection.amin((1, 2))
    expected = torch.where(largest[:, None, None], *either)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


def test_kpca_cam_has_the_packages_sign(case, of_the_package):
    """Scikit-learn's kernel components have the sign that we give to all of them.

    The package computes them in float32, whose rounding shows where the kernel is nearly flat; in
    float64 the two agree as closely as the others (above).
    """
    targets = case.targets()
    expected = of_the_package("KPCA_CAM", case.net, case.layer, case.images, targets)
    found = CAM(case.net, case.layer, "kpca-cam")(case.images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(40, 4, 5), (3, 9, 9), (5, 24, 24)])
def test_an_object_on_a_background_is_bright(maps_of, name, shape):
    """A component with the other sign would show everything but the object."""
    noise = torch.rand(6, *shape, generator=torch.Generator().manual_seed(2)) * 0.05
    noise[:, : shape[0] // 2 + 1, 1:3, 2:4] += 1
    maps = maps_of(name, noise).maps[0]
    assert (maps[:, 1:3, 2:4].mean((1, 2)) > 0.8).all()
    maps[:, 1:3, 2:4] = 0
    assert (maps.mean((1, 2)) < 0.1).all()


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(1e-12, 1e12), seed=st.integers(0, 2**16), shift=st.floats(-2, 2))
def test_scale_and_offset_of_the_channels_do_not_matter(scale, seed, shift):
    """Except in the kernel, which saturates."""
    draw = torch.Generator().manual_seed(seed)
    a = torch.rand(2, 4, 5, 6, generator=draw)
    context = _Size(a)
    plain = find_method("eigen-cam").heatmaps(evidence_of(a), context).maps
    moved = find_method("eigen-cam").heatmaps(evidence_of((a + shift) * scale), context).maps
    torch.testing.assert_close(moved, plain, rtol=0, atol=1e-4)


class _Size:
    """All that these methods ask of a context."""

    def __init__(self, a: Tensor):
        self.size = tuple(a.shape[-2:])


@pytest.mark.parametrize("size", [6, 14])
@pytest.mark.parametrize("scale", [1e-3, 1e-8, 1e-15])
def test_a_kernel_of_small_activations_is_linear(maps_of, size, scale):
    """In one formula its values would be tanh(1), to all digits but the last ones."""
    a = torch.rand(3, 7, size, size, generator=torch.Generator().manual_seed(4))
    linear, kernel = maps_of("eigen-cam", a).maps, maps_of("kpca-cam", a * scale).maps
    torch.testing.assert_close(kernel, linear, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [8, 80])
def test_constant_channels_have_no_component(maps_of, name, channels):
    """Rounding errors of a constant would have one; scaling would blow them up."""
    levels = torch.linspace(0.1, 3.7, channels)[None, :, None, None].expand(2, -1, 6, 6).clone()
    levels[:, :, 2, 3] *= 1 + 1e-7
    found = maps_of(name, levels, torch.full_like(levels, 0.3))
    assert found.degenerate.all()
    assert not found.maps.any()
    assert found.finite.all()


def test_what_overflows_is_told(maps_of):
    a = torch.rand(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    a[1, 2, 3, 3] = torch.inf
    for name in NAMES:
        found = maps_of(name, a)
        assert found.maps.isfinite().all()
        assert found.finite.tolist() == [False]
        assert found.degenerate.tolist() == [[False, True]]
    big = maps_of("eigen-grad-cam", a[:1] * 1e18, a[:1] * 1e18)  # squares are beyond float32
    assert big.finite.all()
    plain = maps_of("eigen-grad-cam", a[:1], a[:1])
    torch.testing.assert_close(big.maps, plain.maps, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_volumes_are_points_as_well(name):
    """Of a volume the slices lie below one another; only upsampling knows of the third side."""
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv3d(1, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 4 * 6 * 7, 3)
    ).eval()
    images = torch.rand(2, 1, 4, 6, 7)
    maps = CAM(net, "1", name)(images)
    assert maps.shape == (2, 4, 6, 7)
    a = net[:2](images).detach().flatten(2).transpose(1, 2).double()
    if name == "eigen-cam":
        centred = a - a.mean(1, keepdim=True)
        u = torch.linalg.svd(centred, full_matrices=False).U[..., 0]
        u = u * torch.where(u.amax(1) >= -u.amin(1), 1.0, -1.0)[:, None]
        expected = (u.clamp(min=0) / u.amax(1, keepdim=True)).unflatten(1, (4, 6, 7)).float()
        torch.testing.assert_close(maps, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.slow
def test_many_channels_take_no_long_decomposition(maps_of):
    """The package's full decomposition of 2048 channels takes over a second an image."""
    a = torch.rand(8, 2048, 7, 7, generator=torch.Generator().manual_seed(1))
    maps_of("eigen-cam", a[:1])
    start = time.perf_counter()
    maps_of("eigen-cam", a)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("height", "width", "shown"), [(32, 32, True), (64, 16, True), (32, 33, False)]
)
def test_kpca_cam_is_shown_unasked_at_layers_of_few_places(height, width, shown):
    evidence = evidence_of(torch.zeros(1, 2, height, width))
    assert find_method("kpca-cam").is_cheap(evidence) is shown
    # Of several layers, its own counts.
    both = Stack(
        (replace(evidence, name="fine"), replace(evidence_of(torch.zeros(1, 2, 2, 2)), name="deep"))
    )
    assert find_method("kpca-cam@deep").is_cheap(both)
    assert find_method("kpca-cam@fine").is_cheap(both) is shown
    assert find_method("grad-cam").is_cheap(evidence)
