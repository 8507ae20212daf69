"""Copies of an image over which gradients are averaged: SmoothGrad's and integrated gradients'."""

from __future__ import annotations

import torch
from torch import Tensor


def noisy_copies(image: Tensor, count: int = 8, sigma: float = 0.1, seed: int = 0) -> Tensor:
    """The image with Gaussian noise (Smilkov et al., SmoothGrad, arXiv:1706.03825, 2017).

    Args:
        image: ``[C,H,W]`` or ``[C,D,H,W]``.
        count: of copies.
        sigma: of the noise, as a share of the image's range. It matters: on some networks three
            times as much makes maps of the mean gradient worse than those of the plain one.
        seed: of the noise, which is the same for all images.

    Returns:
        Tensor[count, ...].
    """
    draw = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, *image.shape, generator=draw, dtype=torch.float64).to(image)
    return image + sigma * (image.max() - image.min()) * noise


def path_copies(image: Tensor, count: int = 16) -> Tensor:
    """Images on the straight line from zeros to the image (Sundararajan et al., Axiomatic
    Attribution for Deep Networks, ICML 2017), at the middles of as many equal steps.

    Zeros in the network's input scale are the mean colour where images are standardised, black
    where they are not.

    Args:
        image: ``[C,H,W]`` or ``[C,D,H,W]``.
        count: of copies.

    Returns:
        Tensor[count, ...].
    """
    shares = (torch.arange(count, device=image.device, dtype=image.dtype) + 0.5) / count
    return shares.view(-1, *(1,) * image.ndim) * image
