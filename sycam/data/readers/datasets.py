"""Reading torch's data sets and loaders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    default_collate,
)

from sycam.data.image_set import ImageSet, groups_of
from sycam.data.pictures import flattened, pixels
from sycam.data.preprocessing import Preprocessing
from sycam.data.reader import Frame, Reader
from sycam.data.source import ImageSource
from sycam.errors import DataError, SycamError

EXPECTED = (
    "expected an image, (image, label) or (image, label, mask), or a dictionary with 'image' and "
    "perhaps 'label' and 'mask'"
)


class _Indexed(Protocol):
    """A data set whose items are counted from 0."""

    def __getitem__(self, index: int) -> object: ...

    def __len__(self) -> int: ...


@dataclass(eq=False)
class DatasetReader(Reader):
    """Reads a data set by index.

    Attributes:
        dataset: see :func:`open_dataset`.
        reading: what pictures that come as such are made into.
    """

    dataset: _Indexed
    reading: Preprocessing
    threads: int = 1  # a data set of the user's need not bear several

    def __post_init__(self) -> None:
        self.place = type(self.dataset).__name__
        self.names = tuple(f"{self.place}[{i}]" for i in range(len(self.dataset)))
        if not self.names:
            raise DataError(f"the data set {self.place} holds no image")
        first = self.read(0)
        self.has_labels, self.has_masks = first.label is not None, first.mask is not None

    def read(self, i: int) -> Frame:
        """Image ``i``, see :class:`~sycam.data.reader.Reader`."""
        try:
            item = self.dataset[i]
        except Exception as error:
            raise DataError(
                f"the data set failed at {self.names[i]}: {type(error).__name__}: {error}"
            ) from error
        image, label, mask = _parts(item, self.names[i])
        if isinstance(image, Image.Image):
            if mask is not None:
                raise DataError(
                    f"{self.names[i]} is a picture with a mask; give the data set a transform "
                    "that makes both tensors of one size"
                )
            size = image.size
            channels = self.reading.wanted_channels
            picture = flattened(image, channels, self.reading.window)
            placed = self.reading.geometry(*size).picture(picture, self.reading.filter)
            image = self.scaled(pixels(placed, channels))
        try:
            made = ImageSet.from_arrays(
                _batched(image),
                None if label is None else _batched(label),
                None if mask is None else _batched(mask),
            )
        except DataError as error:
            raise DataError(f"{self.names[i]}, as a batch of one: {error}") from error
        return Frame(
            made.images[0],
            (made.images.shape[-1], made.images.shape[-2]),
            None if made.labels is None else int(made.labels[0]),
            None if made.masks is None else made.masks[0],
        )

    @property
    def draws_range(self) -> bool:  # type: ignore[override]
        """See :class:`~sycam.data.reader.Reader`."""
        return self.reading == Preprocessing()


def open_dataset(
    dataset: Dataset | DataLoader,
    reading: Preprocessing | None = None,
    groups: Sequence[object] | None = None,
) -> ImageSource | ImageSet:
    """The images of a data set or loader.

    Data sets are read by index, when images are wanted; so are loaders that go through a data
    set in order or shuffled, since order is of no importance here. What a loader with a sampler
    or collate function of its own, or a data set that can only be gone through, returns is kept
    in memory.

    Args:
        dataset: items are an image ``[C, H, W]`` in the network's input scale, or a PIL picture;
            ``(image, label)``; ``(image, label, mask)`` with mask ``[H, W]``; or dictionaries
            with keys ``image``, ``label`` and ``mask``. The same item must be the same image each
            time: no augmentation.
        reading: how pictures become the network's input, and what drawings undo.
        groups: what each item belongs to (a patient, a video), in the order of the data set, or
            of what a loader with a sampler of its own returns.

    Raises:
        DataError: items of another kind, or not one group an item.
    """
    reading = reading or Preprocessing()
    if isinstance(dataset, DataLoader):
        plain = isinstance(dataset.sampler, SequentialSampler | RandomSampler)
        if plain and dataset.collate_fn is default_collate:
            return open_dataset(dataset.dataset, reading, groups)
        return _gathered(dataset, groups)
    if isinstance(dataset, IterableDataset) or not isinstance(dataset, Sized):
        return _gathered(DataLoader(dataset, batch_size=32), groups)
    whole: Dataset = dataset
    while isinstance(whole, Subset):
        whole = whole.dataset
    names = getattr(whole, "classes", None)  # of torchvision's ImageFolder, CIFAR10 and others
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        names = None
    reader = DatasetReader(dataset, reading)
    reader.groups = groups_of(groups, len(reader.names))
    return ImageSource(reader, class_names=None if names is None else tuple(names))


def _gathered(loader: DataLoader, groups: Sequence[object] | None) -> ImageSet:
    try:
        batches = [_parts(batch, "a batch") for batch in loader]
    except SycamError:
        raise
    except Exception as error:
        raise DataError(f"the data loader failed: {type(error).__name__}: {error}") from error
    if not batches:
        raise DataError("the data loader holds no image")
    try:
        pictures, *rest = zip(*batches, strict=True)
        images = _joined(pictures)
        labels, masks = (None if column[0] is None else _joined(column) for column in rest)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"the batches of the data loader do not make one tensor ({error}); expected images "
            "[B, C, H, W] of one size, labels [B] and masks [B, H, W]"
        ) from error
    return ImageSet.from_arrays(images, labels, masks, groups=groups)


def _joined(parts: Sequence[Any]) -> Tensor:
    return torch.cat([torch.as_tensor(part) for part in parts])


def _parts(item: object, where: str) -> tuple[Any, Any, Any]:
    """Image, label and mask of an item."""
    if isinstance(item, Mapping):
        if "image" not in item:
            raise DataError(f"{where} has the keys {', '.join(map(str, item))}; {EXPECTED}")
        return item["image"], item.get("label"), item.get("mask")
    if isinstance(item, Tensor | np.ndarray | Image.Image):
        return item, None, None
    if isinstance(item, list | tuple) and 1 <= len(item) <= 3:
        return (*item, None, None)[:3]
    raise DataError(f"{where} is {type(item).__name__}; {EXPECTED}")


def _batched(value: Any) -> Any:
    return value[None] if isinstance(value, Tensor | np.ndarray) else [value]
