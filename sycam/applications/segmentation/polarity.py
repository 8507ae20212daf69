"""Which side of a heatmap is the object: the one in which the classifier finds its class."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sycam.scoring.statistics import Interval, mean_interval

Logit = Callable[[Tensor], Tensor]  # images [N,C,H,W] to [N]


@torch.no_grad()
def class_evidence(logit: Logit, images: Tensor, heat: Tensor) -> Tensor:
    """``[N]``: logit of the image with its hot pixels alone, less that with its cold ones.

    What is taken away is filled with the image's mean of each channel, in proportion to the heat.
    Contrast of foreground and background is the same whichever is which; this is what tells them
    apart (ours: the paper leaves it open).

    Args:
        logit: of the object's class.
        images: ``[N,C,H,W]`` that show the object, in the network's input scale.
        heat: ``[N,H,W]`` in [0, 1].
    """
    empty, share = images.mean((-2, -1), keepdim=True), heat[:, None]
    hot = logit(images * share + empty * (1 - share))
    return hot - logit(images * (1 - share) + empty * share)


def polarity_of(evidence: Tensor, seed: int) -> tuple[int, Interval]:
    """1 where hot pixels are the object, -1 where cold ones are, by the mean evidence; and that
    with its interval.

    Args:
        evidence: ``[N]`` of images that show the object.
        seed: of the bootstrap.
    """
    found = mean_interval(evidence.double().cpu().numpy(), seed)
    return (-1 if found.mean < 0 else 1), found


def turned(heat: Tensor, polarity: int) -> Tensor:
    """The heatmaps ``[...,H,W]`` in [0, 1] with the object hot."""
    return heat if polarity > 0 else 1 - heat
