"""What removed pixels become: zero, the image's mean colour, or the blurred image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sycam.metrics.context import Context
from sycam.metrics.removal.perturbation import Fill

BASELINES = ("zero", "mean", "blur")
# Kernel and deviation in pixels of an image of side 224: objects are gone, their surroundings left.
HEAVY_BLUR = (89, 22)


def baseline_fill(name: str, context: Context) -> Fill:
    """A fill that shows one of :data:`BASELINES` wherever pixels are removed."""
    return fill_from(baseline_images(name, context))


def fill_from(baseline: Tensor) -> Fill:
    """A fill that shows ``baseline``, of the shape of the context's images or one that is broadcast
    to it, wherever pixels are removed."""
    return lambda images, removed, index: torch.where(
        removed[:, None], baseline.index_select(0, index), images.index_select(0, index)
    )


def baseline_key(name: str) -> tuple[str, str]:
    """Names the fill of :func:`baseline_fill`, for metrics that share its passes."""
    return __name__, name


def baseline_images(name: str, context: Context) -> Tensor:
    """The images of the context with all pixels removed, of their shape or one that is broadcast
    to it.

    Args:
        name: ``"zero"`` in the network's input scale (the mean colour of the training images,
            where inputs are normalised by it), ``"mean"`` of the image, colour by colour, or
            ``"blur"``, see :func:`blur_baseline`.
        context: with N images.
    """
    images = context.images
    make = {
        "zero": lambda: images.new_zeros(len(images), *(1,) * (images.ndim - 1)),
        "mean": lambda: images.mean(tuple(range(2, images.ndim)), keepdim=True),
        "blur": lambda: blur_baseline(images),
    }
    return context.once((__name__, name), make[name])


def blur_baseline(images: Tensor, size: int = 11, sigma: float = 5) -> Tensor:
    """Images ``[N,C,H,W]`` (volumes slice by slice) under a Gaussian blur.

    Args:
        images: whose borders are reflected; a side of one pixel stays as it is.
        size: of the kernel's sides in pixels, where the images' shorter side has 224; scaled with
            that.
        sigma: of the Gaussian, likewise.
    """
    scale = min(images.shape[-2:]) / 224
    radius = max(1, round((size - 1) / 2 * scale))
    places = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (places / max(sigma * scale, 0.5)) ** 2)
    kernel = kernel / kernel.sum()
    flat = images.flatten(0, -3)[:, None]
    if flat.shape[-1] > 1:
        padded = F.pad(flat, (radius, radius, 0, 0), mode="reflect")
        flat = F.conv2d(padded, kernel[None, None, None])
    if flat.shape[-2] > 1:
        padded = F.pad(flat, (0, 0, radius, radius), mode="reflect")
        flat = F.conv2d(padded, kernel[None, None, :, None])
    return flat.view_as(images)
