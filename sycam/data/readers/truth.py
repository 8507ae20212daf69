"""Where the object is in each image: mask files or boxes, on the network's grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from sycam.data.geometry import Box
from sycam.data.pictures import UnreadablePictureError, read_mask
from sycam.data.preprocessing import Preprocessing
from sycam.data.readers.medical import NIFTI, is_nifti, read_nifti
from sycam.data.tables import listed, match, read_boxes
from sycam.errors import DataError

Size = tuple[int, int]
"""Width and height of an original image."""

OVERHANG = 0.05
"""How far a box may reach past the image, as a share of its side: annotators are not exact."""


@dataclass(frozen=True)
class Truth:
    """What marks the object in each of N images.

    Attributes:
        marks: a mask file, or boxes in pixels of the original image (none: no object), or None
            where nothing was said of the image.
        where: what says so, for messages.
        complaint: the message for images of which nothing was said; takes their names and N.
    """

    marks: Sequence[Path | Sequence[Box] | None]
    where: str
    complaint: Callable[[Sequence[str], int], str]

    def mask(self, i: int, name: str, size: Size, reading: Preprocessing) -> np.ndarray | None:
        """Bool ``[H, W]`` on the network's grid; None where nothing was said of the image.

        Raises:
            DataError: a mask that cannot be read or is of another size than its image, or a box
                that reaches out of it.
        """
        marks, geometry = self.marks[i], reading.geometry(*size)
        if marks is None:
            return None
        if isinstance(marks, Path) and is_nifti(marks):
            raise DataError(f"{marks} is a mask of a volume, {name} an image; expected a PNG")
        if isinstance(marks, Path):
            return geometry.mask(_painted(marks, name, size))
        for box in marks:
            _check_inside(box, *size, f"{self.where}: {name}")
        return geometry.boxes(marks)

    def boxes(self, i: int, size: Size, reading: Preprocessing) -> np.ndarray | None:
        """``[n, 4]`` the boxes that :meth:`mask` is the union of, see
        :meth:`sycam.data.geometry.Geometry.outlines`; None where there is a mask file."""
        marks = self.marks[i]
        if marks is None or isinstance(marks, Path):
            return None
        return reading.geometry(*size).outlines(marks)


def truth_of_masks(masks: Path, names: Sequence[str]) -> Truth:
    """One PNG mask per image, or one NIfTI mask per volume; what is not zero is object.

    The mask of ``cats/a.jpg`` is ``cats/a.png`` below ``masks``, or ``a.png`` when no other image
    has that stem. That of the volume ``ct/a.nii.gz``, or of the DICOM series in ``ct/a``, is
    ``ct/a.nii.gz`` or ``ct/a.nii`` likewise.

    Args:
        masks: the folder of masks.
        names: the images' paths below their own folder, length N.

    Raises:
        DataError: no such folder.
    """
    if not masks.is_dir():
        raise DataError(f"no folder of masks at {masks}")
    stems = Counter(_stem(name) for name in names)
    paths = [_mask_path(masks, PurePosixPath(name), stems) for name in names]

    def complaint(missing: Sequence[str], count: int) -> str:
        return (
            f"{len(missing)} of {count} images have no mask in {masks}: {listed(missing)}; "
            "expected a PNG (of a volume a NIfTI file) with the image's stem"
        )

    return Truth(paths, str(masks), complaint)


def truth_of_boxes(table: Path, folder: Path, names: Sequence[str]) -> Truth:
    """The boxes of a CSV table (see :func:`sycam.data.tables.read_boxes`); masks are their union.

    Args:
        table: the CSV file.
        folder: where the images lie.
        names: the images' paths below ``folder``, length N.

    Raises:
        DataError: a table that cannot be read, or one row for two images.
    """
    boxes = match(read_boxes(table), names, folder, table)
    return Truth(boxes, str(table), lambda missing, count: no_row(table, missing, count))


def no_row(table: Path | None, missing: Sequence[str], count: int) -> str:
    """The message for images that a table does not have."""
    return f"{table} has no row for {len(missing)} of {count} images: {listed(missing)}"


def read_volume_mask(path: Path) -> np.ndarray:
    """A NIfTI mask as numbers ``[D, H, W]``, not zero = object, turned as volumes are.

    Raises:
        DataError: no NIfTI file of three axes.
    """
    try:
        values = read_nifti(path)
    except UnreadablePictureError as error:
        raise DataError(f"cannot read the mask {path}: {error}") from error
    if len(values) != 1:
        raise DataError(f"mask {path} has {len(values)} channels; expected one")
    return values[0]


def _stem(name: str) -> str:
    """The name of an image without folders and ending."""
    path = PurePosixPath(name)
    double = name.lower().endswith(".nii.gz")
    return path.name[: -len(".nii.gz")] if double else path.stem


def _mask_path(masks: Path, name: PurePosixPath, stems: Counter[str]) -> Path | None:
    stem = _stem(str(name))
    # A folder of DICOM slices has no ending: what looks like one belongs to its name.
    places = [masks / name, masks / name.parent / stem]
    if stems[stem] == 1:
        places.append(masks / stem)
    # Not with_suffix: a stem such as "scan.01" has a dot of its own.
    endings = (".png", ".PNG", *reversed(NIFTI))
    files = [place.with_name(place.name + ending) for place in places for ending in endings]
    return next((file for file in files if file.is_file()), None)


def _painted(path: Path, name: str, image_size: Size) -> np.ndarray:
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
    return mask


def _check_inside(box: Box, width: int, height: int, where: str) -> None:
    x0, y0, x1, y1 = box
    past = max(-x0 / width, -y0 / height, x1 / width - 1, y1 / height - 1)
    if past > OVERHANG:
        raise DataError(
            f"{where}: box {x0:g} {y0:g} {x1:g} {y1:g} reaches out of the image "
            f"({width}×{height}); boxes are in pixels of the original image"
        )
