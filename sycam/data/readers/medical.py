"""Medical files: DICOM slices and series through pydicom, NIfTI volumes through nibabel."""

from __future__ import annotations

import gzip
import importlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sycam.data.pictures import UnreadablePictureError, Window, windowed
from sycam.errors import DataError, OptionError
from sycam.support.files import PICTURE, open_plain

DICOM = (".dcm", ".dicom")
NIFTI = (".nii", ".nii.gz")
AXES = "D inferior to superior, H posterior to anterior, W left to right (closest canonical, RAS+)"
_UNPACKED = 4 * PICTURE  # bytes of a NIfTI file, at most


def is_dicom(path: str | Path) -> bool:
    """Whether a file is called as DICOM files are."""
    return str(path).lower().endswith(DICOM)


def is_nifti(path: str | Path) -> bool:
    """Whether a file is called as NIfTI files are."""
    return str(path).lower().endswith(NIFTI)


def read_slice(path: Path, window: Window | None = None) -> Image.Image:
    """A DICOM file of one frame as a picture.

    Stored values become intensities by the file's rescale slope and intercept (or its table), and
    these 0 to 255 by the window, in floating point: sixteen bits keep what they tell. MONOCHROME1,
    where the least is white, is turned.

    Args:
        path: the file.
        window: in place of the file's own; without either the range of the slice.

    Returns:
        A picture of mode ``F``, 0 to 255; ``RGB`` of colours.

    Raises:
        UnreadablePictureError: no DICOM file, several frames, or pixels that cannot be decoded.
        OptionError: pydicom is not installed.
    """
    dataset = _dataset(path)
    if frames(dataset) > 1:
        raise UnreadablePictureError(f"{frames(dataset)} frames are a volume, no slice")
    if dataset.get("SamplesPerPixel", 1) == 3:
        colours = _decoded(dataset)
        if colours.dtype != np.uint8:
            raise UnreadablePictureError(f"colours of {colours.dtype}; expected 8 bits")
        return Image.fromarray(colours)
    shown = _shown(_intensities(dataset), dataset, window)
    return Image.fromarray((shown * 255).astype(np.float32))


def read_series(paths: Sequence[Path], window: Window | None = None) -> np.ndarray:
    """The volume of one DICOM series, or of one file of several frames.

    Slices are put in order by their position along their normal, and the volume is turned as
    :func:`read_nifti` turns one; where the files do not say their position, slices are in the order
    of their instance numbers, frames in their own, and rows and columns as they are.

    Args:
        paths: a file per slice, or one of several frames.
        window: in place of the first slice's own; without either the range of the volume.

    Returns:
        float32 ``[1, D, H, W]`` in 0..1.

    Raises:
        UnreadablePictureError: slices of several shapes or several at one place, or a file that
            :func:`read_slice` cannot read.
        OptionError: pydicom or nibabel is not installed.
    """
    slices = [_dataset(path) for path in paths]
    first = slices[0]
    if first.get("SamplesPerPixel", 1) != 1:
        raise UnreadablePictureError("a volume of colours; expected grey")
    if len(slices) == 1 and frames(first) > 1:
        return _shown(_intensities(first), first, window).astype(np.float32)[None]
    if any(frames(one) > 1 for one in slices):
        raise UnreadablePictureError("several files of several frames; expected one, or slices")
    affine = None
    if all("ImagePositionPatient" in one and "ImageOrientationPatient" in one for one in slices):
        slices, affine = _placed(slices)
    else:
        slices.sort(key=lambda one: int(one.get("InstanceNumber", 0) or 0))
    stack = [_intensities(one) for one in slices]
    if len({one.shape for one in stack}) > 1:
        raise UnreadablePictureError("slices of several shapes; expected one series of one shape")
    volume = _shown(np.stack(stack), slices[0], window).astype(np.float32)
    if affine is None:
        return volume[None]
    return _canonical(volume.transpose(2, 1, 0), affine)[None]


def read_nifti(path: Path, window: Window | None = None) -> np.ndarray:
    """A NIfTI file's intensities (after its slope and intercept), turned by whole axes to
    :data:`AXES` and not resampled.

    Args:
        path: the file.
        window: centre and width of what becomes 0..1; None leaves intensities as they are.

    Returns:
        float32 ``[C, D, H, W]``; C is the file's fourth axis, 1 where it has three.

    Raises:
        UnreadablePictureError: no NIfTI file, or one of other axes.
        OptionError: nibabel is not installed.
    """
    nibabel = _library("nibabel", ".nii")
    try:
        packed = path.name.lower().endswith(".gz")
        with open_plain(path, limit=PICTURE) as file, gzip.open(file) if packed else file as stream:
            content = stream.read(_UNPACKED + 1)
        if len(content) > _UNPACKED:
            raise ValueError(f"it unpacks to more than {_UNPACKED >> 30} GiB")
        image = nibabel.Nifti1Image.from_bytes(content)
        values = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # of broken bytes anything
        raise _unreadable(error, path) from error
    values = values.reshape(*values.shape[:3], -1) if values.ndim > 4 else values
    if values.ndim not in (3, 4):
        raise UnreadablePictureError(f"{values.ndim} axes; expected three, or four with channels")
    volumes = values[None] if values.ndim == 3 else np.moveaxis(values, 3, 0)
    volumes = np.stack([_canonical(one, image.affine) for one in volumes])
    return volumes if window is None else _windowed(volumes, *window).astype(np.float32)


