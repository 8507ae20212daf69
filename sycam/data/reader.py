"""What reads images one by one, whatever they lie in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sycam.data.image_set import drawing_range
from sycam.data.preprocessing import Preprocessing
from sycam.data.tables import listed

THREADS = 8


@dataclass(frozen=True, eq=False)
class Frame:
    """One image as it was read.

    Attributes:
        image: float32 ``[C, H, W]``, or a volume ``[C, D, H, W]``, in the network's input scale.
        size: width and height of the original; depth, height and width of a volume.
        label: its class, or None.
        mask: bool ``[H, W]`` (``[D, H, W]``), or None.
        boxes: ``[n, 4]`` that the mask is the union of, or None.
    """

    image: Tensor
    size: tuple[int, ...]
    label: int | None = None
    mask: np.ndarray | Tensor | None = None
    boxes: np.ndarray | None = None


class Reader(ABC):
    """Reads images one by one.

    Attributes:
        place: where they are, for messages.
        names: of all images, readable or not.
        reading: how pictures become the network's input.
        threads: how many images may be read at a time.
        has_labels: whether each image must have a label.
        has_masks: whether each image must have a mask.
        groups: see :class:`~sycam.data.image_set.ImageSet`; of all images.
        draws_range: whether values have no range of their own, so that they are drawn from the
            lowest to the highest of all images.
        in_place: whether another process can read single images without all others.
    """

    place: str
    names: tuple[str, ...]
    reading: Preprocessing
    threads: int = THREADS
    has_labels: bool = False
    has_masks: bool = False
    groups: Sequence[str] | None = None
    draws_range: bool = False
    in_place: bool = True

    @abstractmethod
    def read(self, i: int) -> Frame:
        """Image ``i``.

        Raises:
            UnreadablePictureError: it cannot be read, and is left out.
            DataError: something else is wrong with it.
        """

    def without_label(self, names: Sequence[str], count: int) -> str:
        """The message where some of ``count`` images have a label and these do not."""
        return f"{len(names)} of {count} images in {self.place} have no label: {listed(names)}"

    def without_mask(self, names: Sequence[str], count: int) -> str:
        """The message where some of ``count`` images have a mask and these do not."""
        return f"{len(names)} of {count} images in {self.place} have no mask: {listed(names)}"

    def scaled(self, pixels: np.ndarray) -> Tensor:
        """Pixels ``[H, W, C]``, 0 to 255 and uint8 or float32, in the network's input scale."""
        centre, spread = self.reading.scale(pixels.shape[2])
        image = torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))
        image = image.to(torch.float32).div_(255)
        return image.sub_(torch.tensor(centre)[:, None, None]).div_(
            torch.tensor(spread)[:, None, None]
        )

    def drawn(self, images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and std that take images back into 0..1, to draw them."""
        if self.draws_range:
            return drawing_range(images)
        return self.reading.scale(images.shape[1])
