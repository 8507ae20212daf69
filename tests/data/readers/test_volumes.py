"""Volumes from an .npz file, and DICOM and NIfTI files that the tests make."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sycam.data.images import load_files, load_images
from sycam.data.preprocessing import Preprocessing
from sycam.errors import DataError, OptionError

AXIAL = [1, 0, 0, 0, 1, 0]  # rows run to the left of the patient, columns to the back


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(0)


def write_dicom(path: Path, stored: np.ndarray, **tags) -> Path:
    """A small uncompressed DICOM file; ``stored`` is ``[H, W]``, or ``[frames, H, W]``."""
    pydicom = pytest.importorskip("pydicom")
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    made = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    bits = stored.dtype.itemsize * 8
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, pydicom.uid.generate_uid()
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = stored.shape[-2:]
    made.BitsAllocated = made.BitsStored = bits
    made.HighBit, made.PixelRepresentation = bits - 1, int(stored.dtype.kind == "i")
    if stored.ndim == 3:
        made.NumberOfFrames = len(stored)
    for name, value in tags.items():
        setattr(made, name, value)
    made.PixelData = stored.tobytes()
    made.save_as(path)
    return path


def write_nifti(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> None:
    nibabel = pytest.importorskip("nibabel")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)


def test_an_archive_of_volumes(tmp_path, draw):
    intensities = draw.integers(-1000, 1000, (3, 2, 4, 5, 6)).astype(np.int16)
    masks = draw.random((3, 4, 5, 6)) < 0.2
    np.savez(tmp_path / "ct.npz", images=intensities, masks=masks, labels=[2, 0, 1])
    found = load_images(tmp_path / "ct.npz", mean=[-200, 0], std=[500])
    expected = (intensities - np.array([-200, 0])[:, None, None, None]) / 500
    np.testing.assert_allclose(found.images.numpy(), expected, rtol=1e-6)
    assert found.masks.equal(torch.from_numpy(masks))
    assert found.labels.tolist() == [2, 0, 1]
    assert "3 volumes [C,D,H,W] of int16, not resized: intensities as they are" in found.notes
    pixels = draw.integers(0, 256, (2, 1, 4, 5, 6)).astype(np.uint8)
    np.savez(tmp_path / "eight.npz", images=pixels)
    np.testing.assert_allclose(load_images(tmp_path / "eight.npz").images, pixels / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"images": np.zeros((2, 1, 4, 5, 6), bool)}, {}, "whole or floating-point numbers"),
        ({"masks": np.zeros((2, 5, 6))}, {}, r"expected \[2, 4, 5, 6\], one mask per image"),
        ({"boxes_xyxy_rel": np.zeros((2, 4))}, {}, r"give 'masks' \[N, D, H, W\]"),
        ({}, {"size": 4}, "volumes, which are not resized; size is for images"),
        ({}, {"mean": [1, 2]}, "mean has 2 numbers, the images 1 channels"),
        ({"images": np.full((2, 1, 4, 5, 6), np.nan)}, {}, "NaN or infinite"),
    ],
)
def test_volumes_of_an_archive_that_cannot_be_used(tmp_path, arrays, options, message):
    arrays = {"images": np.zeros((2, 1, 4, 5, 6), np.float32)} | arrays
    np.savez(tmp_path / "ct.npz", **arrays)
    with pytest.raises((DataError, OptionError), match=message):
        load_images(tmp_path / "ct.npz", **options)


def test_slices_are_rescaled_windowed_and_inverted(tmp_path, draw):
    stored = draw.integers(0, 4096, (9, 7)).astype(np.uint16)
    own = {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 4000}
    write_dicom(tmp_path / "a.dcm", stored, **own)
    write_dicom(tmp_path / "b.dcm", stored, PhotometricInterpretation="MONOCHROME1", **own)
    write_dicom(tmp_path / "c.dcm", stored)
    signed = stored.astype(np.int16) - 2048
    write_dicom(tmp_path / "d.dcm", signed, VOILUTFunction="LINEAR_EXACT", **own)
    found = load_images(tmp_path, mean=[0.5])
    assert found.names == ("a.dcm", "b.dcm", "c.dcm", "d.dcm")
    # DICOM PS3.3 C.11.2.1.2.1
    shown = ((2.0 * stored - 1024 - 39.5) / 3999 + 0.5).clip(0, 1)
    exact = ((2.0 * signed - 1024 - 40) / 4000 + 0.5).clip(0, 1)
    ranged = (stored - stored.min()) / (int(stored.max()) - int(stored.min()))
    for image, expected in zip(found.images, (shown, 1 - shown, ranged, exact), strict=True):
        np.testing.assert_allclose(image[0].numpy(), expected - 0.5, atol=1e-6)
    assert any("4 DICOM slices" in n and "own window" in n for n in found.notes)
    asked = load_images(tmp_path, mean=[0.0], window=(0, 1000))
    expected = ((2.0 * stored - 1024) / 1000 + 0.5).clip(0, 1)
    np.testing.assert_allclose(asked.images[0, 0].numpy(), expected, atol=1e-6)
    assert any("window centre 0 width 1000" in note for note in asked.notes)
    coloured = load_images(tmp_path, size=5)
    assert coloured.images.shape == (4, 3, 5, 5)
    assert (coloured.images >= 0).all()
    assert (coloured.images <= 1).all()
    one = load_files([tmp_path / "a.dcm"], Preprocessing(channels=1, window=(0, 1000)))
    assert one.images[0].equal(asked.images[0])


def test_slices_have_masks_and_labels_as_pictures_do(tmp_path, draw):
    stored = draw.integers(0, 4096, (2, 9, 7)).astype(np.uint16)
    for name, pixels in zip("ab", stored, strict=True):
        write_dicom(tmp_path / "ct" / f"{name}.dcm", pixels)
    (tmp_path / "ct" / "labels.csv").write_text("file,label\na.dcm,1\nb.dcm,0\n")
    mask = (stored > 2000).astype(np.uint8) * 255
    (tmp_path / "masks").mkdir()
    for name, pixels in zip("ab", mask, strict=True):
        Image.fromarray(pixels).save(tmp_path / "masks" / f"{name}.png")
    found = load_images(tmp_path / "ct", masks=tmp_path / "masks")
    assert found.labels.tolist() == [1, 0]
    assert found.masks.equal(torch.from_numpy(mask > 0))


def test_nifti_is_turned_to_canonical_axes(tmp_path, draw):
    canonical = draw.normal(size=(4, 5, 6)).astype(np.float32)  # inferior, posterior, left first
    ras = canonical.transpose(2, 1, 0)
    write_nifti(tmp_path / "a.nii.gz", ras)
    # The same patient, stored from the left to the right and from the back to the front.
    write_nifti(tmp_path / "b.nii", ras[::-1, ::-1], np.diag([-1.0, -1, 1, 1]))
    # The same as sagittal slices.
    write_nifti(tmp_path / "c.nii", ras.transpose(1, 2, 0), np.eye(4)[[2, 0, 1, 3]])
    found = load_images(tmp_path, mean=[1.0], std=[2.0])
    assert found.images.shape == (3, 1, 4, 5, 6)
    for image in found.images:
        np.testing.assert_allclose(image[0].numpy(), (canonical - 1) / 2, atol=1e-6)
    assert any("3 NIfTI volumes" in n and "RAS+" in n and "as stored" in n for n in found.notes)
    windowed = load_images(tmp_path, window=(0, 2))
    expected = (canonical / 2 + 0.5).clip(0, 1)
    np.testing.assert_allclose(windowed.images[0, 0].numpy(), expected, atol=1e-6)


def test_nifti_channels_and_masks(tmp_path, draw):
    values = draw.normal(size=(6, 5, 4, 2)).astype(np.float32)
    mask = (values[..., 0] > 0).astype(np.uint8)
    write_nifti(tmp_path / "mr" / "p.01.nii.gz", values)
    write_nifti(tmp_path / "masks" / "p.01.nii", mask[::-1], np.diag([-1.0, 1, 1, 1]))
    found = load_images(tmp_path / "mr", masks=tmp_path / "masks")
    assert found.images.shape == (1, 2, 4, 5, 6)
    assert found.masks[0].equal(torch.from_numpy(mask.transpose(2, 1, 0) > 0))
    assert found.masks[0].equal(found.images[0, 0] > 0)
    write_nifti(tmp_path / "masks" / "p.01.nii", mask[1:])
    with pytest.raises(DataError, match=r"mask of p\.01\.nii\.gz is 4×5×5 .*the volume 4×5×6"):
        load_images(tmp_path / "mr", masks=tmp_path / "masks")
    (tmp_path / "masks" / "p.01.nii").unlink()
    with pytest.raises(DataError, match="of a volume a NIfTI file"):
        load_images(tmp_path / "mr", masks=tmp_path / "masks")


@pytest.fixture
def series(tmp_path, draw) -> np.ndarray:
    """Two series of four axial slices each, files in no order; the intensities as canonical."""
    pytest.importorskip("nibabel")
    stored = draw.integers(0, 4096, (2, 4, 5, 6)).astype(np.uint16)
    for i, volume in enumerate(stored):
        for place in range(4):
            write_dicom(
                tmp_path / "ct" / f"p{i}" / f"{(3 * place + i) % 4}.dcm",
                volume[place],
                SeriesInstanceUID=f"1.2.{i}",
                ImageOrientationPatient=AXIAL,
                ImagePositionPatient=[10, 20, 2.5 * place],
                WindowCenter=2047.5,
                WindowWidth=4095,
                VOILUTFunction="LINEAR_EXACT",
            )
    # Columns run to the left and rows to the back, canonical axes to the right and the front.
    return stored[:, :, ::-1, ::-1] / 4095


def test_a_series_is_a_volume(tmp_path, series):
    found = load_images(tmp_path / "ct", series=True)
    assert found.names == ("p0", "p1")
    np.testing.assert_allclose(found.images[:, 0].numpy(), series, atol=1e-6)
    assert any("2 DICOM volumes" in note and "own window" in note for note in found.notes)
    for i, volume in enumerate(series):
        ras = (volume > 0.5).transpose(2, 1, 0).astype(np.uint8)
        write_nifti(tmp_path / "masks" / f"p{i}.nii.gz", ras)
    masked = load_images(tmp_path / "ct", series=True, masks=tmp_path / "masks")
    assert masked.masks.equal(torch.from_numpy(series > 0.5))
    assert load_images(tmp_path / "ct").images.shape == (8, 3, 5, 6)  # slices, where nobody asks


def test_slices_at_one_place_are_no_volume(tmp_path, series):
    name = next((tmp_path / "ct" / "p1").glob("*.dcm"))
    (tmp_path / "ct" / "p1" / "again.dcm").write_bytes(name.read_bytes())
    found = load_images(tmp_path / "ct", series=True)
    assert found.names == ("p0",)
    assert any("several slices at one place" in line for line in found.skipped)


def test_files_of_several_frames_are_volumes(tmp_path, draw):
    stored = draw.integers(0, 256, (2, 4, 5, 6)).astype(np.uint8)
    for i, frames in enumerate(stored):
        write_dicom(tmp_path / f"{i}.dcm", frames)
    found = load_images(tmp_path)
    assert found.names == ("0.dcm", "1.dcm")
    low, high = stored[0].min(), stored[0].max()
    np.testing.assert_allclose(
        found.images[0, 0].numpy(), (stored[0] - low) / float(high - low), atol=1e-6
    )


def test_what_cannot_be_used_is_named(tmp_path, draw, monkeypatch):
    write_nifti(tmp_path / "a.nii", draw.normal(size=(4, 4, 4)))
    (tmp_path / "b.nii.gz").write_bytes(b"nothing of the kind")
    found = load_images(tmp_path)
    assert len(found) == 1
    assert found.skipped[0].startswith("b.nii.gz: ")
    write_nifti(tmp_path / "c.nii", draw.normal(size=(4, 4, 5)))
    with pytest.raises(DataError, match=r"a\.nii is 4×4×4, c\.nii 5×4×4; bring the volumes"):
        load_images(tmp_path)
    with pytest.raises(OptionError, match=r"series=True joins DICOM slices, and .* holds none"):
        load_images(tmp_path, series=True)
    with pytest.raises(OptionError, match="window is 40, 0; expected the centre and the width"):
        load_images(tmp_path, window=(40, 0))
    Image.new("L", (4, 4)).save(tmp_path / "z.png")
    with pytest.raises(DataError, match=r"holds volumes and images: a\.nii, z\.png"):
        load_images(tmp_path)


@pytest.mark.parametrize("library", ["pydicom", "nibabel"])
def test_without_the_libraries_it_is_said_what_to_install(tmp_path, draw, monkeypatch, library):
    if library == "pydicom":
        write_dicom(tmp_path / "a.dcm", draw.integers(0, 9, (4, 4)).astype(np.uint8))
    else:
        write_nifti(tmp_path / "a.nii", draw.normal(size=(4, 4, 4)))
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(OptionError, match=rf"{library}, which .*pip install 'sycam\[medical\]'"):
        load_images(tmp_path)
