"""Archives: what an .npz may hold, and how a bad one is told."""

from __future__ import annotations

import contextlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from sycam import cli
from sycam.data.images import load_images, open_images
from sycam.data.readers import archive as archive_room
from sycam.errors import DataError, OptionError
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.options import ExplainOptions

COLOUR = np.random.default_rng(0).integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]


def archive(folder: Path, **arrays) -> Path:
    path = folder / "file.npz"
    np.savez_compressed(path, **arrays)
    return path


def test_colour_and_grey(tmp_path):
    colour = load_images(archive(tmp_path, images=COLOUR, labels=np.array([2, 0, 1], np.uint8)))
    assert colour.images.shape == (3, 3, 6, 8)
    assert colour.labels.tolist() == [2, 0, 1]
    assert colour.labels.dtype == torch.int64
    assert colour.names == ("npz[0]", "npz[1]", "npz[2]")
    assert np.array_equal(colour.picture(2), COLOUR[2])
    grey = load_images(archive(tmp_path, images=GREY), mean=[0.25], std=[0.25])
    assert grey.images.shape == (3, 1, 6, 8)
    assert grey.labels is None
    assert np.array_equal(grey.picture(1), np.repeat(GREY[1][..., None], 3, axis=2))
    again = load_images(archive(tmp_path, images=GREY[..., None]), mean=[0.25], std=[0.25])
    assert grey.digests == again.digests


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_arrays_are_mapped_where_they_are_stored(tmp_path, monkeypatch, order):
    monkeypatch.setattr(archive_room, "IN_MEMORY", 200)
    path = tmp_path / "stored.npz"
    labels = np.array([2, 0, 1], np.uint8)
    np.savez(path, labels=labels, images=np.asarray(COLOUR, order=order))
    source = open_images(path)
    assert isinstance(source.reader.pixels, np.memmap)
    assert not isinstance(source.reader.labels, np.memmap)  # 3 bytes and 128 of header
    whole = source.whole()
    packed = load_images(archive(tmp_path, images=COLOUR, labels=labels))
    assert torch.equal(whole.images, packed.images)
    assert whole.digests == packed.digests
    data = bytearray(path.read_bytes())
    place = data.find(np.asarray(COLOUR, order=order).tobytes(order)[:16])
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="CRC"):
        open_images(path)
    path.write_bytes(data[: place + 100])
    with pytest.raises(DataError, match=r"no \.npz file"):
        open_images(path)


def test_more_channels_than_a_picture_has(tmp_path):
    """Eleven channels of a satellite were refused by the command line, and taken in Python."""
    pixels = np.random.default_rng(1).integers(0, 256, (3, 6, 8, 11), dtype=np.uint8)
    plain = load_images(archive(tmp_path, images=pixels), mean=[0.5] * 11, std=[0.1] * 11)
    expected = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.5) / 0.1
    torch.testing.assert_close(plain.images, expected)
    assert plain.picture(0).shape == (6, 8, 3)
    small = load_images(archive(tmp_path, images=pixels), size=4)
    assert small.images.shape == (3, 11, 4, 4)
    for channel in (0, 10):
        grey = load_images(archive(tmp_path, images=pixels[..., channel]), size=4)
        torch.testing.assert_close(small.images[:, channel], grey.images[:, 0])


def test_the_command_line_takes_more_channels(tmp_path, capsys):
    pixels = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 11), dtype=np.uint8)
    factory = tmp_path / "nets.py"
    factory.write_text(
        "from torch import nn\ndef eleven():\n    return nn.Sequential(nn.Conv2d(11, 4, 3, "
        "padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3)).eval()\n"
    )
    given = ["--network", f"{factory}:eleven", "--images", archive(tmp_path, images=pixels)]
    asked = ["evaluate", "grad-cam", "--layer", "1", "--metric", "insertion", "--json", "--quiet"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["sycam", *map(str, asked + given)])
        with contextlib.suppress(SystemExit):
            cli.main()
    assert json.loads(capsys.readouterr().out)["images"] == 6


