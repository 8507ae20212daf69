"""Reading an ``.npz`` file of images."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from sycam.data.geometry import Geometry
from sycam.data.raw import RawImages
from sycam.errors import DataError

ARRAYS = ("images", "labels", "masks", "boxes_xyxy_rel")


def read_archive(path: Path, *, size: int | None = None) -> RawImages:
    """Read the arrays ``images``, and ``labels``, ``masks`` or ``boxes_xyxy_rel`` where given.

    Args:
        path: an ``.npz`` file with ``images`` uint8 ``[N, H, W, C]`` (C is 1 or 3) or
            ``[N, H, W]``; ``labels`` integers ``[N]``; ``masks`` ``[N, H, W]``, not zero =
            object; ``boxes_xyxy_rel`` ``[N, 4]``, x0 y0 x1 y1 as shares of width and height.
            Where both masks and boxes are there the masks count. Other arrays are ignored, and
            nothing in the file is unpickled.
        size: short side and centre crop, see :class:`~sycam.data.geometry.Geometry`.

    Raises:
        DataError: a file that is no sound ``.npz``, or an array that is missing, of another type
            or of another shape.
    """
    arrays = _load(path)
    pixels = _pixels(arrays, path)
    count, height, width = pixels.shape[:3]
    geometry = Geometry.centred(width, height, size)
    labels = None
    if "labels" in arrays:
        labels = _labels(arrays["labels"], count, path)
    masks = None
    if "masks" in arrays:
        masks = np.stack([geometry.mask(m) for m in _masks(arrays["masks"], pixels, path)])
    elif "boxes_xyxy_rel" in arrays:
        boxes = _boxes(arrays["boxes_xyxy_rel"], count, path) * [width, height, width, height]
        masks = np.stack([geometry.boxes([tuple(box)]) for box in boxes])
    if size is not None:
        pixels = np.stack([_resized(image, geometry) for image in pixels])
    names = tuple(f"npz[{i}]" for i in range(count))
    return RawImages(pixels, names, labels, masks)


def _load(path: Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise DataError(f"cannot read {path}: it is broken, or no .npz file (a zip of arrays)")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in ARRAYS if name in archive.files}
    except Exception as error:
        # zipfile, zlib and numpy's header parser each have errors of their own for broken bytes.
        raise DataError(f"cannot read {path} as an .npz file of plain arrays: {error}") from error


def _pixels(arrays: dict[str, np.ndarray], path: Path) -> np.ndarray:
    expected = "expected uint8 [N, H, W, C] with C 1 or 3, or uint8 [N, H, W]"
    if "images" not in arrays:
        raise DataError(f"{path} has no array 'images'; {expected}")
    images = arrays["images"]
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise _wrong("images", images, path, expected)
    if images.ndim == 3:
        images = images[..., None]
    if images.shape[3] not in (1, 3) or 0 in images.shape[1:]:
        raise _wrong("images", arrays["images"], path, expected)
    if len(images) == 0:
        raise DataError(f"{path}: array 'images' holds no image")
    return images


def _labels(labels: np.ndarray, count: int, path: Path) -> np.ndarray:
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise _wrong("labels", labels, path, f"expected integers [{count}], one an image")
    indices = labels.astype(np.int64)
    if indices.min() < 0:
        raise DataError(f"{path}: array 'labels' holds {indices.min()}; labels count from 0 on")
    return indices


def _masks(masks: np.ndarray, pixels: np.ndarray, path: Path) -> np.ndarray:
    expected = f"expected {list(pixels.shape[:3])}, one mask an image, of its size"
    if masks.shape != pixels.shape[:3] or masks.dtype.kind not in "biuf":
        raise _wrong("masks", masks, path, expected)
    if not np.isfinite(masks).all():
        raise DataError(f"{path}: array 'masks' holds NaN or infinite values")
    return masks != 0


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


def _resized(image: np.ndarray, geometry: Geometry) -> np.ndarray:
    """One image ``[H, W, C]`` on the new grid."""
    channels = image.shape[2]
    picture = Image.fromarray(image[..., 0] if channels == 1 else image)
    values = np.asarray(geometry.picture(picture))
    return values.reshape(*values.shape[:2], channels)


def _wrong(name: str, array: np.ndarray, path: Path, expected: str) -> DataError:
    return DataError(f"{path}: array {name!r} is {array.dtype} {list(array.shape)}; {expected}")
