"""The images of a run: read in any form, divided, and those left out that cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from sycam.data import demo
from sycam.data.images import (
    ImageSet,
    ImageSource,
    choose,
    open_dataset,
    open_images,
    split,
)
from sycam.data.names import DEMO
from sycam.data.preprocessing import Preprocessing
from sycam.data.readers.class_folders import check_classes
from sycam.data.readers.in_memory import are_pictures, channels_first, open_pictures, stacked
from sycam.data.splits import AT_ONCE, Fit, once
from sycam.errors import DataError, OptionError
from sycam.events import Note, Notify, Stage, Step, ignore
from sycam.evidence import read_outputs
from sycam.networks import NamedNetwork
from sycam.networks.output_forms import AUTO
from sycam.networks.readings import PROBES
from sycam.problem.correctness import classified_correctly
from sycam.problem.shares import HELD_OUT, LEAST, SEARCHED, check_counts, shares
from sycam.support.arguments import argument

Images = Tensor | np.ndarray | Sequence | ImageSet | ImageSource | Dataset | DataLoader | str | Path
Labels = Tensor | Sequence[int]
Masks = Tensor | np.ndarray

WRONG = "the network classifies them wrongly"


def read_images(
    images: Images,
    labels: Labels | None = None,
    masks: Masks | None = None,
    network: NamedNetwork | None = None,
    notify: Notify = ignore,
    groups: str | Sequence[object] | None = None,
) -> ImageSet | ImageSource:
    """Any form of images; what lies in files is read when it is wanted.

    Args:
        images: a tensor or array in the network's input scale, pictures in memory (see
            :func:`sycam.data.readers.in_memory.open_pictures`), an ``ImageSet``, a ``Dataset`` or
            ``DataLoader`` (see :func:`sycam.data.readers.datasets.open_dataset`), a folder, a
            ``.csv`` table or an ``.npz`` file.
        labels, masks: for tensors and arrays.
        network: whose own preprocessing is applied to files and pictures, and whose class names
            folders and tables may use.
        notify: see :func:`open_source`.
        groups: what each image belongs to (a patient, a video): a sequence beside tensors, data
            sets and loaders, in their order; else a column of the table, an array of the ``.npz``.

    Raises:
        DataError: no images, or the classes of their labels are not the network's.
    """
    opened = _read(images, labels, masks, network, notify, groups)
    if network is not None:
        check_classes(opened.class_names, network.classes, network.class_names)
    return opened


def staying(images: ImageSet | ImageSource) -> ImageSet | ImageSource:
    """The images; those that lie elsewhere stay there, where workers read what they score."""
    return images.staying() if isinstance(images, ImageSource) else images


def _noted(pictures: ImageSource, own: Preprocessing | None) -> ImageSource:
    """Pictures in memory with whose preprocessing it is."""
    whose = "the network's own preprocessing"
    if own is None:
        whose = (
            "no preprocessing is known of the network; sycam.open_pictures(..., mean=..., std=...) "
            "sets it"
        )
    pictures.notes = tuple(f"{note} ({whose})" for note in pictures.notes)
    return pictures


def check_groups_of_scenes(groups: object) -> None:
    """OptionError where groups are given beside the embedded scenes."""
    if groups is not None:
        raise OptionError(f"the embedded scenes have no groups, got {groups!r}")


def _read(
    images: Images,
    labels: Labels | None,
    masks: Masks | None,
    network: NamedNetwork | None,
    notify: Notify,
    groups: str | Sequence[object] | None,
) -> ImageSet | ImageSource:
    if are_pictures(images):
        own = None if network is None else network.preprocessing
        opened = open_pictures(images, labels, masks, groups, own or Preprocessing())
        return _noted(opened, own)
    images = stacked(images)
    if isinstance(images, Tensor | np.ndarray):
        images, turned = channels_first(images)
        made = ImageSet.from_arrays(images, labels, masks, groups=groups)
        return replace(made, notes=(turned,)) if turned else made
    if labels is not None or masks is not None:
        raise OptionError(
            f"labels and masks are given beside tensors; {type(images).__name__} has its own"
        )
    if isinstance(images, ImageSet | ImageSource):
        if groups is not None:
            raise OptionError(
                f"groups are given beside tensors, data sets and files; {type(images).__name__} "
                "has its own: ImageSet.from_arrays(..., groups=...)"
            )
        return images
    if isinstance(images, Dataset | DataLoader):
        preprocessing = None if network is None else network.preprocessing
        return open_dataset(images, preprocessing, groups)
    if isinstance(images, str | Path):
        if groups is not None and not isinstance(groups, str):
            raise OptionError(
                f"groups of {images} are the name of a column of a .csv table or of an array of "
                f"an .npz file, got {type(groups).__name__}"
            )
        return open_source(images, network, notify, groups=groups)
    return ImageSet.from_arrays(images)  # type: ignore[arg-type]  # it says what it expects


def open_source(
    source: str | Path,
    network: NamedNetwork | None = None,
    notify: Notify = ignore,
    **reading: Any,
) -> ImageSource:
    """Images in files, read as the network expects them.

    Args:
        source: a folder, a ``.csv`` table or an ``.npz`` file.
        network: see :func:`read_images`.
        notify: is told which preprocessing is applied, and the progress.
        reading: options of :func:`sycam.data.images.open_images`, in place of the network's own.
    """
    known = {}
    if network is not None:
        known = {"class_names": network.class_names, "classes": network.classes}
    scale, said = _scale(network, reading)
    opened = open_images(source, **known | reading | scale, progress=_progress(notify))
    if network is not None:
        notify(Note(f"{source}: {said}"))
    return opened


def _scale(network: NamedNetwork | None, reading: dict) -> tuple[dict, str]:
    """Preprocessing as options of ``open_images``, and in words."""
    names = ("size", "resize", "mean", "std", "interpolation", "window")
    given = {name: reading[name] for name in names if reading.get(name) is not None}
    own = network.preprocessing if network is not None else None
    applied = (own or Preprocessing()).but(**given)
    if own is not None and given:
        whose = f"{', '.join(given)} as given, else the network's own"
    elif own is not None:
        whose = "the network's own preprocessing"
    elif given:
        whose = "as given"
    else:
        asked = f"{argument('size')}, {argument('mean')} and {argument('std')}"
        whose = f"no preprocessing is known of the network; {asked} set it"
    return applied.to_dict(), f"{applied} ({whose})"


def _progress(notify: Notify) -> Callable[[int, int], None]:
    begun = False

    def progress(done: int, count: int) -> None:
        nonlocal begun
        if not begun:
            begun = True
            notify(Stage("Looking at the images", count))
        notify(Step(done))

    return progress


MOST_SCENES = 20_000  # one has 12 kB of pixels, and is drawn


def demo_images(split_name: str, count: int, seed: int) -> ImageSet:
    """The embedded scenes of one split, ready for the demo network."""
    scenes = demo.scenes(split_name, count, seed=seed)
    images = demo.normalise(scenes.images).contiguous()
    names = [f"{split_name}[{i}]" for i in range(count)]
    made = ImageSet.from_arrays(images, scenes.labels, scenes.masks, names, demo.MEAN, demo.STD)
    return replace(made, origin={"source": DEMO})


def divide(
    images: ImageSet | ImageSource | str,
    heldout: int | ImageSet | ImageSource | None,
    search_images: int | None,
    seed: int,
    needs_masks: bool,
    only: nn.Module | None = None,
    output: str = AUTO,
) -> tuple[ImageSet, ImageSet]:
    """The images to search on and those held out; no image is in both.

    Args:
        heldout: images, or how many; None as for :func:`sycam.problem.shares.shares`.
        search_images: how many; None as there.
        only: a network; images that it classifies wrongly are left out.
        output: what its outputs are, see :func:`sycam.synthesize`.

    Raises:
        DataError: fewer images than asked for, none with masks where the metric needs them, or
            no labels where only images that are classified correctly are wanted.
    """
    check_counts(search_images, heldout)
    fit = None if only is None else _correct(only, output)
    if isinstance(images, str):
        if images != DEMO:
            raise DataError(f"images {images!r} are not known")
        search_images = SEARCHED if search_images is None else search_images
        heldout = HELD_OUT if heldout is None else heldout
        for name, number in (("search_images", search_images), ("heldout", heldout)):
            if isinstance(number, int) and number > MOST_SCENES:
                raise OptionError(
                    f"{argument(name)} is {number}; of the embedded scenes at most {MOST_SCENES} "
                    "are made"
                )
        count = search_images if only is None else 2 * search_images + AT_ONCE
        images = choose_demo("search", count, search_images, seed, fit)
        if isinstance(heldout, int):
            count = heldout if only is None else 2 * heldout + AT_ONCE
            return images, choose_demo("heldout", count, heldout, seed, fit)
    images = with_masks(images, needs_masks)
    if heldout is None or isinstance(heldout, int):
        return _split(images, search_images, heldout, seed, fit)
    heldout = with_masks(heldout, needs_masks)
    if heldout.shape != images.shape:
        raise DataError(
            f"held-out images are {heldout.shape}, search images {images.shape}; they must have "
            f"one size ({argument('size')})"
        )
    if (images.groups is None) != (heldout.groups is None):
        which = "search" if images.groups is None else "held-out"
        raise DataError(
            f"the {which} images have no groups, the others have: whether a group is on both "
            "sides cannot be told; give groups of both (a column of both tables), or of neither"
        )
    heldout = whole(heldout, fit)
    wanted = min(SEARCHED, len(images)) if search_images is None else search_images
    searched = choose(
        images, wanted, seed, apart_from=heldout, purpose="to search on", fit=fit,
        unfit=WRONG,
    )  # fmt: skip
    return searched, heldout


def _split(
    images: ImageSet | ImageSource,
    search_images: int | None,
    heldout: int | None,
    seed: int,
    fit: Fit | None,
) -> tuple[ImageSet, ImageSet]:
    """The images divided into the numbers asked for, or as many as there are."""
    if search_images is None and heldout is None and 4 <= len(images) < 2 * LEAST:
        half = len(images) // 2
        some = f"{argument('search_images', half)} and {argument('heldout', len(images) - half)}"
        raise DataError(
            f"there are only {len(images)} images; at least {LEAST} to search on and {LEAST} held "
            f"out are taken unless you say how many; give more images, or {some}"
        )
    refusal = DataError("there are no images")
    for searched, held_out in shares(len(images), search_images, heldout):
        counts = {"search": searched, "heldout": held_out}
        try:
            both = split(images, counts, seed, fit=fit, unfit=WRONG)
        except DataError as error:
            refusal = error
            continue
        usual = search_images or SEARCHED, heldout or HELD_OUT
        if (searched, held_out) == usual:
            return both
        note = f"of {len(images)} images {searched} are searched on and {held_out} held out"
        one, other = (replace(side, notes=(*side.notes, note)) for side in both)
        return one, other
    raise refusal


def choose_demo(split_name: str, made: int, count: int, seed: int, fit: Fit | None) -> ImageSet:
    """Embedded scenes: the first ``count``, of those that fit where not all may be taken."""
    scenes = demo_images(split_name, made, seed)
    if fit is None:
        return scenes
    kept = whole(scenes, fit)
    if len(kept) < count:
        raise DataError(f"only {len(kept)} of {made} embedded scenes are classified correctly")
    return kept.subset(range(count))


def whole(images: ImageSet | ImageSource, fit: Fit | None = None) -> ImageSet:
    """All images, or all that fit; of equal ones one."""
    if fit is None and isinstance(images, ImageSource):
        images = images.whole()  # in one pass
    images = once(images)
    if isinstance(images, ImageSet) and fit is None:
        return images
    kept = []
    for start in range(0, len(images), AT_ONCE):
        part = range(start, min(start + AT_ONCE, len(images)))
        kept += [i for i, fits in zip(part, fit(images.subset(part)), strict=True) if fits]
    if not kept:
        raise DataError(f"all {len(images)} images are left out: {WRONG}")
    note = f"{len(images) - len(kept)} of {len(images)} images left out: {WRONG}"
    if len(kept) == len(images):
        return images.subset(kept) if isinstance(images, ImageSource) else images
    return without(images, kept, note)


def sample(
    images: ImageSet | ImageSource,
    count: int | None,
    seed: int,
    only: nn.Module | None = None,
    output: str = AUTO,
) -> ImageSet:
    """All images, or ``count`` drawn at random; ``only`` and ``output`` as for :func:`divide`."""
    fit = None if only is None else _correct(only, output)
    if count is None:
        return whole(images, fit)
    return choose(images, count, seed, purpose="to evaluate on", fit=fit, unfit=WRONG)


def _correct(network: nn.Module, output: str) -> Fit:
    reading = None

    def fit(images: ImageSet) -> list[bool]:
        if images.labels is None:
            noted = f". Of these images: {'; '.join(images.notes)}" if images.notes else ""
            raise DataError(
                "which images the network classifies correctly is not known without labels; give "
                f"labels.csv, a folder per class ({argument('labels')}), a column or an array "
                f"'labels', or leave {argument('correct_only')} out{noted}"
            )
        nonlocal reading
        if reading is None:
            reading, _ = read_outputs(network, images.images[:PROBES], output)
        return classified_correctly(network, images.images, images.labels, reading)

    return fit


def without(images: ImageSet | ImageSource, kept: Sequence[int], note: str) -> ImageSet:
    """The images at these indices; a line says what was left out."""
    if isinstance(images, ImageSource):
        return images.only(kept, note).whole()
    left = images.subset(kept)
    return replace(left, skipped=(*left.skipped, note))


def with_masks(images: ImageSet | ImageSource, needed: bool) -> ImageSet | ImageSource:
    """Without the images whose mask is empty, where the metric needs masks."""
    if not needed:
        return images
    marked = images.marked
    if marked is None:
        raise DataError(
            "the metric needs ground-truth masks, but the images have none; give "
            f"{argument('masks')}, {argument('boxes')}, a table with a column mask or box, or an "
            ".npz file with 'masks'"
        )
    if len(marked) == len(images):
        return images
    if not marked:
        raise DataError("the metric needs ground-truth masks, but all masks are empty")
    note = f"{len(images) - len(marked)} images with an empty mask left out"
    if isinstance(images, ImageSource):
        return images.only(marked, note)
    return without(images, marked, note)
