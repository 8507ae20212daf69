"""Reading a folder of image files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sycam.data.geometry import Geometry
from sycam.data.pictures import UnreadablePictureError, read_picture
from sycam.data.raw import RawImages
from sycam.data.tables import listed, match, read_labels
from sycam.data.truth import Size, masks_from_folder, masks_from_table
from sycam.errors import DataError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
LABELS = "labels.csv"


def read_folder(
    folder: Path,
    *,
    channels: int = 3,
    size: int | None = None,
    masks: Path | None = None,
    boxes: Path | None = None,
) -> RawImages:
    """Read all images below a folder, in the order of their paths.

    Files that cannot be read are left out and named. Labels come from ``labels.csv`` in the
    folder (columns ``file,label``) and from nowhere else: names of subfolders are not the
    network's classes.

    Args:
        folder: searched recursively for png, jpg, bmp, tif and webp.
        channels: 3 for RGB, 1 for grey.
        size: short side and centre crop, see :class:`~sycam.data.geometry.Geometry`.
        masks: folder of PNG masks.
        boxes: CSV table of boxes.

    Raises:
        DataError: no readable image, sizes that differ, labels, masks or boxes that do not match.
    """
    names = _names(folder, masks)
    pixels, kept, sizes, skipped = _read_all(folder, names, channels, size)
    if not kept:
        raise DataError(
            f"none of the {len(names)} images in {folder} can be read: {listed(skipped)}"
        )
    _check_sizes(kept, sizes, size)
    truth = None
    if masks is not None:
        truth = masks_from_folder(masks, kept, sizes, size)
    elif boxes is not None:
        truth = masks_from_table(boxes, folder, kept, sizes, size)
    labels = None
    if (folder / LABELS).is_file():
        table = folder / LABELS
        labels = np.array(match(read_labels(table), kept, folder, table), dtype=np.int64)
    return RawImages(np.stack(pixels), tuple(kept), labels, truth, tuple(skipped))


def _names(folder: Path, masks: Path | None) -> list[str]:
    """Paths of the image files below the folder, sorted; masks kept inside it are no images."""
    inside = masks.resolve() if masks is not None else None
    if inside == folder.resolve():
        inside = None  # images and masks side by side: then the masks cannot be told by place
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in ENDINGS
        and path.is_file()
        and (inside is None or inside not in path.resolve().parents)
    )
    if not names:
        raise DataError(f"no images in {folder}; expected {', '.join(ENDINGS)} files below it")
    return names


def _read_all(
    folder: Path, names: list[str], channels: int, size: int | None
) -> tuple[list[np.ndarray], list[str], list[Size], list[str]]:
    """Pixels ``[H, W, C]``, names and original sizes of what can be read, and what cannot."""
    pixels, kept, sizes, skipped = [], [], [], []
    for name in names:
        try:
            image = read_picture(folder / name, channels)
        except UnreadablePictureError as error:
            skipped.append(f"{name}: {error}")
            continue
        values = np.asarray(Geometry.centred(*image.size, size).picture(image))
        pixels.append(values.reshape(*values.shape[:2], channels))
        kept.append(name)
        sizes.append(image.size)
    return pixels, kept, sizes, skipped


def _check_sizes(names: list[str], sizes: list[Size], size: int | None) -> None:
    other = next((i for i in range(len(sizes)) if sizes[i] != sizes[0]), None)
    if size is None and other is not None:
        (width, height), (other_width, other_height) = sizes[0], sizes[other]
        raise DataError(
            f"the images differ in size: {names[0]} is {width}×{height}, {names[other]} "
            f"{other_width}×{other_height}; give --size S (short side to S, then centre crop)"
        )


def read_files(files: Sequence[Path], *, channels: int, size: int | None) -> RawImages:
    """Read image files that were named one by one, so that each must be readable.

    Raises:
        DataError: files that cannot be read (each is named), or sizes that differ.
    """
    names = [str(file) for file in files]
    pixels, _, sizes, unreadable = _read_all(Path(), names, channels, size)
    if unreadable:
        raise DataError(f"cannot read {listed(unreadable)}")
    _check_sizes(names, sizes, size)
    return RawImages(np.stack(pixels), tuple(names))