def test_masks_and_boxes_through_size(tmp_path):
    masks = np.zeros((3, 6, 8), dtype=np.uint8)
    masks[:, 2:6, 2:6] = 7
    boxes = np.tile(np.array([2 / 8, 2 / 6, 6 / 8, 1.0]), (3, 1))
    plain = load_images(archive(tmp_path, images=COLOUR, masks=masks, other=np.zeros(5)))
    assert plain.masks.dtype == torch.bool
    assert plain.masks.sum() == 3 * 16
    by_box = load_images(archive(tmp_path, images=COLOUR, boxes_xyxy_rel=boxes))
    assert by_box.masks.equal(plain.masks)
    small = load_images(archive(tmp_path, images=COLOUR, masks=masks, labels=[1, 2, 3]), size=3)
    small_box = load_images(archive(tmp_path, images=COLOUR, boxes_xyxy_rel=boxes), size=3)
    assert small.images.shape == (3, 3, 3, 3)
    assert small.masks[0].tolist() == [[False] * 3, [True, True, False], [True, True, False]]
    assert small_box.masks.equal(small.masks)
    assert load_images(archive(tmp_path, images=GREY), size=12).images.shape == (3, 1, 12, 12)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": [1, 2, 3]}, "has no array 'images'; expected uint8"),
        ({"images": GREY / 255}, r"array 'images' is float64 \[3, 6, 8\]; expected uint8"),
        ({"images": COLOUR.transpose(0, 3, 1, 2)}, r"'images' is uint8 \[3, 3, 6, 8\]; expected"),
        ({"images": GREY[0]}, r"'images' is uint8 \[6, 8\]"),
        ({"images": COLOUR[:0]}, "'images' holds no image"),
        ({"images": GREY, "labels": [1, 2]}, r"'labels' is int64 \[2\]; expected integers \[3\]"),
        ({"images": GREY, "labels": [1.0, 2.0, 3.5]}, "'labels' is float64"),
        ({"images": GREY, "labels": [1, -2, 3]}, "'labels' holds -2"),
        ({"images": GREY, "labels": np.full(3, 2**63, np.uint64)}, "labels count from 0 on"),
        ({"images": GREY, "masks": GREY[:, :3]}, r"'masks' is uint8 \[3, 3, 8\]; expected"),
        ({"images": GREY, "masks": np.full((3, 6, 8), np.nan)}, "'masks' holds NaN"),
        ({"images": GREY, "boxes_xyxy_rel": np.zeros((3, 2))}, r"expected numbers \[3, 4\]"),
        ({"images": GREY, "boxes_xyxy_rel": np.full((3, 4), np.nan)}, "holds .*nan.* at 0"),
        ({"images": GREY, "boxes_xyxy_rel": np.full((3, 4), 50.0)}, "between 0 and 1"),
        ({"images": GREY, "boxes_xyxy_rel": np.array([[0.5, 0, 0.2, 1]] * 3)}, "x0 <= x1"),
        ({"images": np.array([{}, {}])}, "plain arrays"),
    ],
)
def test_bad_arrays(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        load_images(archive(tmp_path, **arrays))


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_truncated_archives(tmp_path, share):
    path = archive(tmp_path, images=COLOUR)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=r"cannot read .*file\.npz: it is broken"):
        load_images(path)


def test_flipped_bits_are_found(tmp_path):
    path = archive(tmp_path, images=COLOUR)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match="cannot read"):
        load_images(path)


class Trap:
    """Pickles to something that would make a file if it were ever loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_nothing_is_unpickled(tmp_path):
    evidence = tmp_path / "executed"
    path = tmp_path / "file.npz"
    path.write_bytes(pickle.dumps(Trap(evidence)))
    with pytest.raises(DataError, match="cannot read"):
        load_images(path)
    trap = np.array([Trap(evidence)], dtype=object)
    for arrays in ({"images": trap}, {"images": COLOUR, "labels": trap}):
        with pytest.raises(DataError, match="cannot read"):
            load_images(archive(tmp_path, **arrays))
    assert not evidence.exists()


def test_another_format_under_the_name(tmp_path):
    path = tmp_path / "file.npz"
    with path.open("wb") as file:
        np.save(file, COLOUR)
    with pytest.raises(DataError, match="cannot read"):
        load_images(path)


def test_options_of_folders_and_channels(tmp_path):
    path = archive(tmp_path, images=GREY)
    with pytest.raises(OptionError, match="belong to a folder"):
        load_images(path, masks=tmp_path)
    with pytest.raises(OptionError, match="mean has 3 numbers, the images 1 channels; expected 1"):
        load_images(path, mean=[0.1, 0.2, 0.3])


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(tmp_path):
    images = np.zeros((1, 9000, 10_000, 3), np.uint8)  # 270 MB
    np.savez_compressed(tmp_path / "bomb.npz", images=images)
    assert (tmp_path / "bomb.npz").stat().st_size < 1 << 20
    with pytest.raises(DataError, match=r"unpack to 270000128 bytes.*savez"):
        load_images(tmp_path / "bomb.npz")


def test_ids_and_classes_are_names(tmp_path):
    labels, classes = np.array([0, 1, 1]), np.array(["benign", "malignant"])
    ids = np.array(["a 1", "a 2", "b 1"])
    named = load_images(archive(tmp_path, images=GREY, labels=labels, ids=ids, classes=classes))
    assert named.names == ("a 1", "a 2", "b 1")
    assert named.class_names == ("benign", "malignant")
    # What cannot be names says nothing, as before: equal ids, fewer names than labels, numbers.
    for other in (
        {"ids": np.array(["a", "a", "b"]), "classes": np.array(["benign"])},
        {"ids": np.zeros((3, 2)), "classes": np.array([7, 8])},
    ):
        plain = load_images(archive(tmp_path, images=GREY, labels=labels, **other))
        assert plain.names == ("npz[0]", "npz[1]", "npz[2]")
        assert plain.class_names is None
        assert plain.digests == named.digests


@pytest.mark.parametrize(("classes", "kept"), [(5, True), (3, False)])
def test_names_of_classes_that_the_network_does_not_have_are_not_used(
    classes, kept, tmp_path, small_network
):
    pixels = np.random.default_rng(1).integers(0, 256, (6, 16, 16, 3), np.uint8)
    names = np.array([f"class {i}" for i in range(classes)])
    labels = np.arange(6) % classes
    images = load_images(archive(tmp_path, images=pixels, labels=labels, classes=names))
    notes = []
    explained = ExplainedNetwork.prepare(
        small_network, "3", images, ExplainOptions(), 0, None, notes.append
    )
    explained.measure(images, notes.append)
    assert explained.class_names == (tuple(names) if kept else None)
    assert any("the names are not used" in getattr(n, "text", "") for n in notes) is not kept
