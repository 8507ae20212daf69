"""FullGrad against the grad-cam package, and by its own decomposition."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from sycam import CAM
from sycam.data.images import ImageSet, load_images
from sycam.errors import NetworkError
from sycam.evidence import measure
from sycam.methods import find_method
from sycam.methods.fullgrad import BATCH, folded_bias
from sycam.problem.explained_network import ExplainedNetwork
from sycam.targets import Contrast, Probability

TOLERANCE = 1e-5


def test_the_package_agrees(case, of_the_package):
    targets = case.targets()
    expected = of_the_package("FullGrad", case.net, case.layer, case.images, targets)
    found = CAM(case.net, case.layer, "fullgrad-lib")(case.images, targets)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)
    assert (found.amax((1, 2)) == 1).all()


def test_the_package_differs_by_an_absolute_1e_7_alone(case, of_the_package):
    """Of 1e8 times the score, beside which the 1e-7 in its scaling does not count."""
    targets = case.targets()

    def louder(target: int):
        return lambda row: 1e8 * row[target]

    expected = of_the_package("FullGrad", case.net, case.layer, case.images, targets, louder)
    found = CAM(case.net, case.layer, "fullgrad")(case.images, targets)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.data
def test_the_packages_1e_7_is_seen(cifar10, real_data):
    images = load_images(real_data / "cifar10" / "test_lossless_500.npz").images[:8]
    net = cifar10.resnet20()
    maps = [CAM(net, "layer2", name)(images) for name in ("fullgrad", "fullgrad-lib")]
    assert (maps[0] - maps[1]).abs().max() > 1e-3


def normed() -> nn.Module:
    """Every kind of bias: of convolutions, of batch norms with and without scale, of the head."""
    torch.manual_seed(4)
    net = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1),
        nn.BatchNorm2d(5),
        nn.ReLU(inplace=True),
        nn.Conv2d(5, 6, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(6, affine=False),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(6 * 36, 4),
    ).eval()
    for norm in (net[1], net[4]):
        nn.init.normal_(norm.running_mean, std=0.3)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    nn.init.normal_(net[1].weight)
    nn.init.normal_(net[1].bias)
    return net


def test_the_biases_are_those_of_the_decomposition():
    """y = <x, dy/dx> + sum of b * dy/db on a ReLU network, with batch norms' means folded in."""
    net = normed().double()
    biases = {m: folded_bias(m) for m in net if isinstance(m, nn.Conv2d | nn.BatchNorm2d)}
    assert [bias is not None for bias in biases.values()] == [True, True, False, True]
    biases = {m: bias for m, bias in biases.items() if bias is not None}
    images = torch.rand(1, 3, 12, 12, dtype=torch.float64).requires_grad_()
    shifts = {m: torch.zeros(len(b), 1, 1).double().requires_grad_() for m, b in biases.items()}
    x = images
    for module in net:
        x = module(x)
        if module in shifts:
            x = x + shifts[module]
    on_images, *slopes = torch.autograd.grad(x[0, 1], [images, *shifts.values()])
    total = (on_images * images).sum() + net[7].bias[1]
    for slope, bias in zip(slopes, biases.values(), strict=True):
        total = total + (slope[:, 0, 0] * bias).sum()
    torch.testing.assert_close(total, x[0, 1], rtol=1e-10, atol=1e-10)


def test_biases_count(small_network, small_images):
    """Without biases FullGrad is the input's gradient alone; with them it is not."""
    bare = copy.deepcopy(small_network)
    for module in bare.modules():
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
    found = CAM(bare, "3", "fullgrad")(small_images, 2)
    images = small_images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(bare(images)[:, 2].sum(), images)
    terms = (gradient * small_images).abs()
    low, high = terms.amin((2, 3), keepdim=True), terms.amax((2, 3), keepdim=True)
    expected = ((terms - low) / (high - low)).sum(1)
    low, high = expected.amin((1, 2), keepdim=True), expected.amax((1, 2), keepdim=True)
    torch.testing.assert_close(found, (expected - low) / (high - low), rtol=0, atol=TOLERANCE)
    assert (found - CAM(small_network, "3", "fullgrad")(small_images, 2)).abs().max() > 0.1


