"""Where each pixel may go: budgets in shares of the pixels' range, images in the input scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sycam.data.images import ImageSet


@dataclass(frozen=True, eq=False)
class Box:
    """Lowest and highest value of each pixel, both ``[N,C,H,W]`` in the network's input scale."""

    lower: Tensor
    upper: Tensor

    def clamped(self, images: Tensor) -> Tensor:
        """The nearest images inside."""
        return torch.minimum(torch.maximum(images, self.lower), self.upper)


@dataclass(frozen=True)
class PixelScale:
    """What takes images ``[N,C,H,W]`` in the network's input scale to pixels from 0 to 1:
    ``images * std + mean``, a number per channel."""

    mean: Sequence[float]
    std: Sequence[float]

    @classmethod
    def of(cls, images: ImageSet) -> PixelScale:
        return cls(images.mean, images.std)

    def pixels(self, images: Tensor) -> Tensor:
        """``[N,C,H,W]`` from 0 to 1."""
        return images * _channels(self.std, images) + _channels(self.mean, images)

    def inputs(self, pixels: Tensor) -> Tensor:
        """Pixels from 0 to 1 in the input scale."""
        return (pixels - _channels(self.mean, pixels)) / _channels(self.std, pixels)

    def distance(self, share: float | Tensor, images: Tensor) -> Tensor:
        """A share of the pixels' range as a distance in the input scale, to be broadcast.

        Args:
            share: one number, or ``[N,H,W]``, one per pixel.
            images: whose channels, type and device count.
        """
        # A number as a tensor, so that it is rounded as one per pixel is.
        held = torch.as_tensor(share).to(images)
        return (held[:, None] if held.ndim else held) / _channels(self.std, images)

    def box(self, images: Tensor, budget: float | Tensor) -> Box:
        """All images that are within the budget and have pixels from 0 to 1.

        Args:
            images: ``[N,C,H,W]``. A pixel of theirs beyond 0 to 1, by rounding, may stay as it is.
            budget: one number, or ``[N,H,W]``, one per pixel, in shares of the pixels' range.
        """
        away = self.distance(budget, images)
        black, white = (self.inputs(torch.full_like(images[:1], end)) for end in (0.0, 1.0))
        lower = torch.minimum(torch.maximum(images - away, black), images)
        upper = torch.maximum(torch.minimum(images + away, white), images)
        return Box(lower, upper)


def _channels(numbers: Sequence[float], images: Tensor) -> Tensor:
    made = torch.tensor(numbers, dtype=images.dtype, device=images.device)
    return made.reshape(-1, *(1,) * (images.ndim - 2))
