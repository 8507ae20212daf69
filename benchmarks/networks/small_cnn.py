"""Small grey-image classifiers: brain tumours in MRI, breast ultrasound, flaws in magnetic tiles.

    sycam synthesize --network benchmarks/networks/small_cnn.py:busi --layer bn5_relu \\
        --images $SYCAM_DATA/busi/images_128.npz

Input: one channel in 0..1, 128×128; scaled to the training's range inside.

Layers: ``bn1_relu`` ... ``bn6_relu`` are after the ReLU. ``bn6_relu`` (128 channels, 16×16) is the
usual one for CAMs, but global average pooling and a linear layer follow, so gradients there are
the same in every cell and the published CAMs coincide; ``bn5_relu`` (128 channels, 16×16) is the
last one where they are not.
"""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor, nn

from sycam.data.weights import load_weights

ROOT = Path(__file__).resolve().parents[2]

LAYERS = ((24, 5, 2), (32, 3, 1), (64, 3, 2), (64, 3, 1), (128, 3, 2), (128, 3, 1))
"""Channels, kernel and stride of conv1 ... conv6."""


def brain_tumour() -> nn.Module:
    """Classes pituitary, meningioma, glioma; 87.2 % on the 250 images."""
    return _load("brain_tumour", classes=3)


def busi() -> nn.Module:
    """Classes benign, malignant, normal; 77.6 % on the 156 images."""
    return _load("busi", classes=3)


def magnetic_tile() -> nn.Module:
    """Classes blowhole, break, crack, fray, free, uneven; 84.5 % on the 148 images."""
    return _load("magnetic_tile", classes=6)


class SmallCNN(nn.Module):
    """``[N, 1, 128, 128]`` in 0..1 to ``[N, classes]``."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        in_channels = 1
        for i, (channels, kernel, stride) in enumerate(LAYERS, start=1):
            conv = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, bias=False)
            self.add_module(f"conv{i}", conv)
            self.add_module(f"bn{i}", nn.BatchNorm2d(channels))
            self.add_module(f"bn{i}_relu", nn.ReLU())
            in_channels = channels
        self.linear = nn.Linear(in_channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = (images - 0.25) / 0.25
        for i in range(1, len(LAYERS) + 1):
            for name in (f"conv{i}", f"bn{i}", f"bn{i}_relu"):
                x = self.get_submodule(name)(x)
        return self.linear(x.mean(dim=(2, 3)))


def _load(name: str, classes: int) -> nn.Module:
    data = ROOT / os.environ.get("SYCAM_DATA", "../shared/data")
    hint = f"set SYCAM_DATA to the folder that holds {name}/"
    return load_weights(SmallCNN(classes), data / name / "small_cnn.safetensors", hint)