@pytest.mark.parametrize("count", [1, BATCH - 1, 2 * BATCH + 3])
def test_micro_batches_do_not_matter(count):
    net = normed()
    images = torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(8))
    whole = CAM(net, "2", "fullgrad")(images)
    single = torch.cat([CAM(net, "2", "fullgrad")(image[None]) for image in images])
    torch.testing.assert_close(whole, single, rtol=0, atol=TOLERANCE)


def test_an_in_place_relu_does_not_matter():
    """It overwrites what the convolution or norm returned, whose gradient is wanted."""
    net, twin = normed(), normed()
    for module in twin:
        if isinstance(module, nn.ReLU):
            module.inplace = False
    images = torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(9))
    plain = CAM(twin, "2", "fullgrad")(images)
    torch.testing.assert_close(CAM(net, "2", "fullgrad")(images), plain, rtol=0, atol=TOLERANCE)


def test_neither_the_layer_nor_the_callers_grad_mode_matters(small_network, small_images):
    plain = CAM(small_network, "3", "fullgrad")(small_images)
    assert torch.equal(CAM(small_network, "1", "fullgrad")(small_images), plain)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            torch.testing.assert_close(CAM(small_network, "3", "fullgrad")(small_images), plain)


def test_nothing_stays_on_the_network(small_images, small_network, context_of):
    evidence = measure(small_network, small_network[3], small_images)
    context = context_of(small_network, evidence, small_images)
    images = small_images.clone()
    twin = context.classifier.network
    before = {name: (tensor.clone(), tensor.stride()) for name, tensor in twin.state_dict().items()}
    first = find_method("fullgrad").heatmaps(evidence, context).maps
    assert torch.equal(find_method("fullgrad").heatmaps(evidence, context).maps, first)
    for module in (*twin.modules(), *small_network.modules()):
        assert not module._forward_hooks
        assert not module._backward_hooks
    for name, tensor in twin.state_dict().items():
        assert torch.equal(tensor, before[name][0])
        assert tensor.stride() == before[name][1]
        assert not tensor.requires_grad
    assert torch.equal(small_images, images)
    assert not small_images.requires_grad
    assert context.classifier.passes == 0


def test_volumes():
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv3d(1, 5, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5 * 2 * 3 * 4, 3),
    ).eval()
    images = torch.rand(2, 1, 4, 6, 8)
    maps = CAM(net, "1", "fullgrad")(images)
    assert maps.shape == (2, 4, 6, 8)
    assert (maps.amax((1, 2, 3)) == 1).all()
    assert (maps.amin((1, 2, 3)) == 0).all()


class Cut(nn.Module):
    """A network whose score cannot be traced back to the image."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.conv(images.detach()).mean((2, 3)))


def test_a_network_that_hides_the_image_is_refused(small_images):
    with pytest.raises(NetworkError, match="gradient of the score with respect to the image"):
        CAM(Cut().eval(), "conv", "fullgrad")(small_images)


def test_fullgrad_explains_the_target_that_is_asked_for(small_network, small_images):
    """It once fell back to the class's logit for every other target."""
    cam = CAM(small_network, "3", "fullgrad")
    logit = cam(small_images, 1)
    torch.testing.assert_close(cam(small_images, lambda row: row[1]), logit)
    for target in (lambda row: row[1] - row[2], Contrast(1), Probability(1)):
        assert (cam(small_images, target) - logit).abs().max() > 1e-3
    margin = cam(small_images, Contrast(1, references=(2,), gamma=1.0))
    torch.testing.assert_close(margin, cam(small_images, lambda row: row[1] - row[2]))


def test_an_engine_that_folds_batch_norms_scores_the_network_as_it_was_built():
    """A convolution with a bias before a batch norm has two bias terms; folded, they are one."""
    torch.manual_seed(2)
    norm = nn.BatchNorm2d(4)
    norm.running_mean.normal_()
    nn.init.normal_(norm.bias)
    layers = [nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)]
    network = nn.Sequential(*layers).eval()
    images = ImageSet.from_arrays(torch.rand(4, 3, 8, 8))
    evidence, context = ExplainedNetwork.prepare(network, "2", images).measure(images)
    before = find_method("fullgrad").heatmaps(evidence, context).maps
    context.classifier.batch = 4
    context.classifier.probability(context.images, context.targets)
    assert context.classifier.plan(64) == "folded"
    assert torch.equal(find_method("fullgrad").heatmaps(evidence, context).maps, before)
