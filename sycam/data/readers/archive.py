"""Reading an ``.npz`` file of images."""

from __future__ import annotations

import math
import os
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from sycam.data.preprocessing import Preprocessing
from sycam.data.reader import Frame, Reader
from sycam.data.readers.volumes import VolumeReader
from sycam.errors import DataError
from sycam.support import mapped_tensor
from sycam.support.files import NotPlainError, open_plain
from sycam.support.shelf import IN_MEMORY

ARRAYS = ("images", "labels", "masks", "boxes_xyxy_rel", "ids", "classes")
_LARGE = 1 << 28  # bytes that any file may unpack to
_TIGHTEST = 200  # bytes for one in the file, beyond that
_OF_PICTURES = (1, 3)  # channels: grey and RGB
_LENGTHS = 26  # bytes of a member's own header before the lengths of its name and extra field
_PIECE = 64  # rows of an array that are looked at together


@dataclass(eq=False)
class ArchiveReader(Reader):
    """Reads images of an array.

    Attributes:
        pixels: uint8 ``[N, H, W, C]``, of any number of channels; or float32 0..255, of as many
            as are wanted.
        labels: int64 ``[N]``, or None.
        masks: ``[N, H, W]``, not zero = object; or None.
        boxes: ``[N, 4]`` in pixels, or None.
        groups: one per image, or None.
        ids: names of the images; ``npz[0]`` and so on if None.
        classes: names of the classes that the labels count, or None.
    """

    place: str
    reading: Preprocessing
    pixels: np.ndarray
    labels: np.ndarray | None = None
    masks: np.ndarray | None = None
    boxes: np.ndarray | None = None
    groups: Sequence[str] | None = None
    ids: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    in_place: bool = True

    def __post_init__(self) -> None:
        self.names = self.ids or tuple(f"npz[{i}]" for i in range(len(self.pixels)))

    def read(self, i: int) -> Frame:
        """Image ``i``, see :class:`~sycam.data.reader.Reader`."""
        height, width, channels = self.pixels.shape[1:]
        geometry = self.reading.geometry(width, height)
        pixels = np.asarray(self.pixels[i])
        wanted = self.reading.channels or channels
        if channels not in _OF_PICTURES or pixels.dtype != np.uint8:
            # Each is resampled as a grey picture is.
            layers = [Image.fromarray(pixels[..., c]) for c in range(channels)]
            made = [geometry.picture(one, self.reading.filter) for one in layers]
            pixels = np.stack([np.asarray(one) for one in made], -1).clip(0, 255)
        elif wanted != channels or self.reading.size is not None:
            picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
            picture = picture.convert("RGB" if wanted == 3 else "L")
            pixels = np.asarray(geometry.picture(picture, self.reading.filter))
            pixels = pixels.reshape(*pixels.shape[:2], wanted)
        mask = None
        if self.masks is not None:
            mask = geometry.mask(np.asarray(self.masks[i]) != 0)
        elif self.boxes is not None:
            mask = geometry.boxes([tuple(self.boxes[i])])
        label = None if self.labels is None else int(self.labels[i])
        return Frame(self.scaled(pixels), (width, height), label, mask)

    @property
    def has_labels(self) -> bool:
        """Whether each image must have a label."""
        return self.labels is not None

    @property
    def has_masks(self) -> bool:
        """Whether each image must have a mask."""
        return self.masks is not None or self.boxes is not None


