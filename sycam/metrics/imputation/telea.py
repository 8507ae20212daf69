"""Fill removed pixels by OpenCV's inpainting: Telea, An Image Inpainting Technique Based on the
Fast Marching Method, Journal of Graphics Tools 9(1), 2004."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sycam.errors import OptionError

_RADIUS = 3  # pixels around a missing one that are looked at


def impute_telea(images: Tensor, removed: Tensor) -> Tensor:
    """Continue what surrounds the removed pixels, from the border of each hole inwards.

    Args:
        images: ``[B, C, H, W]`` float; what it holds at removed places is not read.
        removed: ``[B, H, W]`` bool, True where the pixel is missing; at least one pixel of each
            image is known.

    Returns:
        ``[B, C, H, W]`` in the dtype and on the device of the images: the known pixels bit for
        bit, the removed ones filled, in single precision.

    Raises:
        OptionError: OpenCV is not installed.
    """
    cv2 = inpainting()
    # OpenCV reads what lies in a hole, at the image's borders and between single pixels: that must
    # tell nothing of the image, so that it is the mean of what is known.
    known = ~removed[:, None]
    mean = (images * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
    masks = removed.cpu().numpy().astype(np.uint8)
    colours = torch.where(known, images, mean).detach().float().cpu().numpy()
    # A colour at a time: OpenCV takes floating point in one channel only.
    filled = [
        [cv2.inpaint(colour, mask, _RADIUS, cv2.INPAINT_TELEA) for colour in image]
        for image, mask in zip(colours, masks, strict=True)
    ]
    return torch.where(known, images, torch.from_numpy(np.array(filled)).to(images))


def inpainting() -> Any:
    """The module ``cv2``.

    Raises:
        OptionError: it is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise OptionError(
            "imputer 'telea' takes inpainting from OpenCV, which is not installed: "
            "pip install 'sycam[inpainting]', or choose imputer 'blur' or 'mean'"
        ) from None
    return cv2
