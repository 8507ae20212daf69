"""Attention over exits: at each pixel, how much the map of each exit counts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = 16


class ExitAttention(nn.Module):
    """``S = sum_i a_i M_i`` of the exits' scaled maps, ``a`` a softmax over exits at each pixel.

    What it looks at is each map times the image (Chen et al., 2023, section 2.2); that it is two
    convolutions, 3x3 and 1x1, is ours.

    Args:
        exits: E.
        channels: C of the images.
    """

    def __init__(self, exits: int, channels: int):
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Conv2d(exits * channels, HIDDEN, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(HIDDEN, exits, 1),
        )

    def weights(self, maps: Tensor, images: Tensor) -> Tensor:
        """``[N,E,H,W]`` that sum to 1 over the exits.

        Args:
            maps: ``[N,E,H,W]`` in [0, 1].
            images: ``[N,C,H,W]`` in the network's input scale.
        """
        seen = (maps[:, :, None] * images[:, None]).flatten(1, 2)
        return torch.softmax(self.weigh(seen), 1)

    def forward(self, maps: Tensor, images: Tensor) -> Tensor:
        """``[N,H,W]`` in [0, 1]; arguments as for :meth:`weights`."""
        return (self.weights(maps, images) * maps).sum(1)