def archive_reader(
    path: Path, reading: Preprocessing, *, groups: str | None = None
) -> ArchiveReader | VolumeReader:
    """The arrays ``images``, and ``labels``, ``masks`` or ``boxes_xyxy_rel`` where given.

    Large arrays are mapped into memory: where they lie in the file, as :func:`numpy.savez` stores
    them; compressed ones, above :func:`sycam.support.mapped_tensor.limit`, from a temporary file
    that they are unpacked into.

    Args:
        path: an ``.npz`` file with ``images`` uint8 ``[N, H, W, C]`` (as many channels as the
            network takes) or ``[N, H, W]``, or volumes ``[N, C, D, H, W]`` of integers or floating
            point; ``labels`` integers ``[N]``; ``masks`` ``[N, H, W]`` (``[N, D, H, W]``), not
            zero = object; ``boxes_xyxy_rel`` ``[N, 4]``, x0 y0 x1 y1 as shares of width and
            height.
            Where both masks and boxes are there the masks count. ``ids``, texts or whole numbers
            ``[N]``, name the images, and ``classes``, texts, the classes; of another form they,
            and all other arrays, are ignored. Nothing in the file is unpickled.
        reading: how pictures become the network's input.
        groups: the array that says what an image belongs to (a patient, a video): whole numbers
            or text ``[N]``.

    Raises:
        DataError: a file that is no sound ``.npz``, or an array that is missing, of another type
            or of another shape.
    """
    arrays, in_place = _load(path, ARRAYS if groups is None else (*ARRAYS, groups))
    if "images" in arrays and arrays["images"].ndim == 5:
        return replace(_volumes(arrays, path, reading, groups), in_place=in_place)
    pixels = _pixels(arrays, path)
    count, height, width = pixels.shape[:3]
    channels = pixels.shape[3]
    if channels not in _OF_PICTURES and reading.channels not in (None, channels):
        raise DataError(
            f"{path}: array 'images' has {channels} channels, the network takes "
            f"{reading.channels}; give a network that takes as many, or images of 1 or 3"
        )
    reading.scale(reading.channels or channels)  # refuse what does not fit at once
    labels, masks, boxes = None, None, None
    if "labels" in arrays:
        labels = labels_of(arrays["labels"], count, path)
    if "masks" in arrays:
        masks = masks_of(arrays["masks"], pixels.shape[:3], path)
    elif "boxes_xyxy_rel" in arrays:
        boxes = _boxes(arrays["boxes_xyxy_rel"], count, path) * [width, height, width, height]
    belongs = None if groups is None else _groups(arrays, groups, count, path)
    ids = _texts(arrays.get("ids"), "iuU", count)
    classes = _texts(arrays.get("classes"), "U")
    if labels is None or classes is None or labels.max() >= len(classes):
        classes = None  # they are no names of what the labels count
    return ArchiveReader(
        str(path), reading, pixels, labels, masks, boxes, belongs, ids, classes, in_place
    )


def of_archive(origin: Mapping[str, Any] | None) -> bool:
    """Whether images come from an ``.npz`` file, by their origin: it may name other classes than
    those of the network, whose labels only group the images."""
    return str((origin or {}).get("source", "")).lower().endswith(".npz")


def names_unused(names: int, classes: int) -> str:
    """What is said where the archive's classes are not the network's."""
    return (
        f"array 'classes' names {names} classes, the network has {classes}: the names are not used"
    )


def _load(path: Path, names: Sequence[str]) -> tuple[dict[str, np.ndarray], bool]:
    """Arrays, and whether another process can read one image of them without unpacking all."""
    try:
        with open_plain(path) as file:
            if not zipfile.is_zipfile(file):
                raise DataError("it is broken, or no .npz file (a zip of arrays)")
            with zipfile.ZipFile(file) as archive:
                held = {info.filename: info for info in archive.infolist()}
                wanted = {name: held[f"{name}.npy"] for name in names if f"{name}.npy" in held}
                unpacked = sum(info.file_size for info in wanted.values())
                _require_room(unpacked, os.fstat(file.fileno()).st_size)
                large = [info for info in wanted.values() if info.file_size > IN_MEMORY]
                in_place = all(info.compress_type == zipfile.ZIP_STORED for info in large)
                return {n: _array(archive, file, info) for n, info in wanted.items()}, in_place
    except (DataError, NotPlainError) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    except Exception as error:
        # zipfile, zlib and numpy's header parser each have errors of their own for broken bytes.
        raise DataError(f"cannot read {path} as an .npz file of plain arrays: {error}") from error


