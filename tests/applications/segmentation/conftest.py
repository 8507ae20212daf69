"""Small images with a bright square or none, and a small encoder."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sycam.applications import Segmenter, train_segmenter
from sycam.data.image_set import ImageSet


class Encoder(nn.Module):
    """Two stages; dropout and batch norm, so that order and random numbers matter."""

    def __init__(self) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        )
        self.drop = nn.Dropout2d(0.1)
        self.stage2 = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.stage2(self.drop(self.stage1(images))).mean((2, 3)))


@pytest.fixture
def encoder() -> nn.Module:
    torch.manual_seed(0)
    return Encoder().eval()


def squares(count: int, seed: int = 0, side: int = 16) -> ImageSet:
    """Noise, in every second image with a bright square of 6 pixels."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.3 * torch.rand(count, 3, side, side, generator=generator)
    masks = torch.zeros(count, side, side, dtype=torch.bool)
    for i in range(0, count, 2):
        top, left = torch.randint(0, side - 6, (2,), generator=generator).tolist()
        masks[i, top : top + 6, left : left + 6] = True
    images = images + 0.6 * masks[:, None]
    return ImageSet.from_arrays(images, masks.flatten(1).any(1).long(), masks)


@pytest.fixture
def images() -> ImageSet:
    return squares(24)


@pytest.fixture
def unseen() -> ImageSet:
    return squares(20, seed=1)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Segmenter:
    """On 24 images, none of ``unseen``."""
    torch.manual_seed(0)
    return train_segmenter(
        Encoder().eval(), squares(24), layer=["stage1", "stage2"], epochs=8, attention_epochs=2,
        batch=8, learning_rate=0.02, out=tmp_path_factory.mktemp("trained"),
    )  # fmt: skip
