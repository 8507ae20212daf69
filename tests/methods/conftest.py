"""The grad-cam package as reference, and the networks on which methods are compared with it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sycam.data.demo import LAYER, network, normalise, scenes
from sycam.data.images import load_images
from sycam.evidence import Evidence, measure
from sycam.inference import Classifier
from sycam.metrics import Context


@dataclass(frozen=True)
class Case:
    """A network, a layer for gradients, one with few channels for expensive leaves, and images."""

    net: nn.Module
    layer: str
    narrow: str
    images: Tensor

    def targets(self) -> Tensor:
        """Predicted classes and, for every other image, another one."""
        found = measure(self.net, self.net.get_submodule(self.layer), self.images)
        targets = found.targets.clone()
        targets[::2] = (targets[::2] + 1) % found.outputs.shape[1]
        return targets


@pytest.fixture(
    params=[
        "small",
        "demo",
        pytest.param("resnet20", marks=pytest.mark.data),
        pytest.param("vgg16", marks=pytest.mark.slow),
        pytest.param("resnet50", marks=pytest.mark.slow),
    ]
)
def case(request, grad_cam) -> Case:
    """Networks small and large, with and without batch norm, trained and random."""
    draw = torch.Generator().manual_seed(0)
    if request.param == "small":
        net, images = map(request.getfixturevalue, ("small_network", "small_images"))
        return Case(net, "3", "3", images)
    if request.param == "demo":
        return Case(
            network(), LAYER, "features.3", normalise(scenes("heldout", 6).images).contiguous()
        )
    if request.param == "resnet20":
        real = request.getfixturevalue("real_data") / "cifar10" / "test_lossless_500.npz"
        net = request.getfixturevalue("cifar10").resnet20()
        return Case(net, "layer2", "relu", load_images(real).images[:12])
    torch.manual_seed(0)
    models = importlib.import_module("torchvision.models")  # imported by the fixture grad_cam
    net = getattr(models, request.param)(weights=None).eval()
    images = torch.randn(2, 3, 64, 64, generator=draw)
    layers = {"vgg16": ("features.22", "features.4"), "resnet50": ("layer3", "maxpool")}
    return Case(net, *layers[request.param], images)


@pytest.fixture
def of_the_package(grad_cam) -> Callable[..., Tensor]:
    """The package's heatmaps, its own normalisation and resizing included."""

    def heatmaps(
        name: str,
        net: nn.Module,
        layer: str,
        images: Tensor,
        targets: Tensor,
        target: Callable | str = "ClassifierOutputTarget",
    ) -> Tensor:
        if isinstance(target, str):
            target = getattr(grad_cam.utils.model_targets, target)
        chosen = [target(int(t)) for t in targets]
        kind = getattr(importlib.import_module("pytorch_grad_cam"), name)
        cam = kind(model=net, target_layers=[net.get_submodule(layer)])
        try:
            return torch.from_numpy(np.asarray(cam(images.clone(), targets=chosen)))
        finally:
            # Its release would detach them in place, which ShapleyCAM's views refuse.
            cam.activations_and_grads.gradients = []
            cam.activations_and_grads.release()

    return heatmaps


@pytest.fixture
def context_of() -> Callable[[nn.Module, Evidence, Tensor], Context]:
    """What methods and metrics may look at besides the evidence."""

    def build(net: nn.Module, evidence: Evidence, images: Tensor, **more) -> Context:
        digests = [f"{i:064x}" for i in range(len(images))]
        clean, classifier = evidence.probability, Classifier(net)
        return Context(images, evidence.targets, clean, classifier, digests, **more)

    return build
