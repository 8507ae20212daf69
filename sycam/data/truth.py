"""Where the object is in each image of a folder: mask files or boxes, on the network's grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from sycam.data.geometry import Box, Geometry
from sycam.data.pictures import UnreadablePictureError, read_mask
from sycam.data.tables import listed, match, read_boxes
from sycam.errors import DataError

Size = tuple[int, int]
"""Width and height of an original image."""

OVERHANG = 0.05
"""How far a box may reach past the image, as a share of its side: annotators are not exact."""


def masks_from_folder(
    masks: Path, names: Sequence[str], sizes: Sequence[Size], size: int | None
) -> np.ndarray:
    """Read one PNG mask an image; pixels that are not zero are object.

    The mask of ``cats/a.jpg`` is ``cats/a.png`` below ``masks``, or ``a.png`` when no other image
    has that stem.

    Args:
        masks: the folder of masks.
        names: the images' paths below their own folder, length N.
        sizes: width and height of each original image.
        size: as ``--size``.

    Returns:
        bool ``[N, H, W]``.

    Raises:
        DataError: masks missing, unreadable, or of another size than their image.
    """
    if not masks.is_dir():
        raise DataError(f"no folder of masks at {masks}")
    stems = Counter(PurePosixPath(name).stem for name in names)
    paths = [_mask_path(masks, PurePosixPath(name), stems) for name in names]
    missing = [name for name, path in zip(names, paths, strict=True) if path is None]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(names)} images have no mask in {masks}: {listed(missing)}; "
            "expected a PNG with the image's stem"
        )
    drawn = [
        _mask_on_grid(path, name, image_size, size)
        for path, name, image_size in zip(paths, names, sizes, strict=True)
    ]
    return np.stack(drawn)


def masks_from_table(
    table: Path, folder: Path, names: Sequence[str], sizes: Sequence[Size], size: int | None
) -> np.ndarray:
    """Draw the boxes of a CSV table (see :func:`sycam.data.tables.read_boxes`) as masks.

    Args:
        table: the CSV file.
        folder: where the images lie.
        names: the images' paths below ``folder``, length N.
        sizes: width and height of each original image.
        size: as ``--size``.

    Returns:
        bool ``[N, H, W]``, the union of the boxes of each image.

    Raises:
        DataError: a table that cannot be read, images without a row, or boxes that reach out of
            their image.
    """
    drawn = []
    for name, boxes, (width, height) in zip(
        names, match(read_boxes(table), names, folder, table), sizes, strict=True
    ):
        for box in boxes:
            _check_inside(box, width, height, f"{table}: {name}")
        drawn.append(Geometry.centred(width, height, size).boxes(boxes))
    return np.stack(drawn)


def _mask_path(masks: Path, name: PurePosixPath, stems: Counter[str]) -> Path | None:
    places = [masks / name.parent / name.stem]
    if stems[name.stem] == 1:
        places.append(masks / name.stem)
    # Not with_suffix: a stem such as "scan.01" has a dot of its own.
    files = [
        place.with_name(place.name + ending) for place in places for ending in (".png", ".PNG")
    ]
    return next((file for file in files if file.is_file()), None)


def _mask_on_grid(path: Path, name: str, image_size: Size, size: int | None) -> np.ndarray:
    try:
        mask = read_mask(path)
    except UnreadablePictureError as error:
        raise DataError(f"cannot read the mask {path}: {error}") from error
    width, height = image_size
    if mask.shape != (height, width):
        raise DataError(
            f"mask {path} is {mask.shape[1]}×{mask.shape[0]}, its image {name} {width}×{height}; "
            "they must have the same size"
        )
    return Geometry.centred(width, height, size).mask(mask)


def _check_inside(box: Box, width: int, height: int, where: str) -> None:
    x0, y0, x1, y1 = box
    past = max(-x0 / width, -y0 / height, x1 / width - 1, y1 / height - 1)
    if past > OVERHANG:
        raise DataError(
            f"{where}: box {x0:g} {y0:g} {x1:g} {y1:g} reaches out of the image "
            f"({width}×{height}); boxes are in pixels of the original image"
        )
