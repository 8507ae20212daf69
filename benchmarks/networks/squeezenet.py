"""SqueezeNet 1.0 for ImageNet, decoded from Deep Compression.

    sycam synthesize --network benchmarks/networks/squeezenet.py:squeezenet --layer fire8 --size 227

Input: RGB in 0..1, 227×227; the network wants BGR in 0..255 less its mean, which is done inside.
Output: 1000 classes in ImageNet's order.

Layers (all after the ReLU): ``fire9`` (512 channels, 13×13) is the usual one for CAMs. What
follows is linear but for one ReLU on the class maps, so gradients there differ from cell to cell
only by being on or off; ``fire8`` (512 channels, 27×27) and ``fire7`` (384 channels, 27×27) have
gradients that truly vary over space.

Architecture: Iandola et al. 2016. Weights: songhan/SqueezeNet-Deep-Compression (BSD-2-Clause).
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from sycam.data.weights import load_weights

ROOT = Path(__file__).resolve().parents[2]


def squeezenet() -> nn.Module:
    """68.5 % top-1 on the 200 validation images of ``val227``."""
    data = ROOT / os.environ.get("SYCAM_DATA", "../shared/data")
    hint = "set SYCAM_DATA to the folder that holds imagenet/"
    return load_weights(SqueezeNet(), data / "imagenet" / "squeezenet1_0_dc.safetensors", hint)


class Fire(nn.Module):
    """Squeeze to few channels, expand by 1×1 and 3×3; its output is after the ReLUs."""

    def __init__(self, in_channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeezed, 1)
        self.squeeze_relu = nn.ReLU()
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.expand_relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_relu(self.squeeze(x))
        return self.expand_relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


class SqueezeNet(nn.Module):
    """``[N, 3, 227, 227]`` in 0..1 to ``[N, 1000]``."""

    def __init__(self) -> None:
        super().__init__()
        # Not persistent: it belongs to the preprocessing, the weights' file has no such name.
        mean = torch.tensor([104.0, 117.0, 123.0])[:, None, None]
        self.register_buffer("mean", mean, persistent=False)
        self.conv1 = nn.Conv2d(3, 96, 7, stride=2)
        self.conv1_relu = nn.ReLU()
        self.pool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.fire2 = Fire(96, 16, 64)
        self.fire3 = Fire(128, 16, 64)
        self.fire4 = Fire(128, 32, 128)
        self.pool4 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.fire5 = Fire(256, 32, 128)
        self.fire6 = Fire(256, 48, 192)
        self.fire7 = Fire(384, 48, 192)
        self.fire8 = Fire(384, 64, 256)
        self.pool8 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.fire9 = Fire(512, 64, 256)
        self.classifier = nn.Conv2d(512, 1000, 1, padding=1)
        self.classifier_relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        x = images.flip(1) * 255 - self.mean
        x = self.pool1(self.conv1_relu(self.conv1(x)))
        x = self.pool4(self.fire4(self.fire3(self.fire2(x))))
        x = self.pool8(self.fire8(self.fire7(self.fire6(self.fire5(x)))))
        x = self.classifier_relu(self.classifier(self.fire9(x)))
        return x.mean(dim=(2, 3))
