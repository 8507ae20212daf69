"""Folders of image files: every way in which they come, and in which they are broken."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sycam.data.images import load_images, open_images
from sycam.errors import DataError, OptionError

DATA = Path(__file__).resolve().parents[2] / os.environ.get("SYCAM_DATA", "../shared/data")


def save(path: Path, size: tuple[int, int] = (8, 6), seed: int = 0, **options) -> Path:
    """A colour image of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def painted(path: Path, box: tuple[int, int, int, int], size: tuple[int, int] = (8, 6)) -> Path:
    """A mask with one rectangle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((size[1], size[0]), dtype=np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    Image.fromarray(mask).save(path)
    return path


def truncate(path: Path, share: float = 0.5) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def test_all_kinds_are_found_recursively_in_order(tmp_path):
    names = ["b/z.JPEG", "a/y.png", "x.bmp", "b/w.tif", "v.webp", "a/u.jpg"]
    for i, name in enumerate(names):
        save(tmp_path / name, seed=i)
    (tmp_path / "notes.txt").write_text("no image")
    image_set = load_images(str(tmp_path))
    assert image_set.names == tuple(sorted(names))
    assert image_set.images.shape == (6, 3, 6, 8)
    assert image_set.images.dtype == torch.float32
    assert image_set.images.is_contiguous()
    assert image_set.labels is None
    assert image_set.masks is None
    assert image_set.skipped == ()


def test_scale_and_round_trip(tmp_path):
    pixels = np.asarray(Image.open(save(tmp_path / "a.png")))
    plain = load_images(tmp_path)
    assert plain.mean == (0.0,) * 3
    assert plain.std == (1.0,) * 3
    expected = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
    assert torch.equal(plain.images[0], expected)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    scaled = load_images(tmp_path, mean=mean, std=std)
    wanted = (expected - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(scaled.images[0], wanted)
    for image_set in (plain, scaled):
        assert np.array_equal(image_set.picture(0), pixels)


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "tif", "webp"])
def test_truncated_images_are_named_and_left_out(tmp_path, ending):
    save(tmp_path / "good.png")
    truncate(save(tmp_path / f"broken.{ending}", size=(80, 60)))
    image_set = load_images(tmp_path)
    assert image_set.names == ("good.png",)
    assert len(image_set.skipped) == 1
    assert image_set.skipped[0].startswith(f"broken.{ending}: ")


def test_what_is_no_image_is_named_and_left_out(tmp_path):
    save(tmp_path / "good.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("not a picture at all")
    floats = np.full((6, 8), 0.5, dtype=np.float32)
    Image.fromarray(floats).save(tmp_path / "floats.tif")
    assert load_images(tmp_path).skipped == (
        "empty.png: empty file",
        "floats.tif: floating-point pixels have no fixed range",
        "text.jpg: not an image",
    )


def test_a_folder_without_a_readable_image_is_refused(tmp_path):
    with pytest.raises(DataError, match="no images in"):
        load_images(tmp_path)
    truncate(save(tmp_path / "a.jpg"), 0.3)
    with pytest.raises(DataError, match=r"none of the 1 images .* can be read: a\.jpg: "):
        load_images(tmp_path)


@pytest.mark.parametrize("source", ["nowhere", "file.txt"])
def test_a_source_that_is_none_is_refused(tmp_path, source):
    (tmp_path / "file.txt").write_text("text")
    with pytest.raises(DataError, match=source):
        load_images(tmp_path / source)


def test_exif_orientation_is_honoured(tmp_path):
    pixels = np.asarray(Image.open(save(tmp_path / "a.png")))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn right by 90 degrees to see it
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    image_set = load_images(tmp_path)
    assert np.array_equal(image_set.picture(0), np.rot90(pixels, -1))


def test_boxes_are_in_pixels_after_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "images" / "a.jpg", exif=exif)  # 8×6 stored, 6×8 seen
    table = tmp_path / "boxes.csv"
    table.write_text("file,x0,y0,x1,y1\na.jpg,0,6,6,8\n")
    masks = load_images(tmp_path / "images", boxes=table).masks
    assert masks.shape == (1, 8, 6)
    assert masks[0].nonzero()[:, 0].unique().tolist() == [6, 7]


def test_grey_of_sixteen_bits_keeps_its_range(tmp_path):
    values = np.array([[0, 257, 257 * 100, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert load_images(tmp_path).picture(0)[0, :, 0].tolist() == [0, 1, 100, 255]
    assert load_images(tmp_path, mean=[0.0]).images.shape == (1, 1, 1, 4)


def test_twelve_bits_in_files_of_sixteen_keep_what_they_tell(tmp_path):
    """As of eight bits, of which they would have sixteen values left; also resized and as RGB."""
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    for ending in ("png", "tiff"):
        (tmp_path / ending).mkdir()
        Image.fromarray(stored).save(tmp_path / ending / f"a.{ending}")
        found = load_images(tmp_path / ending, mean=[0.0], window=(2048, 4096))
        assert torch.allclose(found.images[0, 0], torch.from_numpy(stored / 4096).float())
        dark = load_images(tmp_path / ending, size=32).images
        assert dark.shape == (1, 3, 32, 32)
        assert len(dark[0, 0].unique()) > 1000
        assert dark.max() == pytest.approx(4095 / 65535, rel=0.01)


def test_a_note_says_how_high_sixteen_bits_reach(tmp_path):
    Image.fromarray(np.full((8, 8), 3347, np.uint16)).save(tmp_path / "a.png")
    (note,) = (n for n in open_images(tmp_path).notes if "sixteen" in n)
    assert "the largest value of a.png is 3347" in note
    assert "window says" in note
    (note,) = (n for n in open_images(tmp_path, window=(2048, 4096)).notes if "sixteen" in n)
    assert "window centre 2048 width 4096" in note
    assert "window says" not in note


def test_palette_transparency_and_grey_become_rgb(tmp_path):
    colours = np.zeros((1, 4, 3), dtype=np.uint8)
    colours[0, :, 0] = [0, 80, 160, 240]
    Image.fromarray(colours).quantize(4).save(tmp_path / "palette.png")
    Image.fromarray(colours[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(colours).convert("CMYK").save(tmp_path / "print.tif")
    alpha = np.array([[255, 255, 0, 255]], dtype=np.uint8)
    Image.fromarray(np.dstack([colours, alpha])).save(tmp_path / "rgba.png")
    Image.fromarray(np.array([[0, 1, 1, 0]], dtype=bool)).save(tmp_path / "two.png")
    image_set = load_images(tmp_path)
    seen = {name: image_set.picture(i)[0] for i, name in enumerate(image_set.names)}
    assert np.array_equal(seen["palette.png"], colours[0])
    assert np.array_equal(seen["grey.png"], np.repeat(colours[0, :, :1], 3, axis=1))
    assert np.array_equal(seen["print.tif"], colours[0])
    assert np.array_equal(seen["rgba.png"][[0, 1, 3]], colours[0, [0, 1, 3]])
    assert seen["rgba.png"][2].tolist() == [255, 255, 255]
    assert seen["two.png"][:, 0].tolist() == [0, 255, 255, 0]


def test_one_mean_makes_grey(tmp_path):
    save(tmp_path / "a.png")
    grey = load_images(tmp_path, mean=[0.5], std=[0.25])
    assert grey.images.shape == (1, 1, 6, 8)
    expected = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    assert np.array_equal(grey.picture(0)[..., 0], expected)
    assert load_images(tmp_path, std=[0.25]).std == (0.25,) * 3


def test_sizes_that_differ_need_size(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png", size=(10, 12))
    with pytest.raises(DataError, match=r"a\.png is 8×6, b\.png 10×12; give size"):
        load_images(tmp_path)
    assert load_images(tmp_path, size=5).images.shape == (2, 3, 5, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"std": [1, 0, 1]}, "std is 1, 0, 1; expected numbers above 0"),
        ({"mean": [0.5, 0.5]}, "mean has 2 numbers"),
        ({"mean": []}, "mean has 0 numbers"),
        ({"masks": "m", "boxes": "b"}, "give one of them"),
    ],
)
def test_options_out_of_range(tmp_path, options, message):
    save(tmp_path / "a.png")
    with pytest.raises(OptionError, match=message):
        load_images(tmp_path, **options)


def test_labels_come_from_the_table_only(tmp_path):
    for i, name in enumerate(["cat/a.png", "dog/b.png"]):
        save(tmp_path / name, seed=i)
    assert load_images(tmp_path).labels is None
    table = tmp_path / "labels.csv"
    table.write_text("\ufefffile,label,note\ndog\\b.png,3,x\na.png,281\nunused.png,1\n")
    labels = load_images(tmp_path).labels
    assert labels.dtype == torch.int64
    assert labels.tolist() == [281, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,class\na.png,1\n", "has no column 'label'; its first line names file, class"),
        ("", "has no column 'file'; its first line names nothing"),
        ("file,label\na.png,1.5\n", "line 2: label '1.5' is no class index"),
        ("file,label\na.png,-1\n", "line 2: label '-1'"),
        ("file,label\na.png\n", "line 2: label ''"),
        ("file,label\na.png,99999999999999999999\n", "is no class index"),
        ("file,label\nb.png,1\n", r"labels\.csv has no row for 1 of 1 images: a\.png"),
        ("file,label\na.png,1\na.png,2\n", "line 3: a.png has two labels"),
    ],
)
def test_bad_tables_of_labels(tmp_path, text, message):
    save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_images(tmp_path)


def test_a_table_of_bytes_is_refused(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_bytes(b"file,label\n\xff\xfe\n")
    with pytest.raises(DataError, match="cannot read the table"):
        load_images(tmp_path)


def test_masks_by_path_or_stem(tmp_path):
    for name in ("a/one.jpg", "b/one.jpg", "two.png"):
        save(tmp_path / "images" / name)
    painted(tmp_path / "masks" / "a" / "one.png", (0, 0, 2, 2))
    painted(tmp_path / "masks" / "b" / "one.png", (0, 0, 3, 3))
    painted(tmp_path / "masks" / "two.png", (0, 0, 4, 4))
    masks = load_images(tmp_path / "images", masks=tmp_path / "masks").masks
    assert masks.dtype == torch.bool
    assert masks.sum(dim=(1, 2)).tolist() == [4, 9, 16]
    (tmp_path / "masks" / "a" / "one.png").rename(tmp_path / "masks" / "one.png")
    with pytest.raises(DataError, match=r"1 of 3 images have no mask in .*: a/one\.jpg"):
        load_images(tmp_path / "images", masks=tmp_path / "masks")


def test_masks_inside_the_folder_are_no_images(tmp_path):
    save(tmp_path / "a.jpg")
    painted(tmp_path / "masks" / "a.png", (0, 0, 2, 2))
    image_set = load_images(tmp_path, masks=tmp_path / "masks")
    assert image_set.names == ("a.jpg",)


@pytest.mark.parametrize("mode", ["P", "RGB", "RGBA", "LA", "1", "I;16"])
def test_masks_of_every_kind(tmp_path, mode):
    save(tmp_path / "images" / "a.jpg")
    path = painted(tmp_path / "masks" / "a.png", (1, 2, 4, 6))
    mask = np.asarray(Image.open(path))
    if mode == "P":
        image = Image.fromarray(mask)
        image.putpalette([0, 0, 0, 0, 0, 0])  # index 1 counts, though it is painted black
    elif mode == "I;16":
        image = Image.fromarray(mask.astype(np.uint16) * 300)
    elif mode == "1":
        image = Image.fromarray(mask.astype(bool))
    else:
        image = Image.fromarray(mask * 255).convert(mode)  # alpha is 255 everywhere
    image.save(path)
    masks = load_images(tmp_path / "images", masks=tmp_path / "masks").masks
    assert np.array_equal(masks[0].numpy(), mask != 0)


def test_masks_that_do_not_match(tmp_path):
    save(tmp_path / "images" / "a.jpg")
    with pytest.raises(DataError, match="no folder of masks at"):
        load_images(tmp_path / "images", masks=tmp_path / "masks")
    path = painted(tmp_path / "masks" / "a.png", (0, 0, 2, 2), size=(6, 8))
    with pytest.raises(DataError, match=r"a\.png is 6×8, its image a\.jpg 8×6"):
        load_images(tmp_path / "images", masks=tmp_path / "masks")
    truncate(path)
    with pytest.raises(DataError, match=r"cannot read the mask .*a\.png"):
        load_images(tmp_path / "images", masks=tmp_path / "masks")


def test_skipped_images_need_no_mask(tmp_path):
    save(tmp_path / "images" / "a.png")
    truncate(save(tmp_path / "images" / "b.jpg"), 0.3)
    painted(tmp_path / "masks" / "a.png", (0, 0, 2, 2))
    image_set = load_images(tmp_path / "images", masks=tmp_path / "masks")
    assert len(image_set.masks) == len(image_set.skipped) == 1


@pytest.mark.parametrize(
    "text",
    [
        "file,x0,y0,x1,y1\na.jpg,0,0,2,2\na.jpg,1,1,3,3\nother.jpg,0,0,1,1\n",
        "file,label,boxes\nimages/a.jpg,7,0 0 2 2;1 1 3 3\n",
        "file,boxes_xyxy_in_227px\na.jpg,0.0 0.0 2.0 2.0; 1 1 3 3;\n",
    ],
)
def test_tables_of_boxes(tmp_path, text):
    save(tmp_path / "images" / "a.jpg")
    (tmp_path / "boxes.csv").write_text(text)
    images = load_images(tmp_path / "images", boxes=tmp_path / "boxes.csv")
    assert images.masks.sum() == 7
    (outlines,) = images.subset([0]).boxes
    assert outlines.tolist() == [[0, 0, 2, 2], [1, 1, 3, 3]]  # each of its own


@pytest.mark.parametrize("text", ["file,x0,y0,x1,y1\na.jpg,,,,\n", "file,boxes\na.jpg,\n"])
def test_an_image_may_show_no_object(tmp_path, text):
    save(tmp_path / "images" / "a.jpg")
    (tmp_path / "boxes.csv").write_text(text)
    masks = load_images(tmp_path / "images", boxes=tmp_path / "boxes.csv").masks
    assert masks.shape == (1, 6, 8)
    assert not masks.any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,x0,y0,x1\na.jpg,0,0,1\n", "neither columns x0,y0,x1,y1 nor a column 'boxes'"),
        ("file,x0,y0,x1,y1\na.jpg,0,0,one,1\n", "line 2: '0 0 one 1' is no box"),
        ("file,x0,y0,x1,y1\na.jpg,0,0,1\n", "line 2: .* is no box"),
        ("file,x0,y0,x1,y1\na.jpg,4,0,1,1\n", "is turned round"),
        ("file,x0,y0,x1,y1\na.jpg,0,0,nan,1\n", "not finite"),
        ("file,x0,y0,x1,y1\na.jpg,0,0,80,60\n", r"a\.jpg: box 0 0 80 60 reaches out of the image"),
        ("file,boxes\na.jpg,0 0 1\n", "line 2: '0 0 1' is no box"),
        ("file,boxes\nb.jpg,0 0 1 1\n", r"has no row for 1 of 1 images: a\.jpg"),
    ],
)
def test_bad_tables_of_boxes(tmp_path, text, message):
    save(tmp_path / "images" / "a.jpg")
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_images(tmp_path / "images", boxes=tmp_path / "boxes.csv")


def test_one_row_for_two_images_is_refused(tmp_path):
    for name in ("a/one.png", "b/one.png"):
        save(tmp_path / name)
    (tmp_path / "labels.csv").write_text("file,label\none.png,1\n")
    with pytest.raises(DataError, match=r"'one\.png' stands for both a/one\.png and b/one\.png"):
        load_images(tmp_path)


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real images at {DATA}; set SYCAM_DATA")
def test_real_images_with_boxes_and_masks():
    folder = DATA / "imagenet"
    boxed = load_images(folder / "val227", boxes=folder / "val_boxes.csv")
    assert boxed.images.shape == (200, 3, 227, 227)
    assert boxed.masks.any(dim=(1, 2)).all()
    folder = DATA / "coco_masks"
    masked = load_images(folder / "images", masks=folder / "masks", size=224)
    assert masked.masks.shape == (68, 224, 224)
    assert masked.skipped == ()


@pytest.mark.parametrize("name", ["mean", "std"])
def test_a_number_in_place_of_several_says_how_they_are_written(tmp_path, name):
    """It ended in a TypeError; one number in a sequence means grey images."""
    with pytest.raises(
        OptionError, match=rf"{name} must be a sequence .* \(0, 0, 0\) for RGB; got 0"
    ):
        load_images(tmp_path, **{name: 0})
