"""The images of a run: read in any form, divided, and those left out that a metric cannot use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from sycam.data import demo
from sycam.data.images import ImageSet, choose, load_images, split
from sycam.errors import DataError, OptionError

DEMO = "demo"
Images = Tensor | np.ndarray | ImageSet | str | Path


def read_images(
    images: Images,
    labels: Tensor | Sequence[int] | None = None,
    masks: Tensor | np.ndarray | None = None,
    **reading,
) -> ImageSet:
    """Any form of images as an :class:`~sycam.data.images.ImageSet`.

    Args:
        images: a tensor or array in the network's input scale, an ``ImageSet``, a folder or
            ``.npz`` file.
        labels, masks: for tensors and arrays.
        reading: options of :func:`sycam.data.images.load_images`.
    """
    if isinstance(images, ImageSet):
        return images
    if isinstance(images, str | Path):
        return load_images(images, **reading)
    return ImageSet.from_arrays(images, labels, masks)


def demo_images(split_name: str, count: int, seed: int) -> ImageSet:
    """The embedded scenes of one split, ready for the demo network."""
    scenes = demo.scenes(split_name, count, seed=seed)
    images = demo.normalise(scenes.images).contiguous()
    names = [f"{split_name}[{i}]" for i in range(count)]
    made = ImageSet.from_arrays(images, scenes.labels, scenes.masks, names, demo.MEAN, demo.STD)
    return replace(made, origin={"source": DEMO})


def divide(
    images: ImageSet | str,
    heldout: int | ImageSet,
    search_images: int,
    seed: int,
    needs_masks: bool,
) -> tuple[ImageSet, ImageSet]:
    """The images to search on and those held out; no image is in both.

    Raises:
        DataError: fewer images than asked for, or none with masks where the metric needs them.
    """
    for name, number in (("search_images", search_images), ("heldout", heldout)):
        if isinstance(number, int) and number < 2:
            raise OptionError(f"{name} must be at least 2, got {number}")
    if isinstance(images, str):
        if images != DEMO:
            raise DataError(f"images {images!r} are not known")
        images = demo_images("search", search_images, seed)
        if isinstance(heldout, int):
            return images, demo_images("heldout", heldout, seed)
    images = with_masks(images, needs_masks)
    if isinstance(heldout, int):
        return split(images, {"search": search_images, "heldout": heldout}, seed)
    heldout = with_masks(heldout, needs_masks)
    if heldout.images.shape[1:] != images.images.shape[1:]:
        raise DataError(
            f"held-out images are {tuple(heldout.images.shape[1:])}, search images "
            f"{tuple(images.images.shape[1:])}; they must have one size (--size)"
        )
    return choose(images, search_images, seed, apart_from=heldout, purpose="to search on"), heldout


def with_masks(images: ImageSet, needed: bool) -> ImageSet:
    """Without the images whose mask is empty, where the metric needs masks."""
    if not needed:
        return images
    if images.masks is None:
        raise DataError(
            "the metric needs ground-truth masks, but the images have none; give --masks, --boxes "
            "or an .npz file with 'masks'"
        )
    filled = images.masks.flatten(1).any(1)
    if bool(filled.all()):
        return images
    kept = filled.nonzero().flatten().tolist()
    if not kept:
        raise DataError("the metric needs ground-truth masks, but all masks are empty")
    note = f"{len(images) - len(kept)} images with an empty mask left out"
    found = images.subset(kept)
    return replace(found, skipped=(*found.skipped, note))
