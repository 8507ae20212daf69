"""A CSV table of images with labels, masks and boxes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sycam.data.images import load_images
from sycam.errors import DataError, OptionError


@pytest.fixture
def folder(tmp_path):
    """Two images of 8×6, and a mask of 2×3 pixels for the first."""
    (tmp_path / "pictures").mkdir()
    for i, name in enumerate(["a.png", "b.png"]):
        Image.fromarray(np.full((6, 8, 3), i, np.uint8)).save(tmp_path / "pictures" / name)
    mask = np.zeros((6, 8), np.uint8)
    mask[1:4, 2:4] = 255
    Image.fromarray(mask).save(tmp_path / "a_mask.png")
    return tmp_path


def load(folder, text, **options):
    (folder / "list.csv").write_text(text)
    return load_images(folder / "list.csv", **options)


def test_paths_are_relative_to_the_table_and_empty_cells_mark_nothing(folder):
    text = "path,label,mask\npictures/b.png,1,\n./pictures/a.png,0,a_mask.png\n"
    found = load(folder, text)
    assert found.names == ("pictures/b.png", "pictures/a.png")
    assert found.labels.tolist() == [1, 0]
    assert found.masks.sum(dim=(1, 2)).tolist() == [0, 6]
    assert found.marked == [1]


def test_boxes_in_one_cell_or_in_rows_of_their_own(folder):
    one = load(folder, "path,box\npictures/a.png,0 0 2 2;4 4 6 6\npictures/b.png,\n")
    rows = load(
        folder, "file,x0,y0,x1,y1\npictures/a.png,0,0,2,2\npictures/a.png,4,4,6,6\n"
        "pictures/b.png,,,,\n",
    )  # fmt: skip
    assert one.masks.equal(rows.masks)
    assert one.masks.sum(dim=(1, 2)).tolist() == [8, 0]


def test_labels_by_name(folder):
    text = "path,label\npictures/a.png,dog\npictures/b.png,0\n"
    assert load(folder, text, class_names=("cat", "dog")).labels.tolist() == [1, 0]
    with pytest.raises(DataError, match=r"list\.csv, line 2: label 'dog' is no class index"):
        load(folder, text)
    with pytest.raises(DataError, match="line 3: label '0' is the name of class 1"):
        load(folder, text, class_names=("dog", "0"))


def test_files_that_are_not_there_are_named(folder):
    found = load(folder, "path\npictures/a.png\npictures/c.png\n")
    assert found.names == ("pictures/a.png",)
    assert found.skipped[0].startswith("pictures/c.png: ")
    assert "No such file" in found.skipped[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,label\na.png,1\n", "expected a first line with a column 'path'"),
        ("path\n", "lists no images"),
        ("path,label\npictures/a.png,0\npictures/a.png,1\n", "line 3: .* has two labels"),
        ("path,mask\npictures/a.png,a_mask.png\npictures/a.png,a_mask.png\n", "stands twice"),
        ("path,mask\npictures/a.png,no.png\n", "cannot read the mask"),
    ],
)
def test_bad_tables(folder, text, said):
    with pytest.raises(DataError, match=said):
        load(folder, text)


def test_options_of_folders(folder):
    with pytest.raises(OptionError, match="in columns mask or box"):
        load(folder, "path\npictures/a.png\n", masks=folder)
    with pytest.raises(OptionError, match="holds its own labels"):
        load(folder, "path\npictures/a.png\n", labels="sorted")
