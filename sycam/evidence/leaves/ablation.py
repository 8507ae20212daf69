"""Ablation-CAM's channel drops: what the target's score loses when a channel is switched off.

Torch alone, so that an exported class can carry the source.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def ablation_drops(
    score: Tensor,
    channels: int,
    score_without: Callable[[Tensor], Tensor],
    batch: int = 64,
    logarithmic: bool = False,
) -> Tensor:
    """``D_k = (y - y[A_k := 0]) / y`` (Ramaswamy and Desai, Ablation-CAM, WACV 2020).

    Args:
        score: the target's score y on the clean image, a scalar.
        channels: K.
        score_without: scores ``[B]`` of the image with the channels ``[B]`` set to zero, one in
            each row.
        batch: rows a forward pass.
        logarithmic: whether all these scores are logarithms of y, as of a probability near 1,
            whose differences would be lost in rounding.

    Returns:
        Tensor[K]; zeros where y is 0.
    """
    every = torch.arange(channels, device=score.device)
    left = torch.cat([score_without(part) for part in every.split(batch)])
    if logarithmic:
        return -torch.expm1(left - score)
    return (score - left) / torch.where(score != 0, score, torch.full_like(score, torch.inf))


def set_below_the_minimum(output: Tensor, channels: Tensor) -> Tensor:
    """As the grad-cam package alters a batch: far below the batch's minimum, unless that is 0.

    Args:
        output: ``[B,K,h,w]`` of the layer, changed in place.
        channels: ``[B]``, one in each row.
    """
    for row, channel in enumerate(channels.tolist()):
        least = output.min()
        output[row, channel] = 0 if least == 0 else least - 1e7
    return output