def _require_room(unpacked: int, packed: int) -> None:
    """Refuse a small file that would fill memory or disk; sound images pack less well by far."""
    if unpacked > max(_LARGE, _TIGHTEST * packed):
        raise DataError(
            f"its arrays unpack to {unpacked} bytes, more than {_TIGHTEST} times the file's own; "
            "images do not shrink so far: save them with numpy.savez"
        )


def _array(archive: zipfile.ZipFile, file: BinaryIO, info: zipfile.ZipInfo) -> np.ndarray:
    """One array; the zip's checksum covers it, since it is read to its end."""
    if info.file_size > IN_MEMORY and info.compress_type == zipfile.ZIP_STORED:
        return _in_place(archive, file, info)
    with archive.open(info) as stream:
        if info.file_size <= mapped_tensor.limit():
            return np.lib.format.read_array(stream, allow_pickle=False)
        with tempfile.NamedTemporaryFile(prefix="sycam-", suffix=".npy", delete=False) as unpacked:
            try:
                shutil.copyfileobj(stream, unpacked, 1 << 20)
                unpacked.flush()
                return np.load(unpacked.name, mmap_mode="r", allow_pickle=False)
            finally:
                os.unlink(unpacked.name)  # what is mapped stays until it is let go


def _in_place(archive: zipfile.ZipFile, file: BinaryIO, info: zipfile.ZipInfo) -> np.ndarray:
    """An array that is stored as it is, mapped where it lies in the file."""
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        form = np.lib.format
        header = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
        shape, by_column, dtype = header(stream)
        start = stream.tell()
        while stream.read(1 << 20):
            pass
    if dtype.hasobject or start + dtype.itemsize * math.prod(shape) > info.file_size:
        raise ValueError(f"{info.filename} is no plain array of its length")
    file.seek(info.header_offset + _LENGTHS)
    name, extra = struct.unpack("<HH", file.read(4))
    begin = info.header_offset + _LENGTHS + 4 + name + extra + start
    return np.memmap(file, dtype, "r", begin, shape, "F" if by_column else "C")


def _pixels(arrays: dict[str, np.ndarray], path: Path) -> np.ndarray:
    expected = (
        "expected uint8 [N, H, W, C], channels last, or uint8 [N, H, W], or volumes "
        "[N, C, D, H, W] of whole or floating-point numbers"
    )
    if "images" not in arrays:
        raise DataError(f"{path} has no array 'images'; {expected}")
    images = arrays["images"]
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise _wrong("images", images, path, expected)
    if images.ndim == 3:
        images = images[..., None]
    # Channels that stand first are told by their number, while the last side is no such number.
    first = images.shape[1] in _OF_PICTURES and images.shape[3] not in _OF_PICTURES
    if first or 0 in images.shape[1:]:
        raise _wrong("images", arrays["images"], path, expected)
    if len(images) == 0:
        raise DataError(f"{path}: array 'images' holds no image")
    return images


def _volumes(
    arrays: dict[str, np.ndarray], path: Path, reading: Preprocessing, groups: str | None
) -> VolumeReader:
    volumes = arrays["images"]
    if volumes.dtype.kind not in "iuf" or 0 in volumes.shape:
        raise _wrong(
            "images", volumes, path, "expected whole or floating-point numbers [N, C, D, H, W]"
        )
    if "boxes_xyxy_rel" in arrays and "masks" not in arrays:
        raise DataError(
            f"{path}: array 'boxes_xyxy_rel' marks no object in volumes; give 'masks' [N, D, H, W]"
        )
    count, channels = volumes.shape[:2]
    reading.scale(channels)  # refuse what does not fit at once
    masks = None
    if "masks" in arrays:
        masks = masks_of(arrays["masks"], (count, *volumes.shape[2:]), path)
    return VolumeReader(
        place=str(path),
        names=tuple(f"npz[{i}]" for i in range(count)),
        reading=reading,
        volume=volumes.__getitem__,
        labels=labels_of(arrays["labels"], count, path).tolist() if "labels" in arrays else None,
        mask=None if masks is None else masks.__getitem__,
        groups=None if groups is None else _groups(arrays, groups, count, path),
        note=f"{count} volumes [C,D,H,W] of {volumes.dtype}, not resized: "
        + ("divided by 255" if volumes.dtype == np.uint8 else "intensities as they are"),
    )


