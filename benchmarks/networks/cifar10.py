"""ResNet-20 and ResNet-32 for CIFAR-10.

    sycam synthesize --network benchmarks/networks/cifar10.py:resnet20 --layer layer2 ...

Input: RGB in 0..1, 32×32; the training's mean and deviation are applied inside. Output: 10
classes (airplane automobile bird cat deer dog frog horse ship truck).

Layers (all after the ReLU): ``layer3`` (64 channels, 8×8) is the usual one for CAMs, but global
average pooling and a linear layer follow, so gradients there are the same in every cell and the
published CAMs coincide; ``layer2`` (32 channels, 16×16) is the last stage where they are not.

Architecture: He et al. 2016, section 4.2, with the parameter-free shortcut (option A). Weights:
akamaster/pytorch_resnet_cifar10 (Y. Idelbayev, BSD-2-Clause).
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sycam.data.weights import load_weights

ROOT = Path(__file__).resolve().parents[2]


def resnet20() -> nn.Module:
    """Three blocks a stage; 92.8 % on the 500 lossless test images."""
    return _load(ResNet(blocks=3), "resnet20.safetensors")


def resnet32() -> nn.Module:
    """Five blocks a stage; 92.6 % on the 500 lossless test images."""
    return _load(ResNet(blocks=5), "resnet32.safetensors")


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut; its output is after the ReLU."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.stride = stride
        self.padding = (channels - in_channels) // 2

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        # Option A: every second pixel, new channels zero on both sides.
        shortcut = x[:, :, :: self.stride, :: self.stride]
        shortcut = F.pad(shortcut, (0, 0, 0, 0, self.padding, self.padding))
        return self.relu2(out + shortcut)


class ResNet(nn.Module):
    """``[N, 3, 32, 32]`` in 0..1 to ``[N, 10]``."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        # Not persistent: they belong to the preprocessing, the weights' file has no such names.
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        self.register_buffer("mean", mean[:, None, None], persistent=False)
        self.register_buffer("std", std[:, None, None], persistent=False)
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(16, 16, stride=1, blocks=blocks)
        self.layer2 = _stage(16, 32, stride=2, blocks=blocks)
        self.layer3 = _stage(32, 64, stride=2, blocks=blocks)
        self.linear = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = (images - self.mean) / self.std
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


def _stage(in_channels: int, channels: int, stride: int, blocks: int) -> nn.Sequential:
    rest = [Block(channels, channels, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Block(in_channels, channels, stride), *rest)


def _load(network: nn.Module, file: str) -> nn.Module:
    data = ROOT / os.environ.get("SYCAM_DATA", "../shared/data")
    hint = "set SYCAM_DATA to the folder that holds cifar10/"
    return load_weights(network, data / "cifar10" / file, hint)
