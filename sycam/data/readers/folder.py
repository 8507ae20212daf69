"""Reading image files: a folder of them, a table that lists them, or files named one by one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from sycam.data.pictures import DEEP, flattened, highest, pixels, read_as, read_picture
from sycam.data.preprocessing import Preprocessing
from sycam.data.reader import Frame, Reader
from sycam.data.readers.class_folders import labels_of_folders
from sycam.data.readers.medical import (
    AXES,
    DICOM,
    NIFTI,
    is_dicom,
    is_multi_frame,
    is_nifti,
    read_nifti,
    read_series,
    read_slice,
    series_below,
)
from sycam.data.readers.truth import (
    Truth,
    no_row,
    read_volume_mask,
    truth_of_boxes,
    truth_of_masks,
)
from sycam.data.readers.volumes import VolumeReader
from sycam.data.tables import boxes_of, key_of, label_of, match, read_labels, rows
from sycam.errors import DataError, OptionError
from sycam.support.arguments import argument

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", *DICOM, *NIFTI)
LABELS = "labels.csv"
_DARK = 0.5  # share of the range of sixteen bits that is worth a hint where no value is above it


@dataclass(frozen=True, eq=False)
class FilesBelow(Sequence[Path]):
    """Paths of files below a folder, each made when it is asked for: kept, they would take more
    memory than all else that is known of an image."""

    folder: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Path]: ...

    def __getitem__(self, index: int | slice) -> Path | Sequence[Path]:
        if isinstance(index, slice):
            return FilesBelow(self.folder, self.names[index])
        return self.folder / self.names[index]


@dataclass(eq=False)
class FileReader(Reader):
    """Reads image files.

    Attributes:
        files: their paths; see :class:`FilesBelow`.
        labels: one a file (None: missing); or None.
        label_table: the table that the labels come from, for messages.
        truth: what marks the object; or None.
        groups: one a file; or None.
    """

    place: str
    names: tuple[str, ...]
    files: Sequence[Path]
    reading: Preprocessing
    labels: Sequence[int | None] | None = None
    label_table: Path | None = None
    truth: Truth | None = None
    groups: Sequence[str] | None = None

    def read(self, i: int) -> Frame:
        """Image ``i``, see :class:`~sycam.data.reader.Reader`."""
        channels = self.reading.wanted_channels
        if is_dicom(self.files[i]):
            picture = read_slice(self.files[i], self.reading.window)
            picture = picture if picture.mode == "F" else flattened(picture, channels)
        else:
            picture = read_picture(self.files[i], channels, self.reading.window)
        placed = self.reading.geometry(*picture.size).picture(picture, self.reading.filter)
        mask = boxes = None
        if self.truth is not None:
            mask = self.truth.mask(i, self.names[i], picture.size, self.reading)
            boxes = self.truth.boxes(i, picture.size, self.reading)
        label = None if self.labels is None else self.labels[i]
        return Frame(self.scaled(pixels(placed, channels)), picture.size, label, mask, boxes)

    @property
    def has_labels(self) -> bool:
        """Whether each image must have a label."""
        return self.labels is not None

    @property
    def has_masks(self) -> bool:
        """Whether each image must have a mask."""
        return self.truth is not None

    def without_label(self, names: Sequence[str], count: int) -> str:
        """See :class:`~sycam.data.reader.Reader`."""
        return no_row(self.label_table, names, count)

    def without_mask(self, names: Sequence[str], count: int) -> str:
        """See :class:`~sycam.data.reader.Reader`."""
        return self.truth.complaint(names, count)


def folder_reader(
    folder: Path,
    reading: Preprocessing,
    *,
    masks: Path | None = None,
    boxes: Path | None = None,
    labels: str = "auto",
    class_names: Sequence[str] | None = None,
    classes: int | None = None,
    series: bool = False,
) -> tuple[FileReader | VolumeReader, tuple[str, ...] | None, tuple[str, ...]]:
    """All images below a folder, in the order of their paths.

    Labels come from ``labels.csv`` in the folder (columns ``file,label``; a label is a number, or
    a class name of the network), else from the names of the subfolders.

    Args:
        folder: searched recursively for png, jpg, bmp, tif and webp; for DICOM slices (dcm); or
            for volumes alone (nii, nii.gz, dcm of several frames).
        reading: how pictures become the network's input.
        masks: folder of PNG masks, of volumes NIfTI masks.
        boxes: CSV table of boxes.
        labels: see :func:`sycam.data.readers.class_folders.labels_of_folders`.
        class_names: of the network, if they are known.
        classes: how many the network has, if that is known.
        series: whether the DICOM files of one series are one volume.

    Returns:
        The reader, names of the classes where the folders say them, and notes.

    Raises:
        DataError: no image, or labels, masks or boxes that cannot be used.
    """
    names = _names(folder, masks)
    volumes = _volumes(folder, names, series)
    if volumes is not None:
        names = list(volumes)
        if boxes is not None:
            raise OptionError(f"{argument('boxes')} mark objects in images, not in volumes")
    truth = None
    if masks is not None:
        truth = truth_of_masks(masks, names)
    elif boxes is not None:
        truth = truth_of_boxes(boxes, folder, names)
    table = folder / LABELS
    known: Sequence[int | None] | None = None
    label_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    if table.is_file() and labels == "auto":
        known = match(read_labels(table, class_names), names, folder, table)
    else:
        said = labels_of_folders(names, labels, class_names, classes)
        known, label_names = said.labels, said.class_names
        notes = (said.note,) if said.note else ()
    if volumes is not None:
        return _volume_reader(folder, reading, volumes, known, truth), label_names, notes
    if any(map(is_dicom, names)):
        notes = (*notes, _of_slices(sum(map(is_dicom, names)), reading))
    if said_of_depth := _of_depth(folder, names, reading):
        notes = (*notes, said_of_depth)
    reader = FileReader(
        place=str(folder),
        names=tuple(names),
        files=FilesBelow(folder, tuple(names)),
        reading=reading,
        labels=known,
        label_table=table,
        truth=truth,
    )
    return reader, label_names, notes


def table_reader(
    table: Path,
    reading: Preprocessing,
    *,
    class_names: Sequence[str] | None = None,
    groups: str | None = None,
) -> FileReader:
    """The images that a CSV table lists.

    Columns: ``path`` (or ``file``), relative to the table's folder; where wanted ``label``, a
    number or a class name of the network; ``mask``, a PNG file; ``box`` or ``boxes``
    (``x0 y0 x1 y1;...``) or ``x0,y0,x1,y1``, in pixels of the original image. An image with
    several boxes may have several rows. Where an image has a mask and boxes, the mask counts.
    ``groups`` names the column that says what an image belongs to (a patient, a video).

    Raises:
        DataError: a table that cannot be read, holds no image, or contradicts itself.
    """
    entries: dict[str, tuple[int | None, Path | list]] = {}
    belongs: dict[str, str] = {}
    listing = rows(table, required=())
    columns = listing[0][1].keys() if listing else ()
    key = next((name for name in ("path", "file") if name in columns), None)
    if key is None:
        raise DataError(
            f"{table} lists no images: expected a first line with a column 'path' (and label, "
            f"mask, box as wanted) and one row per image; its columns are "
            f"{', '.join(columns) or 'none'}"
        )
    if groups is not None and groups not in columns:
        raise DataError(
            f"{table} has no column {groups!r} of groups; its columns are {', '.join(columns)}"
        )
    boxed = any(name.startswith("box") for name in columns) or {"x0", "y0", "x1", "y1"} <= {
        *columns
    }
    masked = "mask" in columns
    for line, row in listing:
        where, name = f"{table}, line {line}", key_of(row[key])
        if not name:
            raise DataError(f"{where}: no path")
        label = label_of(row["label"], class_names, where) if "label" in columns else None
        boxes = boxes_of(table, line, row) if boxed else []
        mask = table.parent / row["mask"].strip() if masked and row["mask"].strip() else None
        group = row[groups].strip() if groups is not None else ""
        if groups is not None and not group:
            raise DataError(f"{where}: {name} has no {groups}; every image belongs to a group")
        if belongs.setdefault(name, group) != group:
            raise DataError(f"{where}: {name} has two values of {groups}")
        if name not in entries:
            entries[name] = (label, mask or boxes)
            continue
        before, marks = entries[name]
        if before != label:
            raise DataError(f"{where}: {name} has two labels")
        if mask is not None or isinstance(marks, Path):
            raise DataError(f"{where}: {name} stands twice in the table; one mask per image")
        marks.extend(boxes)
    marks = [marks for _, marks in entries.values()]
    truth = Truth(marks, str(table), lambda names, count: no_row(table, names, count))
    return FileReader(
        place=str(table),
        names=tuple(entries),
        files=FilesBelow(table.parent, tuple(entries)),
        reading=reading,
        labels=[label for label, _ in entries.values()] if "label" in columns else None,
        label_table=table,
        truth=truth if boxed or masked else None,
        groups=None if groups is None else [belongs[name] for name in entries],
    )


def files_reader(
    files: Sequence[Path], reading: Preprocessing, listed: Sequence[FileReader] = ()
) -> FileReader:
    """Image files that were named one by one.

    Args:
        files: their paths.
        reading: how pictures become the network's input.
        listed: readers whose masks and boxes count, where they list all of the files.
    """
    names = tuple(str(file) for file in files)
    truth = _truth_among(files, listed)
    return FileReader("those named", names, tuple(files), reading, truth=truth)


def _truth_among(files: Sequence[Path], listed: Sequence[FileReader]) -> Truth | None:
    """What other readers know of these files; None where they do not know it of all."""
    known = {
        os.path.abspath(file): (reader.truth, marks)
        for reader in listed
        if reader.truth is not None
        for file, marks in zip(reader.files, reader.truth.marks, strict=True)
    }
    found = [
        known.get(os.path.abspath(file)) or known.get(os.path.realpath(file)) for file in files
    ]
    told = [one for one in found if one is not None and one[1] is not None]
    if not told or len(told) < len(files):
        return None
    first = told[0][0]
    return Truth([marks for _, marks in told], first.where, first.complaint)


def _volumes(folder: Path, names: Sequence[str], series: bool) -> dict[str, list[Path]] | None:
    """The volumes of a folder and their files; None where it holds images.

    Raises:
        DataError: it holds both.
    """
    slices = [name for name in names if is_dicom(name)]
    volumes = [name for name in names if is_nifti(name)]
    joined = bool(slices) and (series or is_multi_frame(folder / slices[0]))
    if series and not slices:
        raise OptionError(
            f"{argument('series', True)} joins DICOM slices, and {folder} holds none ({DICOM[0]})"
        )
    if not volumes and not joined:
        return None
    if len(names) > (len(slices) if joined else len(volumes)):
        raise DataError(
            f"{folder} holds volumes and images: {names[0]}, {names[-1]} ...; one of a kind is "
            f"read at a time ({argument('series', True)} makes volumes of DICOM slices)"
        )
    return series_below(folder, slices) if joined else {name: [folder / name] for name in names}


def _volume_reader(
    folder: Path,
    reading: Preprocessing,
    volumes: dict[str, list[Path]],
    labels: Sequence[int | None] | None,
    truth: Truth | None,
) -> VolumeReader:
    files = list(volumes.values())
    nifti = is_nifti(files[0][0])

    def volume(i: int) -> np.ndarray:
        if nifti:
            return read_nifti(files[i][0], reading.window)
        return read_series(files[i], reading.window)

    def mask(i: int) -> np.ndarray | None:
        marks = truth.marks[i]
        return read_volume_mask(marks) if isinstance(marks, Path) else None

    kind = "NIfTI" if nifti else "DICOM"
    scale = "intensities as stored" if nifti and reading.window is None else _scale(reading)
    return VolumeReader(
        place=str(folder),
        names=tuple(volumes),
        reading=reading,
        volume=volume,
        labels=labels,
        label_table=folder / LABELS,
        mask=None if truth is None else mask,
        complaint=None if truth is None else truth.complaint,
        note=f"{len(files)} {kind} volumes [C,D,H,W], not resampled: {AXES}"
        + ("" if nifti else ", where the files say how they lie")
        + f"; {scale}",
    )


def _of_slices(count: int, reading: Preprocessing) -> str:
    return (
        f"{count} DICOM slices: stored values by rescale slope and intercept, then "
        f"{_scale(reading)}; MONOCHROME1 turned"
    )


def _of_depth(folder: Path, names: Sequence[str], reading: Preprocessing) -> str:
    """What is said where the first picture is of sixteen-bit grey: files of twelve bits are common
    and nearly black as 0..65535."""
    first = next((name for name in names if not is_dicom(name)), None)
    if first is None or (most := highest(folder / first)) is None:
        return ""
    note = f"sixteen-bit grey: {read_as(reading.window)} (the largest value of {first} is {most})"
    if reading.window is None and most < _DARK * DEEP:
        note += f"; {argument('window')} says which values become 0 and 1 instead"
    return note


def _scale(reading: Preprocessing) -> str:
    if reading.window is None:
        return "each file's own window (its range, where it has none) to 0..1"
    return read_as(reading.window)


def _names(folder: Path, masks: Path | None) -> list[str]:
    """Paths of the image files below the folder, sorted; masks kept inside it are no images."""
    inside = masks.resolve() if masks is not None else None
    if inside == folder.resolve():
        inside = None  # images and masks side by side: then the masks cannot be told by place
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.name.lower().endswith(ENDINGS)
        and path.is_file()
        and (inside is None or inside not in path.resolve().parents)
    )
    if not names:
        raise DataError(f"no images in {folder}; expected {', '.join(ENDINGS)} files below it")
    return names
