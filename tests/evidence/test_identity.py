"""On a ReLU network the score is made of activations and biases, which checks our gradients.

``y = sum(G * A) + sum of dy/db * b`` over the biases b of the layers after the target layer (Fu et
al., Axiom-based Grad-CAM, BMVC 2020, equation 9, has the sum as epsilon); a batch norm counts with
its folded bias ``shift - mean / std * scale``.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sycam.data.images import load_images
from sycam.evidence import measure


def bias_terms(net: nn.Module, layer: nn.Module, image: Tensor, target: int) -> float:
    """Sum of dy/db * b over what lies after the layer, in float64."""
    cut: list[Tensor] = []

    def start_here(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        cut.append(output.detach().clone().requires_grad_())
        return cut[0].clone()  # which an in-place ReLU may change

    handle = layer.register_forward_hook(start_here)
    try:
        score = net(image[None])[0, target]
    finally:
        handle.remove()
    total = 0.0
    for module in net.modules():
        if getattr(module, "bias", None) is None:
            continue
        (slope,) = torch.autograd.grad(score, module.bias, retain_graph=True, allow_unused=True)
        if slope is None:  # lies before the target layer
            continue
        bias = module.bias
        if isinstance(module, nn.BatchNorm2d):
            deviation = (module.running_var + module.eps).sqrt()
            bias = bias - module.running_mean * module.weight / deviation
        total += (slope * bias.detach()).sum().item()
    return total


def check(net: nn.Module, layer: str, images: Tensor) -> None:
    found = measure(net, net.get_submodule(layer), images)
    scores = found.outputs.gather(1, found.targets[:, None])[:, 0]
    products = (found.gradients.double() * found.activations.double()).sum((1, 2, 3))
    biases = torch.tensor(
        [
            bias_terms(net, net.get_submodule(layer), image, int(target))
            for image, target in zip(images, found.targets, strict=True)
        ],
        dtype=torch.float64,
    )
    assert (biases.abs() > 1e-3 * scores.abs()).any()  # without them it would not hold
    torch.testing.assert_close(products + biases, scores.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", ["1", "2", "4", "7"])
def test_the_score_is_activations_and_biases(layer):
    torch.manual_seed(6)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(8 * 16, 10),
        nn.ReLU(),
        nn.Linear(10, 4),
    ).eval()
    for norm in (net[3], net[7]):
        for tensor in (norm.running_mean, norm.weight, norm.bias):
            nn.init.normal_(tensor, 0.3, 0.5)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    check(net, layer, images)


@pytest.mark.data
@pytest.mark.parametrize("layer", ["relu", "layer1", "layer2", "layer3"])
def test_the_score_of_resnet20_is_activations_and_biases(cifar10, real_data, layer):
    images = load_images(real_data / "cifar10" / "test_lossless_500.npz").images[:8]
    check(cifar10.resnet20(), layer, images)
