"""Pictures in memory: eight-bit arrays and tensors, and PIL images, read as files are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sycam.data.image_set import form_hint, groups_of
from sycam.data.pictures import UnreadablePictureError, flattened, is_deep, pixels, read_as
from sycam.data.preprocessing import Preprocessing
from sycam.data.readers.archive import ArchiveReader, labels_of, masks_of
from sycam.data.readers.datasets import DatasetReader
from sycam.data.source import ImageSource
from sycam.errors import DataError
from sycam.support.options import with_keywords

Pictures = Tensor | np.ndarray | Sequence[Image.Image | np.ndarray | Tensor]

_COLOURS = (1, 3)  # grey and RGB: by these the axis of the channels is told
_WHERE = Path("pictures")  # for messages
EXPECTED = (
    "expected uint8 [N, H, W, 3], [N, 3, H, W] or [N, H, W], or a list of PIL images or of such "
    "arrays without N"
)


def open_pictures(
    pictures: Pictures,
    labels: Sequence[int] | Tensor | np.ndarray | None = None,
    masks: Tensor | np.ndarray | None = None,
    groups: Sequence[object] | None = None,
    reading: Preprocessing | None = None,
    **options: Any,
) -> ImageSource:
    """Pictures in memory as images in the network's input scale, with a note of what was assumed.

    Args:
        pictures: values 0 to 255: uint8 ``[N,H,W,C]`` or ``[N,C,H,W]`` with C 1 or 3, whichever
            of the two it can be, ``[N,H,W]`` grey; or a list of PIL images or of such arrays
            without N, which may differ in size where ``size`` is given. PIL images of sixteen-bit
            grey are 0 to 65535, or the window, and keep what they tell.
        labels: whole numbers ``[N]`` from 0 on.
        masks: ``[N,H,W]``, of the pictures' size, not zero = object; for pictures of one size.
        groups: see :meth:`sycam.ImageSet.from_arrays`.
        reading: how pictures become the network's input; only divided by 255 if None.
        options: single fields of :class:`sycam.data.preprocessing.Preprocessing` in its place:
            ``size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)``.

    Raises:
        DataError: another type or shape, axes that can be read in two ways, or labels, masks and
            groups that do not match.
        OptionError: preprocessing out of range.

    Example:
        >>> images = open_pictures(np.zeros((2, 8, 8, 3), np.uint8), mean=[0.5], std=[0.5])
        >>> images.shape, float(images.whole().images.max())
        ((3, 8, 8), -1.0)
    """
    (how,) = with_keywords(options, reading or Preprocessing())
    arrays, order = _arrays(pictures, how)
    count = len(arrays)
    belongs = groups_of(groups, count)
    found = None if labels is None else labels_of(_array(labels), count, _WHERE)
    sizes = {array.shape for array in arrays}
    note = f"{count} pictures {order}, are taken as 0 to 255{_of_deep(pictures, how)}: {how}"
    if len(sizes) == 1:
        whole = arrays if isinstance(arrays, np.ndarray) else np.stack(arrays)
        how.scale(how.channels or whole.shape[3])  # refuse what does not fit at once
        marked = None if masks is None else masks_of(_array(masks), whole.shape[:3], _WHERE)
        reader = ArchiveReader("memory", how, whole, found, marked, groups=belongs)
        reader.names = tuple(f"picture[{i}]" for i in range(count))
        return ImageSource(reader, notes=(note,))
    if masks is not None:
        raise DataError(
            f"masks are given beside pictures of {len(sizes)} sizes; give pictures of one size, or "
            "a data set of (image, label, mask) as tensors"
        )
    pairs = zip(pictures, arrays, strict=True)
    shown = [one if isinstance(one, Image.Image) else _picture(array) for one, array in pairs]
    items = shown if found is None else list(zip(shown, found.tolist(), strict=True))
    several = DatasetReader(items, how)
    several.place, several.groups = "memory", belongs
    several.names = tuple(f"picture[{i}]" for i in range(count))
    return ImageSource(several, notes=(note,))


def are_pictures(images: object) -> TypeGuard[Pictures]:
    """Whether images are eight-bit pictures in memory, or a list of such."""
    if isinstance(images, list | tuple):
        return bool(images) and all(map(_is_picture, images))
    return isinstance(images, Tensor | np.ndarray) and _eight_bit(images)


def stacked(images: Any) -> Any:
    """A list of float arrays or tensors of one shape as one tensor; all else as it is."""
    if not isinstance(images, list | tuple) or not images:
        return images
    if not all(isinstance(one, Tensor | np.ndarray) for one in images):
        return images
    shapes = {tuple(one.shape) for one in images}
    if len(shapes) > 1:
        several = ", ".join(str(list(shape)) for shape in sorted(shapes)[:3])
        raise DataError(f"the images of the list differ in shape: {several}; expected one shape")
    return torch.stack([torch.as_tensor(one) for one in images])


def channels_first(images: Tensor | np.ndarray) -> tuple[Tensor | np.ndarray, str]:
    """Float images whose three channels stand last, turned, with a note; others as they are.

    They are told by a last side of 3, where the second is no number of channels of a picture.
    """
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[3] != 3 or shape[1] in (*_COLOURS, 4):
        return images, ""
    note = (
        f"images {list(shape)} are taken as [N, H, W, C], in the network's input scale, and turned "
        "to [N, C, H, W]"
    )
    if isinstance(images, Tensor):
        return images.permute(0, 3, 1, 2), note
    return images.transpose(0, 3, 1, 2), note


def _is_picture(one: object) -> bool:
    return isinstance(one, Image.Image) or (
        isinstance(one, Tensor | np.ndarray) and _eight_bit(one)
    )


def _eight_bit(values: Tensor | np.ndarray) -> bool:
    return values.dtype in (torch.uint8, np.uint8)


def _array(values: object) -> np.ndarray:
    return values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _of_deep(pictures: Pictures, how: Preprocessing) -> str:
    """What is said of pictures of sixteen-bit grey, where there are any."""
    deep = sum(isinstance(one, Image.Image) and is_deep(one) for one in pictures)
    return f" ({deep} of sixteen-bit grey: {read_as(how.window)})" if deep else ""


def _arrays(pictures: Pictures, how: Preprocessing) -> tuple[np.ndarray | list[np.ndarray], str]:
    """Arrays ``[H,W,C]`` of pictures, and in words what they were."""
    if isinstance(pictures, Tensor | np.ndarray):
        whole = _array(pictures)
        if not _eight_bit(pictures) or whole.ndim not in (3, 4) or 0 in whole.shape:
            raise _wrong(pictures)
        if whole.ndim == 3:
            if whole.shape[2] in (*_COLOURS, 4):  # one picture, or many of a strange width
                raise _wrong(pictures)
            return whole[..., None], f"[N, H, W] = {list(whole.shape)}, grey"
        last = _channels_last(whole.shape[1:])
        order = "channels last" if last else "channels first"
        return whole if last else whole.transpose(0, 2, 3, 1), f"{list(whole.shape)}, {order}"
    if not pictures or not all(map(_is_picture, pictures)):
        kinds = ", ".join(sorted({type(one).__name__ for one in pictures})) or "empty"
        raise DataError(f"pictures are a list of {kinds}; {EXPECTED}")
    arrays = [_one(picture, i, how) for i, picture in enumerate(pictures)]
    depths = {array.shape[2] for array in arrays}
    if len(depths) > 1:
        raise DataError("some pictures are grey and some in colour; convert them to one of these")
    return arrays, f"of a list, {'grey' if depths == {1} else 'RGB'}"


def _one(picture: Image.Image | np.ndarray | Tensor, i: int, how: Preprocessing) -> np.ndarray:
    if isinstance(picture, Image.Image):
        channels = how.wanted_channels
        try:
            return pixels(flattened(picture, channels, how.window), channels)
        except UnreadablePictureError as error:
            raise DataError(f"picture[{i}]: {error}") from None
    values = _array(picture)
    if values.ndim == 2:
        return values[..., None]
    if values.ndim != 3:
        raise DataError(f"picture[{i}] is {list(values.shape)}; {EXPECTED}")
    return values if _channels_last(values.shape) else values.transpose(1, 2, 0)


def _channels_last(shape: tuple[int, ...]) -> bool:
    """Of three axes: whether the channels are the last, not the first; DataError where it is
    both or neither."""
    first, last = shape[0] in _COLOURS, shape[2] in _COLOURS
    if first and last:
        raise DataError(
            f"pictures of shape {list(shape)} may have their channels first or last; give them as "
            "float [N, C, H, W] in the network's input scale, or as PIL images"
        )
    if not first and not last:
        alpha = 4 in (shape[0], shape[2])
        hint = "; leave transparency out: pictures[..., :3]" if alpha else ""
        raise DataError(f"pictures of shape {list(shape)} are neither grey nor RGB{hint}; "
                        f"{EXPECTED}")  # fmt: skip
    return last


def _wrong(pictures: Tensor | np.ndarray) -> DataError:
    hint = form_hint(torch.from_numpy(np.array(_array(pictures), copy=False)))
    return DataError(f"pictures are {pictures.dtype} {list(pictures.shape)}; {EXPECTED}{hint}")


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
