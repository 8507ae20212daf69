"""A network that tells in which half of a small image there is light, and such images."""

from __future__ import annotations

import pytest
import torch
from torch import nn


def halves(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels ``[N,2,8,8]`` from 0 to 1, a third of them at an end, and the brighter half."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 2, 8, 8, generator=generator) * 0.6
    labels = torch.arange(count) % 3
    for image, label in zip(images, labels.tolist(), strict=True):
        if label:
            image[:, :, slice(0, 4) if label == 1 else slice(4, 8)] += 0.35
    ends = torch.rand(images.shape, generator=generator)
    images[ends < 0.15], images[ends > 0.85] = 0.0, 1.0
    return images, labels


def small_network(seed: int = 0, dropout: float = 0.0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
            nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Dropout(dropout), nn.Flatten(), nn.Linear(96, 3),
        ).eval()  # fmt: skip


@pytest.fixture
def network():
    return small_network()


@pytest.fixture
def images():
    return halves(24, 1)


@pytest.fixture(scope="session")
def make_images():
    return halves


@pytest.fixture(scope="session")
def make_network():
    return small_network
