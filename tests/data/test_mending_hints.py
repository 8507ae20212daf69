"""Class names that two classes share, and images in another form: what mends them is told."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

from sycam.data.image_set import ImageSet
from sycam.data.readers.class_folders import labels_of_folders
from sycam.data.tables import label_of
from sycam.errors import DataError
from sycam.evidence.leaves.information import mutual_information
from sycam.methods import CAM
from sycam.networks import NamedNetwork

NAMES = ("crane", "dog", "crane")


def test_class_names_may_come_twice_and_are_told_apart_by_number():
    known = NamedNetwork(nn.Flatten(), "net", "net", classes=3).with_class_names(NAMES)
    assert known.class_names == NAMES
    assert label_of("dog", NAMES, "line 2") == 1
    assert label_of("2", NAMES, "line 2") == 2
    with pytest.raises(DataError, match="the name of 2 classes, 0 and 2; give the class's number"):
        label_of("crane", NAMES, "line 2")
    for names in (["dog/a.png", "crane/b.png"], ["crane/b.png"]):
        with pytest.raises(DataError, match=r"2 classes of the network, 0 and 2.*labels='numbers'"):
            labels_of_folders(names, "names", NAMES)
    auto = labels_of_folders(["dog/a.png", "crane/b.png"], "auto", NAMES)
    assert auto.labels is None
    assert "several classes" in auto.note


@pytest.mark.parametrize(
    ("shape", "mend", "form"),
    [
        ((8, 9, 3), "images.permute(2, 0, 1)[None]", (1, 3, 8, 9)),
        ((3, 8, 9), "images[None]", (1, 3, 8, 9)),
        ((5, 7, 70), "images[:, :, None]", (5, 7, 1, 70)),
        ((8, 9), "images[None, None]", (1, 1, 8, 9)),
    ],
)
def test_another_form_comes_with_what_mends_it(shape, mend, form):
    mended = {
        "images.permute(2, 0, 1)[None]": lambda t: t.permute(2, 0, 1)[None],
        "images[None]": lambda t: t[None],
        "images[:, :, None]": lambda t: t[:, :, None],
        "images[None, None]": lambda t: t[None, None],
    }
    assert mended[mend](torch.rand(shape)).shape == form
    with pytest.raises(DataError, match=re.escape(mend)):
        CAM(nn.Sequential(nn.Conv2d(3, 2, 3)), "0", "grad-cam")(torch.rand(shape))
    with pytest.raises(DataError, match=re.escape(mend)):
        ImageSet.from_arrays(torch.rand(shape).numpy())


def test_numpy_images_are_told_how_to_become_a_tensor():
    with pytest.raises(DataError, match=r"got ndarray; take torch.from_numpy\(images\)"):
        CAM(nn.Sequential(nn.Conv2d(3, 2, 3)), "0", "grad-cam")(np.zeros((1, 3, 8, 8)))


def test_mutual_information_does_not_depend_on_rounding_at_the_edges_of_bins():
    """Values in steps of 1/32, as the bins are: float32 and float64 fall into the same."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 33, (1, 16, 16), generator=generator).double() / 32
    maps = torch.randint(0, 33, (6, 16, 16), generator=generator).double() / 32
    scaled, shifted = (image * 0.3 + 0.7), (maps * 0.1 + 1.3)
    exact = mutual_information(image, maps)
    assert torch.allclose(mutual_information(scaled, shifted), exact, atol=1e-12)
    single = mutual_information(scaled.float(), shifted.float())
    assert torch.allclose(single.double(), exact, atol=1e-6)
