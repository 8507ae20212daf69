"""Images from folders, tables, archives and data sets, into the network's input scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from torch.utils.data import DataLoader, Dataset

from sycam.data.image_set import ImageSet
from sycam.data.preprocessing import Preprocessing
from sycam.data.reader import Reader
from sycam.data.readers.archive import ArchiveReader, archive_reader, names_unused
from sycam.data.readers.datasets import open_dataset
from sycam.data.readers.folder import FileReader, files_reader, folder_reader, table_reader
from sycam.data.readers.volumes import VolumeReader
from sycam.data.source import ImageSource
from sycam.data.splits import choose, split
from sycam.data.tables import listed
from sycam.errors import DataError, OptionError
from sycam.support.arguments import argument

__all__ = [
    "ImageSet",
    "ImageSource",
    "choose",
    "load_files",
    "load_images",
    "open_dataset",
    "open_images",
    "split",
]

Data = str | Path | Dataset | DataLoader


def open_images(  # noqa: PLR0913 (public)
    source: str | Path,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | None = None,
    resize: int | None = None,
    interpolation: str = "bicubic",
    channels: int | None = None,
    squash: bool = False,
    masks: str | Path | None = None,
    boxes: str | Path | None = None,
    labels: str = "auto",
    class_names: Sequence[str] | None = None,
    classes: int | None = None,
    groups: str | None = None,
    window: Sequence[float] | None = None,
    series: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ImageSource:
    """A folder of images, a table that lists them, or an ``.npz`` file, read when wanted.

    Pixels are divided by 255, then mean is subtracted and std divides. Files are read as RGB, or
    as grey when ``mean`` has one entry (and ``std`` not more). See
    :func:`sycam.data.readers.folder.folder_reader`,
    :func:`sycam.data.readers.folder.table_reader` and
    :func:`sycam.data.readers.archive.archive_reader` for what each may hold.

    Args:
        source: FOLDER, FILE.csv or FILE.npz.
        mean: 1 or C numbers; default 0.
        std: 1 or C numbers above 0; default 1.
        size: side of the square that is cut from the centre. Without it all images must have one
            size.
        resize: what the short side is resized to before; ``size`` if None.
        interpolation: ``"nearest"``, ``"bilinear"``, ``"bicubic"`` or ``"lanczos"``.
        channels: 3 (RGB) or 1 (grey), where the network takes nothing else.
        squash: resize both sides, whatever their ratio, instead of the short one.
        masks: folder of PNG masks (of volumes NIfTI masks) with the images' stems (FOLDER only).
        boxes: CSV table ``file,x0,y0,x1,y1`` in pixels of the original images (FOLDER only).
        labels: how subfolders become classes (FOLDER only): ``"auto"``, ``"names"``,
            ``"sorted"``, ``"numbers"`` or ``"none"``, see
            :func:`sycam.data.readers.class_folders.labels_of_folders`.
        class_names: of the network, in its order, by which labels and folders may be named.
        classes: how many the network has.
        groups: column of a table, or array of an ``.npz`` file, that says what an image belongs
            to (a patient, a video): no group has both search and held-out images.
        window: centre and width of the intensities of DICOM, NIfTI and sixteen-bit grey files that
            become 0 to 1; if None a DICOM file's own, 0 to 65535 of grey pictures, and those of
            NIfTI files as they are.
        series: the DICOM files of one series are one volume, not slices (FOLDER only).
        progress: called with the numbers of images looked at and of all.

    Raises:
        DataError: nothing there, or labels, masks and boxes that do not match. What only reading
            the images can tell is told when they are read.
        OptionError: an option out of range, masks and boxes together, or options of a folder with
            another source.
    """
    source = Path(source)
    for name, values in (("mean", mean), ("std", std)):
        pictures = source.suffix.lower() != ".npz"  # whose images may have other channels
        if isinstance(values, int | float):  # one number alone would mean grey images
            raise OptionError(
                f"{argument(name)} must be a sequence of numbers, one per channel, such as "
                f"({values}, {values}, {values}) for RGB; got {values!r}"
            )
        if values is not None and pictures and len(values) not in (1, 3):
            raise OptionError(f"{argument(name)} has {len(values)} numbers; expected 1 or 3")
    reading = Preprocessing(
        size,
        resize,
        None if mean is None else tuple(mean),
        None if std is None else tuple(std),
        interpolation,
        channels,
        squash,
        None if window is None else cast(tuple[float, float], tuple(window)),  # it looks itself
    )
    if series and not source.is_dir():
        raise OptionError(f"{argument('series', True)} belongs to a folder of DICOM files")
    _check_options(source, masks, boxes, labels)
    if groups is not None and source.suffix.lower() not in (".csv", ".npz"):
        raise OptionError(
            f"{argument('groups')} {groups!r} name a column of a table of images, or an array of "
            f"an .npz file; {source} is neither: give a FILE.csv with columns path and {groups}"
        )
    label_names: tuple[str, ...] | None = None
    notes: Sequence[str] = ()
    reader: Reader
    if source.is_dir():
        reading.scale(reading.wanted_channels)  # refuse what does not fit before all is read
        reader, label_names, notes = folder_reader(
            source,
            reading,
            masks=None if masks is None else Path(masks),
            boxes=None if boxes is None else Path(boxes),
            labels=labels,
            class_names=class_names,
            classes=classes,
            series=series,
        )
    elif source.suffix.lower() == ".csv":
        reading.scale(reading.wanted_channels)
        reader = table_reader(source, reading, class_names=class_names, groups=groups)
    else:
        archive = archive_reader(source, reading, groups=groups)
        reader = archive
        label_names = archive.classes if isinstance(archive, ArchiveReader) else None
        if label_names is not None and classes is not None and len(label_names) != max(classes, 2):
            notes = [names_unused(len(label_names), classes)]
            label_names = None
    if isinstance(reader, VolumeReader):
        notes = (*notes, reader.note)
    paths = {"source": source, "masks": masks, "boxes": boxes}
    origin: dict[str, Any] = {
        k: None if v is None else str(Path(v).resolve()) for k, v in paths.items()
    }
    origin |= reading.to_dict() | {"labels": labels, "classes": classes}
    # A thousand names on record are many, and decide nothing where no label is named by them.
    named = reader.has_labels and source.suffix.lower() != ".npz"
    if groups is not None:
        origin["groups"] = groups
    if series:
        origin["series"] = True
    origin["class_names"] = list(class_names) if class_names and named else None
    return ImageSource(reader, origin, notes, label_names, progress)


def load_images(source: str | Path, **options: Any) -> ImageSet:
    """Read a folder of images, a table that lists them, or an ``.npz`` file, all of it.

    Args:
        source, options: those of :func:`open_images`.

    Returns:
        The images, with unreadable files named in ``skipped``. Where they are larger than an
        eighth of memory (or ``$SYCAM_MEMORY``), they lie on disk, mapped into memory.

    Raises:
        DataError: as :func:`open_images`, and where nothing is readable.
        OptionError: as :func:`open_images`.

    Example:
        >>> load_images("nowhere")
        Traceback (most recent call last):
        ...
        sycam.errors.DataError: no folder of images, no .csv and no .npz file at nowhere
    """
    return open_images(source, **options).whole()


def load_files(
    files: Sequence[str | Path], reading: Preprocessing, listed_in: Sequence[ImageSource] = ()
) -> ImageSet:
    """Read image files named one by one, as :func:`load_images` reads a folder.

    Args:
        files: image files.
        reading: how they become images, with the network's channels.
        listed_in: folders or tables whose masks and boxes count, where they list all of the files.

    Raises:
        DataError: no file, or files or masks that cannot be read.
    """
    if not files:
        raise DataError("no image files were given")
    others = [source.reader for source in listed_in]
    listed_files = [reader for reader in others if isinstance(reader, FileReader)]
    named = files_reader([Path(file) for file in files], reading, listed_files)
    images = ImageSource(named).whole()
    if images.skipped:
        raise DataError(f"cannot read {listed(images.skipped)}")
    return replace(images, skipped=())


def _check_options(
    source: Path, masks: str | Path | None, boxes: str | Path | None, labels: str
) -> None:
    if not source.exists():
        raise DataError(f"no folder of images, no .csv and no .npz file at {source}")
    if not source.is_dir() and source.suffix.lower() not in (".npz", ".csv"):
        raise DataError(
            f"{source} is neither a folder of images nor a .csv table of them nor an .npz file"
        )
    if masks is not None and boxes is not None:
        raise OptionError(
            f"{argument('masks')} and {argument('boxes')} both say where the objects are; give one "
            "of them"
        )
    if source.is_dir():
        return
    if masks is not None or boxes is not None:
        holds = (
            "in columns mask or box"
            if source.suffix.lower() == ".csv"
            else "as array 'masks' or 'boxes_xyxy_rel'"
        )
        raise OptionError(
            f"{argument('masks')} and {argument('boxes')} belong to a folder of images; {source} "
            f"holds its own, {holds}"
        )
    if labels != "auto":
        raise OptionError(
            f"{argument('labels', labels)} belongs to a folder of images; {source} holds its own "
            "labels"
        )
