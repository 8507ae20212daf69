"""A folder per class: how subfolders become the network's classes, and when they do not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sycam.data.images import load_images, open_images
from sycam.data.readers.class_folders import labels_of_folders
from sycam.errors import DataError, OptionError

NAMES = ("tabby cat", "Border_Collie", "ox")


def labels(names, way, **known):
    return labels_of_folders([f"{name}/a.png" for name in names], way, **known)


def test_names_are_matched_as_files_may_spell_them():
    found = labels(["border collie", "TABBY-CAT", "ox", "ox"], "names", class_names=NAMES)
    assert found.labels == [1, 0, 2, 2]


def test_names_that_differ_in_case_alone_are_told_apart_by_it():
    known = ["cat", "Cardigan", "cardigan"]
    said = labels_of_folders(["Cardigan/a.png", "cardigan/b.png", "CAT/c.png"], "names", known)
    assert said.labels == [1, 2, 0]
    with pytest.raises(DataError, match="called as no class of the network: CARDIGAN"):
        labels_of_folders(["CARDIGAN/a.png"], "names", known)


def test_sorted_order_is_that_of_image_folder(torchvision, tmp_path):
    for i, name in enumerate(["b", "C", "a", "10", "9"]):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(tmp_path / name / f"{i}.png")
    theirs = torchvision.datasets.ImageFolder(tmp_path)
    by_file = {path.rpartition("/")[2]: label for path, label in theirs.samples}
    ours = load_images(tmp_path, labels="sorted")
    assert ours.class_names == tuple(theirs.classes)
    assert {n.rpartition("/")[2]: int(c) for n, c in zip(ours.names, ours.labels, strict=True)} == (
        by_file
    )


def test_sorted_order_of_other_classes_is_refused():
    with pytest.raises(DataError, match=r"there are 2 folders .* the network has 3 classes"):
        labels(["a", "b"], "sorted", classes=3)


def test_numbers():
    assert labels(["2", "0"], "numbers", classes=3).labels == [2, 0]
    with pytest.raises(DataError, match=r"no number of a class \(0 to 2\): 3"):
        labels(["3", "0"], "numbers", classes=3)


def test_auto_takes_names_that_all_fit_and_says_what_it_did():
    taken = labels(["ox", "tabby_cat"], "auto", class_names=NAMES)
    assert taken.labels == [2, 0]
    assert "labels from the names of 2 folders" in taken.note
    other = labels(["ox", "cow"], "auto", class_names=NAMES)
    assert other.labels is None
    assert "'cow' is no class of the network" in other.note
    unknown = labels(["ox", "cow"], "auto")
    assert unknown.labels is None
    assert "--labels sorted" in unknown.note
    assert labels(["ox"], "auto", class_names=NAMES).note == ""


@pytest.mark.parametrize(
    ("way", "known", "error", "said"),
    [
        ("names", {}, DataError, "class_names, or labels='sorted'"),
        ("names", {"class_names": NAMES}, DataError, "folders are called as no class"),
        ("alphabetical", {}, OptionError, "expected auto, names, sorted, numbers, none"),
    ],
)
def test_what_cannot_be_matched(way, known, error, said):
    with pytest.raises(error, match=said):
        labels(["oxx", "cow"], way, **known)


def test_images_outside_of_any_folder(tmp_path):
    for name in ("a/1.png", "2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / name)
    with pytest.raises(DataError, match=r"1 of 2 images lie in no folder of a class: 2\.png"):
        open_images(tmp_path, labels="sorted")
    (tmp_path / "labels.csv").write_text("file,label\n1.png,ox\n2.png,1\n")
    found = load_images(tmp_path, class_names=NAMES)
    assert dict(zip(found.names, found.labels.tolist(), strict=True)) == {"a/1.png": 2, "2.png": 1}
    with pytest.raises(DataError, match=r"label 'ox' is no class index"):
        load_images(tmp_path)
