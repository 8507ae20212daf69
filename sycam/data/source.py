"""Images that are read when they are wanted, so that there may be more than memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from sycam.data.image_set import ImageSet, image_digest, scale_of_range
from sycam.data.near_copies import look_of
from sycam.data.pictures import UnreadablePictureError
from sycam.data.reader import Frame, Reader
from sycam.data.streamed import Streamed, StreamedImages
from sycam.data.tables import listed
from sycam.errors import DataError
from sycam.support.arguments import argument
from sycam.support.cores import cores
from sycam.support.mapped_tensor import blank
from sycam.support.shelf import room_for

AT_ONCE = 32  # images that are decoded before the first of them is handed on


class ImageSource:
    """N images that lie elsewhere.

    One pass over all of them, at the first question, learns which can be read, their sizes and
    digests, labels and masks; it keeps a few images at a time. :meth:`subset` then reads what was
    chosen, again. Attributes and order are those of an :class:`~sycam.data.image_set.ImageSet`.

    Args:
        reader: what reads them.
        origin: arguments of :func:`sycam.data.images.load_images` that read them, or None.
        notes: see :class:`~sycam.data.image_set.ImageSet`.
        class_names: see there.
        progress: called with the numbers of images looked at and of all.

    Attributes:
        stays: whether images that were chosen are read only when they are looked at, each time.
    """

    def __init__(
        self,
        reader: Reader,
        origin: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
        class_names: tuple[str, ...] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ):
        self.reader, self.origin, self.notes = reader, origin, tuple(notes)
        self.class_names, self.progress = class_names, progress
        self.stays = False
        self._known: _Known | None = None
        self._kept: list[int] | None = None  # of those that can be read
        self._left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._indices)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """File names, or places; length N."""
        return tuple(self.reader.names[self._all.indices[i]] for i in self._indices)

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each image's float32 values, as hexadecimal text."""
        return tuple(self._all.digests[i] for i in self._indices)

    @property
    def looks(self) -> np.ndarray:
        """See :class:`~sycam.data.image_set.ImageSet`."""
        return self._all.looks[self._indices]

    @cached_property
    def groups(self) -> tuple[str, ...] | None:
        """See :class:`~sycam.data.image_set.ImageSet`."""
        groups = self.reader.groups
        return (
            None if groups is None else tuple(groups[self._all.indices[i]] for i in self._indices)
        )

    @cached_property
    def labels(self) -> list[int] | None:
        """Classes, length N; or None."""
        labels = self._all.labels
        return None if labels is None else [labels[i] for i in self._indices]

    @cached_property
    def marked(self) -> list[int] | None:
        """Indices of the images whose mask marks anything; None where there are no masks."""
        marked = self._all.marked
        if marked is None:
            return None
        return [place for place, i in enumerate(self._indices) if marked[i]]

    @cached_property
    def skipped(self) -> tuple[str, ...]:
        """One line per image, or kind of image, that was left out."""
        return (*self._all.skipped, *self._left_out)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, H, W)`` of each image."""
        return self._all.shape

    def only(self, indices: Sequence[int], note: str) -> ImageSource:
        """The source without the other images; a line says what was left out."""
        source = self._again()
        source._known = self._all
        source._kept = [self._indices[i] for i in indices]
        source._left_out = (*self._left_out, note)
        return source

    def staying(self) -> ImageSource:
        """The same images, of which none is kept that was chosen."""
        source = self._again()
        source._known, source._kept, source._left_out = self._known, self._kept, self._left_out
        source.stays = True
        return source

    def _again(self) -> ImageSource:
        source = ImageSource(self.reader, self.origin, self.notes, self.class_names, self.progress)
        source.stays = self.stays
        return source

    def subset(self, indices: Iterable[int]) -> ImageSet:
        """Read the images at these indices, in this order.

        Raises:
            DataError: an image is not what it was when it was looked at first.
        """
        wanted = [self._indices[int(i)] for i in indices]
        return self._streamed(wanted) if self.stays else self._all_of(wanted)

    def _all_of(self, wanted: Sequence[int]) -> ImageSet:
        """Read the images at some places of all that can be read."""
        known = self._all
        gathered, changed = _Gathering(self.reader, len(wanted)), []
        frames = _frames(self.reader, [known.indices[i] for i in wanted])
        for place, (i, frame) in zip(wanted, frames, strict=True):
            if not gathered.add(i, frame) or image_digest(frame.image) != known.digests[place]:
                changed.append(self.reader.names[i])
        if changed:
            raise DataError(
                f"{len(changed)} images in {self.reader.place} are not what they were a moment "
                f"ago: {listed(changed)}; were they overwritten, or does a data set change its "
                "images at random? Give it without augmentation"
            )
        images = gathered.whole(self.origin, self.notes, self.class_names)
        return replace(images, skipped=self.skipped)

    def whole(self) -> ImageSet:
        """Read all images, in one pass; large ones lie on disk."""
        if self._known is not None or self.stays:
            return self.subset(range(len(self)))
        gathered = _Gathering(self.reader, len(self.reader.names))
        for i, frame in _frames(self.reader, range(len(self.reader.names)), self.progress):
            gathered.add(i, frame)
        return gathered.whole(self.origin, self.notes, self.class_names)

    def _streamed(self, wanted: list[int]) -> ImageSet:
        """The images at some places of all that can be read, none of them read yet."""
        known, reader = self._all, self.reader
        images = Streamed(lambda at: self._all_of(at).images, wanted, known.shape, torch.float32)
        masks = Streamed(
            lambda at: cast(Tensor, self._all_of(at).masks), wanted, known.shape[1:], torch.bool
        )
        digests = [known.digests[i] for i in wanted]
        seen = StreamedImages(images, digests, known.looks, reader.in_place)
        if reader.draws_range:
            low, high = known.ranges[wanted].T
            mean, std = scale_of_range(float(low.min()), float(high.max()), known.shape[0])
        else:
            mean, std = reader.drawn(images[:1])
        labels, groups = known.labels, reader.groups
        names = [known.indices[i] for i in wanted]
        return ImageSet(
            images=cast(Tensor, seen),
            labels=None if labels is None else torch.tensor([labels[i] for i in wanted]),
            masks=None if known.marked is None else cast(Tensor, masks),
            names=tuple(reader.names[i] for i in names),
            mean=mean,
            std=std,
            skipped=self.skipped,
            origin=self.origin,
            notes=self.notes,
            class_names=self.class_names,
            groups=None if groups is None else tuple(groups[i] for i in names),
            boxes=None if known.boxes is None else tuple(known.boxes[i] for i in wanted),
        )

    @property
    def _indices(self) -> Sequence[int]:
        return range(len(self._all.indices)) if self._kept is None else self._kept

    @property
    def _all(self) -> _Known:
        if self._known is None:
            gathering = _Gathering(self.reader, 0)
            digests: list[str] = []
            looks, count = np.empty((0, 0), np.float32), len(self.reader.names)
            ranges = np.zeros((count, 2), np.float32)
            for i, frame in _frames(self.reader, range(count), self.progress):
                if gathering.add(i, frame):
                    look = look_of(frame.image)
                    if not digests:
                        looks = room_for((count, *look.shape), torch.float32)
                    looks[len(digests)] = look
                    ranges[len(digests)] = frame.image.aminmax()
                    digests.append(image_digest(frame.image))
            self._known = gathering.known(digests, looks[: len(digests)], ranges)
        return self._known


@dataclass(frozen=True)
class _Known:
    """What one pass learned: of the images that can be read, by their place among them."""

    indices: list[int]
    digests: list[str]
    looks: np.ndarray
    ranges: np.ndarray  # [N,2] lowest and highest value
    labels: list[int | None] | None
    marked: list[bool | None] | None
    boxes: list[np.ndarray | None] | None
    skipped: tuple[str, ...]
    shape: tuple[int, ...]


class _Gathering:
    """Images as they come; the first ``room`` of them are kept."""

    def __init__(self, reader: Reader, room: int):
        self.reader, self.room = reader, room
        self.indices: list[int] = []
        self.labels: list[int | None] = []
        self.marked: list[bool | None] = []
        self.boxes: list[np.ndarray | None] = []
        self.skipped: list[str] = []
        self.first: Frame | None = None
        self.images: Tensor | None = None
        self.masks: Tensor | None = None

    def add(self, i: int, frame: Frame | UnreadablePictureError) -> bool:
        """Take one image; whether it could be read."""
        name = self.reader.names[i]
        if isinstance(frame, UnreadablePictureError):
            self.skipped.append(f"{name}: {frame}")
            return False
        if self.first is None:
            self.first = frame
        self._check_shape(frame, name)
        place = len(self.indices)
        if self.room:
            self._keep(place, frame)
        self.indices.append(i)
        self.labels.append(frame.label)
        self.boxes.append(frame.boxes)
        self.marked.append(None if frame.mask is None else bool(frame.mask.any()))
        return True

    def _keep(self, place: int, frame: Frame) -> None:
        if self.images is None:
            self.images = blank((self.room, *frame.image.shape), torch.float32)
            if self.reader.has_masks:
                self.masks = blank((self.room, *frame.image.shape[1:]), torch.bool)
        self.images[place] = frame.image
        if frame.mask is not None and self.masks is not None:
            self.masks[place] = torch.as_tensor(frame.mask)

    def _check_shape(self, frame: Frame, name: str) -> None:
        if frame.image.shape == self.first.image.shape:
            return
        ours, theirs = ("×".join(map(str, one.size)) for one in (self.first, frame))
        mend = (
            f"give {argument('size', metavar='S')} (what the short side becomes, before the centre "
            "is cut out)"
        )
        if frame.image.ndim == 4:
            mend = "bring the volumes to one size of voxels and one shape (D×H×W) beforehand"
        first = self.reader.names[self.indices[0]]
        raise DataError(f"the images differ in size: {first} is {ours}, {name} {theirs}; {mend}")

    def known(self, digests: list[str], looks: np.ndarray, ranges: np.ndarray) -> _Known:
        self._check()
        return _Known(
            self.indices,
            digests,
            looks,
            ranges,
            self.labels if self.reader.has_labels else None,
            self.marked if self.reader.has_masks else None,
            self._boxes(),
            tuple(self.skipped),
            tuple(self.first.image.shape),
        )

    def whole(
        self,
        origin: Mapping[str, Any] | None,
        notes: tuple[str, ...],
        class_names: tuple[str, ...] | None,
    ) -> ImageSet:
        self._check()
        count = len(self.indices)
        images = self.images[:count]
        mean, std = self.reader.drawn(images)
        groups = self.reader.groups
        return ImageSet(
            images=images,
            labels=torch.tensor(self.labels) if self.reader.has_labels else None,
            masks=self.masks[:count] if self.reader.has_masks else None,
            boxes=None if self._boxes() is None else tuple(self.boxes),
            names=tuple(self.reader.names[i] for i in self.indices),
            mean=mean,
            std=std,
            skipped=tuple(self.skipped),
            origin=origin,
            notes=notes,
            class_names=class_names,
            groups=None if groups is None else tuple(groups[i] for i in self.indices),
        )

    def _boxes(self) -> list[np.ndarray | None] | None:
        return self.boxes if any(one is not None for one in self.boxes) else None

    def _check(self) -> None:
        """Refuse sets of which nothing, or not everything that is needed, could be read."""
        count, reader = len(self.indices), self.reader
        if not count:
            raise DataError(
                f"none of the {len(self.skipped)} images in {reader.place} can be read: "
                f"{listed(self.skipped)}"
            )
        for wanted, values, message in (
            (reader.has_labels, self.labels, reader.without_label),
            (reader.has_masks, self.marked, reader.without_mask),
        ):
            missing = [
                reader.names[i]
                for i, value in zip(self.indices, values, strict=True)
                if value is None
            ]
            if wanted and missing:
                raise DataError(message(missing, count))


def _frames(
    reader: Reader,
    indices: Sequence[int],
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, Frame | UnreadablePictureError]]:
    """The images at these indices in order, decoded on several threads, a few at a time."""

    def read(i: int) -> Frame | UnreadablePictureError:
        try:
            return reader.read(i)
        except UnreadablePictureError as error:
            return error

    workers = min(reader.threads, cores())
    with closing(_Pool(workers)) as pool:
        for start in range(0, len(indices), AT_ONCE):
            part = indices[start : start + AT_ONCE]
            yield from zip(part, pool.map(read, part), strict=True)
            if progress:
                progress(start + len(part), len(indices))


class _Pool:
    """Threads, or none where one is enough."""

    def __init__(self, workers: int):
        self._threads = ThreadPoolExecutor(workers) if workers > 1 else None

    def map(self, function: Callable[[int], Any], values: Sequence[int]) -> Iterable[Any]:
        return (
            map(function, values) if self._threads is None else self._threads.map(function, values)
        )

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
