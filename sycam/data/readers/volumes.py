"""Volumes ``[C, D, H, W]`` one by one, from an array or from files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sycam.data.pictures import UnreadablePictureError
from sycam.data.preprocessing import Preprocessing
from sycam.data.reader import Frame, Reader
from sycam.data.readers.truth import no_row
from sycam.errors import DataError, OptionError
from sycam.support.arguments import argument


@dataclass(eq=False)
class VolumeReader(Reader):
    """Reads volumes as they are: none is resampled.

    Values of eight bits are divided by 255, as those of pictures are; others are intensities (say
    Hounsfield units) and taken as they are. Then mean is subtracted and std divides.

    Attributes:
        volume: volume ``i`` as numbers ``[C, D, H, W]``.
        labels: one a volume (None: missing); or None.
        label_table: the table that the labels come from, for messages; or None.
        mask: mask ``i`` as ``[D, H, W]``, not zero = object, or None where there is none; None
            where there are no masks.
        complaint: the message for volumes without a mask; takes their names and the count.
        groups: one a volume; or None.
        note: what a user should know of how they are read.

    Raises:
        OptionError: a size is asked for that only pictures can be brought to.
    """

    place: str
    names: tuple[str, ...]
    reading: Preprocessing
    volume: Callable[[int], np.ndarray]
    labels: Sequence[int | None] | None = None
    label_table: Path | None = None
    mask: Callable[[int], np.ndarray | None] | None = None
    complaint: Callable[[Sequence[str], int], str] | None = None
    groups: Sequence[str] | None = None
    note: str = ""
    in_place: bool = True
    draws_range = True  # intensities have no range of their own

    def __post_init__(self) -> None:
        if self.reading.size is not None:
            raise OptionError(
                f"{self.place} holds volumes, which are not resized; {argument('size')} is for "
                "images: bring the volumes to one size of voxels and one shape beforehand"
            )

    def read(self, i: int) -> Frame:
        """Volume ``i``, see :class:`~sycam.data.reader.Reader`."""
        values = np.asarray(self.volume(i))
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise UnreadablePictureError("NaN or infinite values")
        mask = None if self.mask is None else self.mask(i)
        if mask is not None:
            if mask.shape != values.shape[1:]:
                raise DataError(
                    f"the mask of {self.names[i]} is {sides(mask.shape)} (D×H×W), the volume "
                    f"{sides(values.shape[1:])}; they must have the same size"
                )
            mask = mask != 0
        label = None if self.labels is None else self.labels[i]
        return Frame(self._scaled(values), values.shape[1:], label, mask)

    def _scaled(self, values: np.ndarray) -> Tensor:
        centre, spread = self.reading.scale(len(values))
        volume = torch.from_numpy(np.array(values, dtype=np.float32, order="C"))
        if values.dtype == np.uint8:
            volume /= 255
        mean, std = (torch.tensor(one)[:, None, None, None] for one in (centre, spread))
        return volume.sub_(mean).div_(std)

    @property
    def has_labels(self) -> bool:
        """Whether each volume must have a label."""
        return self.labels is not None

    @property
    def has_masks(self) -> bool:
        """Whether each volume must have a mask."""
        return self.mask is not None

    def without_label(self, names: Sequence[str], count: int) -> str:
        """See :class:`~sycam.data.reader.Reader`."""
        if self.label_table is None:
            return super().without_label(names, count)
        return no_row(self.label_table, names, count)

    def without_mask(self, names: Sequence[str], count: int) -> str:
        """See :class:`~sycam.data.reader.Reader`."""
        if self.complaint is None:
            return super().without_mask(names, count)
        return self.complaint(names, count)


def sides(shape: Sequence[int]) -> str:
    """``8×64×64``."""
    return "×".join(map(str, shape))
