"""Random views of images, from which SimCLR learns what an image keeps under them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sycam.applications.pixels import PixelScale

# As Chen et al. have them for small images, but for the least area (theirs is 0.08), and without
# hue and blur: medical images are grey, and their objects may be small.
AREAS = (0.2, 1.0)  # of a crop, as a share of the image
RATIOS = (3 / 4, 4 / 3)  # of its sides, each as a share of the image's
STRENGTH = 0.4  # of brightness, contrast and saturation: factors of 1 -+ this
JITTERED, GREY = 0.8, 0.2  # shares of the views
_LUMINANCE = (0.299, 0.587, 0.114)


def two_views(images: Tensor, scale: PixelScale, generator: torch.Generator) -> Tensor:
    """``[2N,C,H,W]``: a view of each image, then another one of each; see :func:`random_view`."""
    return torch.cat([random_view(images, scale, generator) for _ in range(2)])


def random_view(images: Tensor, scale: PixelScale, generator: torch.Generator) -> Tensor:
    """A crop of each image at its full size, mirrored or not, brighter or darker, with more or
    less contrast; of three channels also with more, less or no colour (Chen et al., 2020,
    appendix A).

    Brightness and contrast suit grey images as well; saturation and the loss of colour leave such
    as are grey in three channels as they are. Pixels may leave the range from 0 to 1.

    Args:
        images: ``[N,C,H,W]`` in the input scale.
        scale: of the images, by which colours and black are known.
        generator: on the CPU; each image's view is drawn by its place.

    Returns:
        ``[N,C,H,W]`` in the input scale.
    """
    place, factors, chances = torch.rand(3, len(images), 4, generator=generator)
    drawn = _cropped(images, place, chances[:, 0] < 0.5)
    jittered = _jittered(scale.pixels(drawn), factors, chances[:, 1] < GREY)
    changed = (chances[:, 2] < JITTERED).to(images.device)
    return torch.where(_per_image(changed), scale.inputs(jittered), drawn)


def _cropped(images: Tensor, place: Tensor, mirrored: Tensor) -> Tensor:
    """By numbers from 0 to 1 ``[N,4]``: area, ratio, and where along both sides."""
    area = _between(AREAS, place[:, 0])
    ratio = _between([math.log(one) for one in RATIOS], place[:, 1]).exp()
    width, height = ((area * one).sqrt().clamp(max=1) for one in (ratio, 1 / ratio))
    across, down = 2 * place[:, 2:].T - 1
    zero = torch.zeros_like(area)
    rows = (
        torch.stack([torch.where(mirrored, -width, width), zero, (1 - width) * across], 1),
        torch.stack([zero, height, (1 - height) * down], 1),
    )
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid.to(images), padding_mode="border", align_corners=False)


def _jittered(pixels: Tensor, numbers: Tensor, grey: Tensor) -> Tensor:
    """By numbers from 0 to 1 ``[N,4]`` for brightness, contrast and saturation, and which are to
    lose their colours."""
    bright, contrast, colour, _ = (
        _per_image(_between((1 - STRENGTH, 1 + STRENGTH), one).to(pixels)) for one in numbers.T
    )
    pixels = pixels * bright
    middle = pixels.mean((1, 2, 3), keepdim=True)
    pixels = middle + contrast * (pixels - middle)
    if pixels.shape[1] != len(_LUMINANCE):
        return pixels
    shades = (pixels * pixels.new_tensor(_LUMINANCE)[:, None, None]).sum(1, keepdim=True)
    colour = torch.where(_per_image(grey.to(pixels.device)), 0.0, colour)
    return shades + colour * (pixels - shades)


def _between(ends: tuple[float, float] | list[float], share: Tensor) -> Tensor:
    low, high = ends
    return low + (high - low) * share


def _per_image(numbers: Tensor) -> Tensor:
    return numbers[:, None, None, None]
