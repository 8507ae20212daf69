"""Pictures whose EXIF is broken keep their pixels; checkpoints that are TorchScript are told so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sycam.data.images import load_images
from sycam.data.pictures import read_mask, read_picture
from sycam.errors import NetworkError
from sycam.networks.sources.checkpoint import read_weights


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_pictures_and_masks_keep_their_pixels(tmp_path, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    file = tmp_path / f"a.{kind}"
    Image.fromarray(pixels).save(file, exif=b"Exif\0\0 no tiff at all", lossless=True)
    assert np.array_equal(np.asarray(read_picture(file, 3)), pixels)
    assert np.array_equal(read_mask(file), (pixels != 0).any(2))


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_a_folder_goes_on_after_a_broken_picture_or_mask(tmp_path, kind):
    """Such a picture was dropped as no TIFF file, and such a mask stopped the folder."""
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[2:5, 3:6] = 200
    broken = {"exif": b"Exif\0\0 no tiff at all", "lossless": True}
    for folder, suffix in (("pictures", kind), ("masks", "png")):
        (tmp_path / folder).mkdir()
        for name, options in (("a", broken), ("b", {"lossless": True})):
            Image.fromarray(pixels).save(tmp_path / folder / f"{name}.{suffix}", **options)
    images = load_images(tmp_path / "pictures", masks=tmp_path / "masks")
    assert images.skipped == ()
    assert len(images) == 2
    assert torch.equal(images.images[0], images.images[1])
    assert images.masks.sum((1, 2)).tolist() == [9, 9]


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_file_as_checkpoint(tmp_path):
    file = tmp_path / "net.pt"
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.rand(1, 2)), file)
    with pytest.raises(NetworkError, match=r"is a TorchScript archive; save the weights") as caught:
        read_weights(file)
    assert "weights_only" not in str(caught.value)
    torch.save(torch.jit.load(file).state_dict(), tmp_path / "weights.pt")
    assert set(read_weights(tmp_path / "weights.pt")) == {"weight", "bias"}
