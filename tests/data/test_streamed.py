"""Images that stay in their files are those that would have been read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sycam.data.images import ImageSet, choose, open_images, split
from sycam.data.streamed import Streamed, StreamedImages
from sycam.errors import DataError

COUNTS = {"search": 9, "heldout": 5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0)
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    for i in range(20):
        Image.fromarray(noise.integers(0, 256, (9, 8, 3), np.uint8)).save(images / f"{i:02}.png")
        Image.fromarray(np.full((9, 8), 255 * (i % 4 > 0), np.uint8)).save(masks / f"{i:02}.png")
    lines = "".join(f"{i:02}.png,{i % 5}\n" for i in range(20))
    (images / "labels.csv").write_text("file,label\n" + lines)
    (images / "broken.png").write_bytes(b"no picture")
    return images


def same(streamed: ImageSet, read: ImageSet) -> None:
    assert isinstance(streamed.images, StreamedImages)
    assert torch.equal(streamed.images[:], read.images)
    assert torch.equal(streamed.masks[:], read.masks)
    assert torch.equal(streamed.labels, read.labels)
    assert np.array_equal(streamed.looks, read.looks)
    for name in ("names", "digests", "shape", "skipped", "mean", "std", "notes", "origin"):
        assert getattr(streamed, name) == getattr(read, name)


def test_what_stays_is_divided_as_what_is_read(folder):
    source = open_images(folder, masks=folder.parent / "masks", mean=[0.5] * 3, std=[0.25] * 3)
    for streamed, read in zip(
        split(source.staying(), COUNTS, 3), split(source, COUNTS, 3), strict=True
    ):
        same(streamed, read)
        same(streamed.subset([2, 0]), read.subset([2, 0]))
    same(choose(source.staying(), 7, 1), choose(source, 7, 1))
    same(source.staying().whole(), source.whole())


def test_volumes_stay_and_are_drawn_as_those_that_were_chosen(tmp_path):
    """From the lowest to the highest intensity of the volumes chosen, not of all."""
    volumes = np.random.default_rng(2).normal(0, 1, (20, 1, 4, 9, 8)).astype(np.float32)
    volumes *= np.arange(1, 21)[:, None, None, None, None]
    np.savez(tmp_path / "v.npz", images=volumes, masks=volumes[:, 0] > 1, labels=np.arange(20) % 3)
    source = open_images(tmp_path / "v.npz")
    for count in (3, 20):
        same(choose(source.staying(), count, 1), choose(source, count, 1))
    assert choose(source, 3, 1).mean != choose(source, 20, 1).mean


def test_a_part_is_read_only_when_it_is_looked_at():
    asked: list[list[int]] = []

    def read(places):
        asked.append(list(places))
        return torch.tensor(places, dtype=torch.float32)[:, None]

    whole = Streamed(read, range(100), (1,), torch.float32)
    part = whole.part(slice(10, 90))[torch.tensor([3, 1])]
    assert (len(whole), part.shape, part.ndim, asked) == (100, (2, 1), 2, [])
    assert part[:1].tolist() == [[13.0]]
    assert part[1].tolist() == [11.0]
    assert [one.item() for one in part] == [13.0, 11.0]
    assert asked == [[13], [11], [13], [11]]
    # What only a tensor can do is done with all of them.
    assert torch.stack([part.mean(), torch.amax(part)]).tolist() == [12.0, 13.0]
    assert whole[:0].shape == (0, 1)


def test_a_picture_that_was_overwritten_is_refused(folder):
    images = open_images(folder).staying().whole()
    Image.new("RGB", (8, 9)).save(folder / images.names[3])
    assert images.images[:3].shape == (3, 3, 9, 8)
    with pytest.raises(DataError, match="were they overwritten"):
        images.images[2:5]
