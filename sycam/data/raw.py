"""What a reader of images hands over: eight-bit pixels, before the network's input scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class RawImages:
    """Images as they were read, all of one size.

    Attributes:
        pixels: uint8 ``[N, H, W, C]``, C is 1 (grey) or 3 (RGB).
        names: one name an image, length N.
        labels: int64 ``[N]``, or None.
        masks: bool ``[N, H, W]`` ground truth, or None.
        skipped: one line an image that could not be read and was left out.
    """

    pixels: np.ndarray
    names: tuple[str, ...]
    labels: np.ndarray | None = None
    masks: np.ndarray | None = None
    skipped: tuple[str, ...] = ()
