"""Images and masks of removed pixels that every imputer is tested on."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def smooth_images(count: int, colours: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Images of unit variance with structure at every scale."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(count, colours, height, width)
    for side in (2, 4, 8, 16):
        noise = torch.randn(count, colours, side, side, generator=generator)
        total += F.interpolate(noise, (height, width), mode="bicubic") * side**-0.5
    total += 0.1 * torch.randn(total.shape, generator=generator)
    return (total - total.mean((2, 3), keepdim=True)) / total.std((2, 3), keepdim=True)


def road_masks(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Nine fractions of a smooth heatmap removed, most and least relevant first: ``[18, H, W]``."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, 8, 8, generator=generator)
    heat = F.interpolate(coarse, (height, width), mode="bilinear").flatten()
    rank = heat.argsort().argsort().reshape(height, width)
    kept = [int(q / 100 * height * width) for q in range(10, 100, 10)]
    return torch.stack([rank >= k for k in kept] + [rank < height * width - k for k in kept])


def special_masks(height: int, width: int) -> torch.Tensor:
    """None missing, random, a checkerboard, one huge hole, one known pixel, a known row, blocks."""
    generator = torch.Generator().manual_seed(1)
    masks = torch.zeros(8, height, width, dtype=torch.bool)
    masks[1] = torch.rand(height, width, generator=generator) < 0.5
    masks[2] = (torch.arange(height)[:, None] + torch.arange(width)) % 2 == 0
    masks[3, 1:-1, 1:-1] = True
    masks[4] = True
    masks[4, height // 3, width // 2] = False
    masks[5] = True
    masks[5, -1] = False
    coarse = torch.rand(1, 1, -(-height // 4), -(-width // 4), generator=generator) < 0.8
    masks[6] = F.interpolate(coarse.float(), scale_factor=4)[0, 0, :height, :width] > 0
    masks[6, 0, 0] = False
    masks[7] = torch.rand(height, width, generator=generator) < 0.97
    masks[7, 0, 0] = False
    return masks
