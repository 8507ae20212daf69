"""Geometry: picture, mask and boxes go to the same place."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sycam.data.geometry import Geometry
from sycam.data.images import load_images

SIDES = st.integers(1, 60)


@settings(deadline=None)
@given(width=SIDES, height=SIDES, size=st.integers(1, 40), data=st.data())
def test_boxes_on_whole_pixels_equal_painted_masks(width, height, size, data):
    x0, x1 = sorted(data.draw(st.tuples(st.integers(0, width), st.integers(0, width))))
    y0, y1 = sorted(data.draw(st.tuples(st.integers(0, height), st.integers(0, height))))
    painted = np.zeros((height, width), dtype=bool)
    painted[y0:y1, x0:x1] = True
    geometry = Geometry.centred(width, height, size)
    mask, box = geometry.mask(painted), geometry.boxes([(x0, y0, x1, y1)])
    assert mask.shape == box.shape == (size, size)
    # A mask loses what lies between the sampled pixels; a box keeps one pixel of it.
    assert not (mask & ~box).any()
    if mask.any():
        assert np.array_equal(mask, box)


@given(width=SIDES, height=SIDES)
def test_without_size_nothing_moves(width, height):
    geometry = Geometry.centred(width, height, None)
    pixels = np.arange(width * height).reshape(height, width) % 251
    assert geometry.is_identity
    assert np.array_equal(geometry.mask(pixels), pixels)
    picture = Image.fromarray(pixels.astype(np.uint8))
    assert np.array_equal(np.asarray(geometry.picture(picture)), pixels)


def test_picture_mask_and_box_coincide_after_resizing(tmp_path):
    """A painted rectangle, its mask file and its box in a table, through --size."""
    boxes = {"wide.png": (60, 20, 140, 90), "tall.png": (8, 70, 52, 130)}
    sizes = {"wide.png": (210, 120), "tall.png": (90, 171)}
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    with (tmp_path / "boxes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "x0", "y0", "x1", "y1"])
        for name, (x0, y0, x1, y1) in boxes.items():
            writer.writerow([name, x0, y0, x1, y1])
            painted = np.zeros(sizes[name][::-1], dtype=np.uint8)
            painted[y0:y1, x0:x1] = 255
            Image.fromarray(painted).save(tmp_path / "images" / name)
            Image.fromarray(painted // 255).save(tmp_path / "masks" / name)
    images = tmp_path / "images"
    by_mask = load_images(images, size=48, masks=tmp_path / "masks")
    by_box = load_images(images, size=48, boxes=tmp_path / "boxes.csv")
    assert by_mask.masks.shape == (2, 48, 48)
    assert by_mask.masks.any(dim=(1, 2)).all()
    assert by_mask.masks.equal(by_box.masks)
    # The picture's edge is blurred by antialiasing; half of full brightness is the edge.
    assert by_mask.masks.equal(by_mask.images[:, 0] > 0.5)


def test_thin_boxes_mark_one_pixel_and_empty_ones_none():
    geometry = Geometry.centred(100, 100, 10)
    assert geometry.boxes([(41, 62, 42, 63)]).nonzero() == ([6], [4])
    assert geometry.boxes([(99.5, 0, 100, 100)]).sum() == 10
    assert not geometry.boxes([(41, 62, 41, 63)]).any()
    assert not geometry.boxes([]).any()


def test_union_of_boxes():
    geometry = Geometry.centred(10, 10, None)
    assert geometry.boxes([(0, 0, 2, 2), (1, 1, 3, 3)]).sum() == 7


@pytest.mark.parametrize("shape", [(4, 60000), (60000, 4)])
def test_very_long_images_need_no_memory(shape):
    picture = Geometry.centred(shape[1], shape[0], 224).picture(Image.new("L", shape[::-1]))
    assert picture.size == (224, 224)


@given(
    st.lists(st.tuples(*[st.integers(-5, 45)] * 4), max_size=4),
    st.sampled_from(
        [
            Geometry.centred(40, 30, None),
            Geometry.centred(40, 30, 60),
            Geometry.resized(40, 30, 33, 28),
        ]
    ),
)
def test_outlines_are_the_edges_of_what_the_mask_of_boxes_marks(corners, geometry):
    boxes = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners]
    outlines = geometry.outlines(boxes)
    drawn = np.zeros((geometry.out_height, geometry.out_width), bool)
    x, y = np.arange(geometry.out_width) + 0.5, np.arange(geometry.out_height) + 0.5
    for x0, y0, x1, y1 in outlines:
        drawn |= ((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))
    # But for centres that lie on an edge, where rounding decides.
    differing = np.argwhere(drawn != geometry.boxes(boxes))
    edges = outlines.reshape(-1)
    for row, column in differing:
        assert min(np.abs(edges - x[column]).min(), np.abs(edges - y[row]).min()) < 1e-6
    assert (outlines >= 0).all()
    assert (outlines <= [geometry.out_width, geometry.out_height] * 2).all()
