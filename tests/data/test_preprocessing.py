"""Preprocessing against torchvision's own transforms, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sycam.data.images import load_files
from sycam.data.preprocessing import Preprocessing
from sycam.errors import OptionError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("size", [(300, 200), (197, 341), (64, 64), (256, 700)])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (232, 224), (64, 64), (235, 224)])
def test_pixels_are_those_of_torchvisions_transforms(
    torchvision, tmp_path, size, mode, resize, crop
):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    picture.save(tmp_path / "a.png")
    transforms = torchvision.transforms._presets.ImageClassification(
        crop_size=crop,
        resize_size=resize,
        interpolation=torchvision.transforms.InterpolationMode(mode),
    )
    expected = transforms(picture)
    found = load_files(
        [tmp_path / "a.png"], Preprocessing(crop, resize, MEAN, STD, mode, 3)
    ).images[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(3000, 20), (20, 3000)])
def test_of_a_very_long_picture_only_the_middle_is_resampled(shape):
    """The whole would be 38,400×256; its middle is the same but for rounding."""
    smooth = np.linspace(0, 4 * np.pi, max(shape))
    values = np.repeat((127 + 100 * np.sin(smooth)).astype(np.uint8)[None], 20, axis=0)
    picture = Image.fromarray(np.ascontiguousarray(values if shape[0] > 20 else values.T))
    reading = Preprocessing(size=224, resize=256, interpolation="bilinear")
    found = np.asarray(reading.geometry(*shape).picture(picture, reading.filter)).astype(int)
    whole = picture.resize(tuple(side * 256 // 20 for side in shape), Image.Resampling.BILINEAR)
    left, top = (round((side - 224) / 2) for side in whole.size)
    expected = np.asarray(whole.crop((left, top, left + 224, top + 224))).astype(int)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("shape", [(300, 200), (197, 341)])
def test_masks_go_with_the_pixels(shape):
    """Each pixel of the mask is that of a picture resized without smoothing."""
    reading = Preprocessing(size=224, resize=256, interpolation="nearest")
    values = np.random.default_rng(1).integers(0, 256, (shape[1], shape[0]), dtype=np.uint8)
    geometry = reading.geometry(*shape)
    by_picture = np.asarray(geometry.picture(Image.fromarray(values), reading.filter))
    assert (geometry.mask(values) == by_picture).mean() > 0.999


def test_what_is_given_takes_the_place_of_the_networks_own():
    own = Preprocessing(224, 256, MEAN, STD, "bilinear", 3)
    assert own.but(size=160) == Preprocessing(160, None, MEAN, STD, "bilinear", 3)
    assert own.but(resize=300, mean=[0.5]) == Preprocessing(224, 300, (0.5,), STD, "bilinear", 3)
    assert own.but() == own
    assert Preprocessing(**own.to_dict()) == own
    assert "short side to 256 (bilinear), centre crop 224" in str(own)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": 224, "resize": 200}, "resize is 200, size"),
        ({"resize": 200}, "expected a size"),
        ({"interpolation": "cubic"}, "interpolation 'cubic' is not known"),
    ],
)
def test_values_out_of_range(options, said):
    with pytest.raises(OptionError, match=said):
        Preprocessing(**options)


def test_a_grey_picture_for_a_network_of_colours(tmp_path):
    Image.fromarray(np.full((5, 5), 51, np.uint8)).save(tmp_path / "a.png")
    found = load_files(
        [tmp_path / "a.png"], Preprocessing(mean=(0.2, 0.2, 0.0), std=(1.0, 1.0, 1.0), channels=3)
    ).images
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor([0.0, 0.0, 0.2]))