def labels_of(labels: np.ndarray, count: int, path: Path) -> np.ndarray:
    """Labels of an array as int64 ``[N]``; DataError where they are no such."""
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise _wrong("labels", labels, path, f"expected integers [{count}], one per image")
    indices = labels.astype(np.int64)
    if indices.min() < 0:
        raise DataError(f"{path}: array 'labels' holds {indices.min()}; labels count from 0 on")
    return indices


def _groups(arrays: dict[str, np.ndarray], name: str, count: int, path: Path) -> tuple[str, ...]:
    if name not in arrays:
        raise DataError(f"{path} has no array {name!r} of groups")
    groups = arrays[name]
    if groups.shape != (count,) or groups.dtype.kind not in "iuU":
        raise _wrong(name, groups, path, f"expected whole numbers or text [{count}], one per image")
    names = tuple(str(group).strip() for group in groups.tolist())
    if "" in names:
        raise DataError(
            f"{path}: array {name!r} is empty at {names.index('')}; every image belongs to a group"
        )
    return names


def _texts(
    array: np.ndarray | None, kinds: str, count: int | None = None
) -> tuple[str, ...] | None:
    """Names, all different; None where the array is no such names."""
    if array is None or array.ndim != 1 or array.dtype.kind not in kinds:
        return None
    names = tuple(str(one).strip() for one in array.tolist())
    wanted = len(names) if count is None else count
    return names if len(set(names)) == wanted == len(names) and "" not in names else None


def masks_of(masks: np.ndarray, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """Masks ``[N, H, W]`` or ``[N, D, H, W]`` of a shape; DataError where they are no such."""
    expected = f"expected {list(shape)}, one mask per image, of its size"
    if masks.shape != shape or masks.dtype.kind not in "biuf":
        raise _wrong("masks", masks, path, expected)
    if masks.dtype.kind == "f" and not all(np.isfinite(part).all() for part in _pieces(masks)):
        raise DataError(f"{path}: array 'masks' holds NaN or infinite values")
    return masks


def _pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    return (array[start : start + _PIECE] for start in range(0, len(array), _PIECE))


def _boxes(boxes: np.ndarray, count: int, path: Path) -> np.ndarray:
    expected = f"expected numbers [{count}, 4]: x0 y0 x1 y1 between 0 and 1"
    if boxes.shape != (count, 4) or boxes.dtype.kind not in "iuf":
        raise _wrong("boxes_xyxy_rel", boxes, path, expected)
    boxes = boxes.astype(np.float64)
    # NaN fails every comparison, so it lands here too. Float16 edges may round past 1.
    sound = (boxes >= -1e-3) & (boxes <= 1 + 1e-3) & np.isfinite(boxes)
    ordered = (boxes[:, :2] <= boxes[:, 2:]).all(axis=1)
    wrong = np.flatnonzero(~(sound.all(axis=1) & ordered))
    if wrong.size:
        raise DataError(
            f"{path}: array 'boxes_xyxy_rel' holds {boxes[wrong[0]].tolist()} at {wrong[0]}; "
            f"{expected}, x0 <= x1, y0 <= y1"
        )
    return boxes


def _wrong(name: str, array: np.ndarray, path: Path, expected: str) -> DataError:
    return DataError(f"{path}: array {name!r} is {array.dtype} {list(array.shape)}; {expected}")
