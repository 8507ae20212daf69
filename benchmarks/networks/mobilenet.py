"""MobileNet v1, width 0.5, for ImageNet at 160×160.

    sycam synthesize --network benchmarks/networks/mobilenet.py:mobilenet --layer blocks.10 \\
        --size 160

Input: RGB in 0..1, 160×160; scaled to -1..1 inside. Output: 1000 classes in ImageNet's order (the
original's class 0, "background", is left out).

Layers (all after the ReLU6): ``blocks.12`` (512 channels, 5×5) is the usual one for CAMs, but
global average pooling and a linear layer follow, so gradients there are the same in every cell and
the published CAMs coincide; ``blocks.11`` (512 channels, 5×5) and ``blocks.10`` (256 channels,
10×10) have gradients that vary over space.

TensorFlow's padding puts the centre of a cell of the last maps about half a cell to the right of
and below where upsampling draws it, so heatmaps of this network lie a few pixels to the left and
above; that is the network's, not the CAM's.

Architecture: Howard et al. 2017, batch norm folded into the biases. Weights: de-quantised from
google-coral/test_data (Apache-2.0).
"""

from __future__ import annotations

import os
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from sycam.data.weights import load_weights

ROOT = Path(__file__).resolve().parents[2]

CHANNELS = (32, 64, 64, 128, 128, 256, 256, 256, 256, 256, 256, 512, 512)
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


def mobilenet() -> nn.Module:
    """70.0 % top-1 on the 200 validation images of ``val227``, warped to 160×160."""
    data = ROOT / os.environ.get("SYCAM_DATA", "../shared/data")
    hint = "set SYCAM_DATA to the folder that holds imagenet/"
    file = data / "imagenet" / "mobilenet_v1_0.5_160.safetensors"
    return load_weights(MobileNet(), file, hint)


class SameConv2d(nn.Conv2d):
    """A 3×3 convolution with TensorFlow's SAME padding: what is odd goes right and below."""

    def __init__(self, in_channels: int, channels: int, stride: int, groups: int = 1) -> None:
        super().__init__(in_channels, channels, 3, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        top, bottom = self._margins(x.shape[2])
        left, right = self._margins(x.shape[3])
        return super().forward(F.pad(x, (left, right, top, bottom)))

    def _margins(self, side: int) -> tuple[int, int]:
        stride = self.stride[0]
        cells = -(-side // stride)
        total = max(0, (cells - 1) * stride + 3 - side)
        return total // 2, total - total // 2


class Block(nn.Module):
    """A depthwise and a pointwise convolution; its output is after the ReLU6."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.dw = SameConv2d(in_channels, in_channels, stride, groups=in_channels)
        self.dw_relu6 = nn.ReLU6()
        self.pw = nn.Conv2d(in_channels, channels, 1)
        self.pw_relu6 = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        return self.pw_relu6(self.pw(self.dw_relu6(self.dw(x))))


class MobileNet(nn.Module):
    """``[N, 3, 160, 160]`` in 0..1 to ``[N, 1000]``."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, 16, stride=2)
        self.stem_relu6 = nn.ReLU6()
        inputs = (16, *CHANNELS[:-1])
        self.blocks = nn.Sequential(
            *(Block(*shape) for shape in zip(inputs, CHANNELS, STRIDES, strict=True))
        )
        self.classifier = nn.Linear(512, 1001)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem_relu6(self.stem(images * 2 - 1))
        x = self.blocks(x).mean(dim=(2, 3))
        return self.classifier(x)[:, 1:]