def series_below(folder: Path, names: Sequence[str]) -> dict[str, list[Path]]:
    """DICOM files by their series: the folder's path where it holds one series only, else the
    path of the series' first file.

    Args:
        folder: where the images lie.
        names: of the DICOM files, below the folder.

    Raises:
        DataError: a file that cannot be read.
        OptionError: pydicom is not installed.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        try:
            header = _dataset(folder / name, pixels=False)
        except UnreadablePictureError as error:
            raise DataError(f"cannot read {folder / name}: {error}") from error
        alone = f"file {name}" if frames(header) > 1 else ""
        found[alone or str(header.get("SeriesInstanceUID", Path(name).parent))].append(name)
    places = [{Path(name).parent for name in series} for series in found.values()]
    named = {}
    for series, parents in zip(found.values(), places, strict=True):
        parent = next(iter(parents)).as_posix()
        apart = len(parents) == 1 and sum(bool(parents & other) for other in places) == 1
        key = parent if apart and parent != "." and len(series) > 1 else series[0]
        named[key] = [folder / name for name in series]
    return dict(sorted(named.items()))


def is_multi_frame(path: Path) -> bool:
    """Whether a DICOM file holds several frames; False where it cannot be read."""
    try:
        return frames(_dataset(path, pixels=False)) > 1
    except UnreadablePictureError:
        return False


def frames(dataset: Any) -> int:
    """How many frames a DICOM data set says that it has."""
    return int(dataset.get("NumberOfFrames", 1) or 1)


def _dataset(path: Path, pixels: bool = True) -> Any:
    pydicom = _library("pydicom", ".dcm")
    try:
        with open_plain(path, limit=PICTURE) as file:
            return pydicom.dcmread(file, stop_before_pixels=not pixels)
    except Exception as error:  # of broken bytes anything
        raise _unreadable(error, path) from error


def _decoded(dataset: Any) -> np.ndarray:
    try:
        return dataset.pixel_array
    except Exception as error:  # a codec that is missing, broken bytes
        raise UnreadablePictureError(f"pixels cannot be decoded: {error}") from error


def _intensities(dataset: Any) -> np.ndarray:
    """Stored values by rescale slope and intercept, or the modality's table."""
    pixels = importlib.import_module("pydicom.pixels")
    try:
        return np.asarray(pixels.apply_modality_lut(_decoded(dataset), dataset), np.float64)
    except (ValueError, TypeError, AttributeError) as error:
        raise UnreadablePictureError(f"rescaling is broken: {error}") from error


def _shown(values: np.ndarray, dataset: Any, window: Window | None) -> np.ndarray:
    """Intensities as 0..1, MONOCHROME1 turned."""
    own = _own_window(dataset)
    if window is not None:
        shown = _windowed(values, *window)
    elif own is not None:
        shown = _windowed(values, *own, str(dataset.get("VOILUTFunction", "LINEAR")))
    else:
        low, high = values.min(), values.max()
        shown = (values - low) / (high - low if high > low else 1.0)
    return 1 - shown if dataset.get("PhotometricInterpretation") == "MONOCHROME1" else shown


def _own_window(dataset: Any) -> Window | None:
    """The first window of a data set, also of its first frame; None where there is none."""
    groups = [dataset]
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        groups += [v for g in dataset.get(name, [])[:1] for v in g.get("FrameVOILUTSequence", [])]
    for group in groups:
        pair = [group.get(name) for name in ("WindowCenter", "WindowWidth")]
        if all(value not in (None, "") for value in pair):
            centre, width = (float(np.ravel(value)[0]) for value in pair)
            if width > 0:
                return centre, width
    return None


def _windowed(
    values: np.ndarray, centre: float, width: float, function: str = "LINEAR_EXACT"
) -> np.ndarray:
    """0..1, as DICOM PS3.3 C.11.2.1.2 defines it."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR" and width > 1:
        centre, width = centre - 0.5, width - 1
    return windowed(values, centre, width)


def _placed(slices: Sequence[Any]) -> tuple[list[Any], np.ndarray]:
    """Slices in order along their normal, and the affine of ``[column, row, slice]`` to RAS+."""
    axes = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(*axes)
    along = [float(np.dot(normal, np.array(one.ImagePositionPatient, float))) for one in slices]
    if len(set(along)) < len(along):
        raise UnreadablePictureError(
            "several slices at one place (a series over time, or of two kinds?); expected one each"
        )
    order = np.argsort(along)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([*axes, normal], 1)
    affine[:2] *= -1  # DICOM counts to the left and to the back, RAS+ to the right and the front
    return [slices[i] for i in order], affine


def _canonical(values: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """``[x, y, z]`` of an affine as ``[D, H, W]`` of :data:`AXES`."""
    orientations = _library("nibabel", ".nii", "nibabel.orientations")
    turned = orientations.apply_orientation(values, orientations.io_orientation(affine))
    return np.ascontiguousarray(turned.transpose(2, 1, 0))


def _unreadable(error: Exception, path: Path) -> UnreadablePictureError:
    reason = str(error).replace(str(path), path.name).splitlines()
    return UnreadablePictureError(reason[0] if reason else type(error).__name__)


def _library(name: str, ending: str, module: str | None = None) -> Any:
    try:
        return importlib.import_module(module or name)
    except ImportError:
        raise OptionError(
            f"{ending} files are read by {name}, which is not installed: "
            "pip install 'sycam[medical]'"
        ) from None
