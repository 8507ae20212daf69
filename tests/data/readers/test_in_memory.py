"""Pictures in memory: read as files are, with a note of what was assumed."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image

import sycam
from sycam.data.preprocessing import Preprocessing
from sycam.data.readers.in_memory import open_pictures
from sycam.errors import DataError, SycamError
from sycam.networks import NamedNetwork
from sycam.problem.images import read_images

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 8, 3), np.uint8)
EXPECTED = (
    torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN)[:, None, None]
) / (torch.tensor(STD)[:, None, None])
FORMS = {
    "array, channels last": PIXELS,
    "array, channels first": PIXELS.transpose(0, 3, 1, 2),
    "tensor, channels last": torch.from_numpy(PIXELS),
    "tensor, channels first": torch.from_numpy(PIXELS).permute(0, 3, 1, 2),
    "PIL images": [Image.fromarray(one) for one in PIXELS],
    "arrays": list(PIXELS),
    "tensors, channels first": list(torch.from_numpy(PIXELS).permute(0, 3, 1, 2)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_pictures_is_the_same_input(form):
    labels, masks = [0, 1, 2, 0, 1, 2], PIXELS[..., 0] > 100
    images = open_pictures(FORMS[form], labels, masks, list("aabbcc"), mean=MEAN, std=STD)
    whole = images.whole()
    torch.testing.assert_close(whole.images, EXPECTED)
    assert whole.labels.tolist() == labels
    assert np.array_equal(whole.masks, masks)
    assert whole.groups == tuple("aabbcc")
    assert np.array_equal(whole.picture(2), PIXELS[2])
    assert "0 to 255" in whole.notes[0]


def test_pictures_are_read_as_a_file_of_the_same_pixels_is(tmp_path):
    np.savez(tmp_path / "same.npz", images=PIXELS)
    how = {"size": 6, "resize": 7, "mean": MEAN, "std": STD}
    of_file = sycam.open_images(tmp_path / "same.npz", **how)
    assert open_pictures(PIXELS, **how).digests == of_file.digests
    grey = open_pictures(PIXELS[..., 0], mean=[0.5], std=[0.5])
    assert grey.shape == (1, 9, 8)


def test_pictures_of_several_sizes_are_cut_to_one():
    pictures = [Image.fromarray(one[: 9 - i]) for i, one in enumerate(PIXELS)]
    images = open_pictures(pictures, range(6), size=4).whole()
    assert images.images.shape == (6, 3, 4, 4)
    assert images.labels.tolist() == list(range(6))
    with pytest.raises(DataError, match="differ in size"):
        open_pictures(pictures).whole()
    with pytest.raises(DataError, match="masks are given beside pictures of 6 sizes"):
        open_pictures(pictures, masks=np.zeros((6, 9, 8)), size=4)


def test_the_networks_own_preprocessing_is_applied_and_told():
    own = Preprocessing(mean=MEAN, std=STD)
    network = NamedNetwork(torch.nn.Flatten(), "net", "net", preprocessing=own)
    images = read_images(PIXELS, network=network)
    torch.testing.assert_close(images.whole().images, EXPECTED)
    assert "the network's own preprocessing" in images.whole().notes[0]
    unknown = read_images(PIXELS)
    torch.testing.assert_close(
        unknown.whole().images[0], torch.from_numpy(PIXELS[0]).permute(2, 0, 1) / 255
    )
    assert "sycam.open_pictures(..., mean=..., std=...) sets it" in unknown.whole().notes[0]


def test_float_images_with_channels_last_are_turned_and_told():
    images = torch.rand(4, 9, 8, 3)
    for given in (images, images.numpy(), list(images)):
        turned = read_images(given)
        assert torch.equal(turned.images, images.permute(0, 3, 1, 2))
        assert "taken as [N, H, W, C]" in turned.notes[0]
    as_they_are = torch.rand(4, 3, 8, 3)
    assert torch.equal(read_images(as_they_are).images, as_they_are)


@pytest.mark.parametrize(
    ("pictures", "said"),
    [
        (np.zeros((4, 3, 8, 3), np.uint8), "channels first or last; give them as float"),
        (np.zeros((4, 8, 9, 4), np.uint8), "leave transparency out: pictures[..., :3]"),
        (np.zeros((4, 8, 9, 5), np.uint8), "neither grey nor RGB; expected uint8"),
        (np.zeros((8, 9, 3), np.uint8), "images.permute(2, 0, 1)[None]"),
        (np.zeros((0, 8, 9, 3), np.uint8), "expected uint8"),
        (np.zeros((4, 8, 9, 3)), "pictures are float64 [4, 8, 9, 3]; expected uint8"),
        ([Image.new("F", (4, 4))], "picture[0]: floating-point pixels have no fixed range"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)], "some pictures are grey"),
        (["a.png"], "pictures are a list of str; expected uint8"),
        ([], "a list of empty"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(pictures, said):
    with pytest.raises(DataError, match=re.escape(said)):
        open_pictures(pictures)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"labels": [0, 1]}, "expected integers [6]"),
        ({"labels": [-1] * 6}, "labels count from 0 on"),
        ({"masks": np.zeros((6, 3, 3))}, "expected [6, 9, 8]"),
        ({"groups": ["a"]}, "groups are one per image"),
        ({"mean": [0.1, 0.2]}, "mean has 2 numbers"),
        ({"sizes": 4}, "did you mean 'size'"),
    ],
)
def test_what_does_not_fit_the_pictures_is_refused(more, said):
    with pytest.raises(SycamError, match=re.escape(said)):
        open_pictures(PIXELS, **more)


def test_lists_of_several_shapes_are_refused():
    with pytest.raises(DataError, match="differ in shape"):
        read_images([torch.zeros(3, 4, 4), torch.zeros(3, 5, 4)])


def test_a_table_of_pictures_comes_from_python():
    table = sycam.evaluate(
        "demo", "features.8", [Image.fromarray(one) for one in PIXELS],
        ["grad-cam"], ["complexity"], progress=False,
    )  # fmt: skip
    assert table.images == 6


@pytest.mark.parametrize("sizes", [(8, 8), (8, 12)])
def test_pil_images_of_sixteen_bits_keep_what_they_tell_and_a_note_says_how(sizes):
    """Of one size and of several, as RGB, and beside one of eight bits."""
    deep = [Image.fromarray(np.full((n, n), 1000 + n, np.uint16)) for n in sizes]
    found = open_pictures([*deep, Image.new("L", (8, 8), 51)], size=8)
    images = found.whole().images
    assert images.shape == (3, 3, 8, 8)
    for image, n in zip(images, sizes, strict=False):
        assert torch.allclose(image, torch.full((3, 8, 8), (1000 + n) / 65535), atol=1e-7)
    assert torch.allclose(images[2], torch.tensor(0.2))
    assert "2 of sixteen-bit grey: 0 to 65535 to 0..1" in found.notes[0]
