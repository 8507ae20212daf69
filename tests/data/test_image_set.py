"""ImageSet: what it accepts, refuses, and gives back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sycam.data.images import ImageSet
from sycam.errors import DataError, OptionError


def noise(count: int = 4, channels: int = 3) -> torch.Tensor:
    return torch.rand(count, channels, 6, 5, generator=torch.Generator().manual_seed(0))


def test_from_arrays_takes_tensors_and_arrays_alike():
    images = noise()
    masks = torch.zeros(4, 6, 5, dtype=torch.bool)
    one = ImageSet.from_arrays(images, labels=[0, 1, 2, 3], masks=masks)
    two = ImageSet.from_arrays(
        images.double().numpy(), labels=np.arange(4, dtype=np.uint8), masks=masks.numpy() * 255
    )
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.labels, two.labels)
    assert torch.equal(one.masks, two.masks)
    assert two.labels.dtype == torch.int64
    assert one.digests == two.digests
    assert len(one) == 4


def test_foreign_arrays_are_taken_without_a_warning(recwarn):
    images = noise().numpy()
    images.flags.writeable = False
    flipped = images[:, :, ::-1].astype(">f4")[:, :, ::-1]
    assert torch.equal(ImageSet.from_arrays(flipped).images, ImageSet.from_arrays(images).images)
    assert not recwarn.list


def test_images_leave_their_graph():
    image_set = ImageSet.from_arrays(noise().requires_grad_() * 2)
    assert not image_set.images.requires_grad


def test_digests_follow_content():
    images = noise()
    images[3] = images[0]
    digests = ImageSet.from_arrays(images).digests
    assert digests[3] == digests[0]
    assert len(set(digests)) == 3
    assert all(len(digest) == 64 for digest in digests)
    channels_last = images.to(memory_format=torch.channels_last)
    assert ImageSet.from_arrays(channels_last).digests == digests


def test_subset_keeps_rows_together():
    image_set = ImageSet.from_arrays(noise(), labels=[5, 6, 7, 8], names=list("abcd"))
    part = image_set.subset([3, 1])
    assert part.names == ("d", "b")
    assert part.labels.tolist() == [8, 6]
    assert part.masks is None
    assert part.digests == (image_set.digests[3], image_set.digests[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_picture_undoes_mean_and_std(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 5, channels), dtype=np.uint8)
    mean, std = (0.485, 0.456, 0.406)[:channels], (0.229, 0.224, 0.225)[:channels]
    images = (torch.from_numpy(pixels).float() / 255 - torch.tensor(mean)) / torch.tensor(std)
    image_set = ImageSet.from_arrays(images.permute(0, 3, 1, 2), mean=mean, std=std)
    assert np.array_equal(image_set.picture(1), np.broadcast_to(pixels[1], (6, 5, 3)))


def test_picture_of_values_outside_the_unit_range_uses_their_range():
    images = torch.tensor([-2.0, -0.75, 0.5, 1.75, 3.0]).reshape(1, 1, 1, 5)
    assert ImageSet.from_arrays(images).picture(0)[0, :, 0].tolist() == [0, 64, 128, 191, 255]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": torch.zeros(2, 3, 4, 4, dtype=torch.uint8)}, r"uint8 .*divide by 255"),
        ({"images": torch.zeros(3, 4, 4)}, r"\[3, 4, 4\].*\[N, C, H, W\]"),
        ({"images": torch.zeros(0, 3, 4, 4)}, "no image"),
        ({"images": [[0.0], [0.0, 1.0]]}, "images are no array"),
        ({"images": torch.full((2, 3, 4, 4), torch.nan)}, "2 of 2 images hold NaN"),
        ({"images": torch.full((1, 3, 4, 4), torch.inf)}, "infinite values, the first at index 0"),
        ({"labels": [0.5, 1, 2, 3]}, r"labels are torch.float32 \[4\]; expected whole numbers"),
        ({"labels": [0, 1, 2]}, r"labels are torch.int64 \[3\]; expected whole numbers \[4\]"),
        ({"labels": [0, -1, 2, 3]}, "labels hold -1"),
        ({"labels": ["cat", "dog", "cat", "dog"]}, "labels are no array of numbers"),
        ({"masks": torch.zeros(4, 5, 6)}, r"masks are \[4, 5, 6\]; expected \[4, 6, 5\]"),
        ({"masks": torch.full((4, 6, 5), torch.nan)}, "masks hold NaN"),
        ({"names": ["a"]}, "1 names for 4 images"),
    ],
)
def test_bad_arrays_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        ImageSet.from_arrays(**{"images": noise(), **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"std": [0.0]}, "std is 0; expected numbers above 0"),
        ({"std": [1.0, -1.0, 1.0]}, "expected numbers above 0"),
        ({"mean": [0.1, 0.2]}, "mean has 2 numbers, the images 3 channels; expected 1 or 3"),
        ({"mean": [float("nan")]}, "expected finite numbers"),
    ],
)
def test_bad_scale_is_refused(arguments, message):
    with pytest.raises(OptionError, match=message):
        ImageSet.from_arrays(noise(), **arguments)
