"""Images shifted and flipped at random, for training."""

from __future__ import annotations

import torch
from torch import Tensor

from sycam.applications.pixels import PixelScale

_PART = 8  # images are shifted by up to this part of each side


def shifted_and_flipped(images: Tensor, scale: PixelScale, generator: torch.Generator) -> Tensor:
    """Each image shifted by up to an eighth of each side, black coming in, and mirrored left to
    right or not.

    Args:
        images: ``[N,C,H,W]`` in the input scale.
        scale: says which value is black.
        generator: decides shifts and flips.
    """
    sides = images.shape[2:]
    reach = [side // _PART for side in sides]
    drawn = torch.rand(len(images), len(sides) + 1, generator=generator)
    black = scale.inputs(torch.zeros_like(images[:1]))
    made = black.expand_as(images).clone()
    for image, source, numbers in zip(made, images, drawn.tolist(), strict=True):
        if numbers[-1] < 0.5:
            source = source.flip(-1)
        into: list[slice] = [slice(None)]
        out_of: list[slice] = [slice(None)]
        for side, most, number in zip(sides, reach, numbers, strict=False):
            by = int(number * (2 * most + 1)) - most
            into.append(slice(max(by, 0), side + min(by, 0)))
            out_of.append(slice(max(-by, 0), side + min(-by, 0)))
        image[tuple(into)] = source[tuple(out_of)]
    return made
