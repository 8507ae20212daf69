"""Which images the search sees and which it never sees."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sycam.errors import DataError, OptionError

if TYPE_CHECKING:
    from sycam.data.image_set import ImageSet
    from sycam.data.source import ImageSource

Fit = Callable[["ImageSet"], Sequence[bool]]
"""Which images of a set may be drawn."""

AT_ONCE = 32  # images that are looked at together


def choose(
    image_set: ImageSet | ImageSource,
    count: int,
    seed: int,
    *,
    apart_from: ImageSet | None = None,
    purpose: str | None = None,
    fit: Fit | None = None,
    unfit: str = "",
) -> ImageSet:
    """Draw images at random, no image twice and none that another set holds.

    The order of drawing is that of ``sha256(seed, digest of the image)``, so it depends on the
    images' content only, not on their order or names. Images count as the same when their input
    values are equal bit for bit; a recompressed copy is another image.

    Args:
        image_set: N images.
        count: how many to draw.
        seed: any integer; 0 is a seed like any other.
        apart_from: images that must not be drawn.
        purpose: what they are for, in messages; e.g. ``"held out"``.
        fit: which images may be drawn; they are asked in the order of drawing, until there are
            enough.
        unfit: what those are that may not, in words.

    Returns:
        ``count`` images; ``skipped`` has a line with the number of repeated images left out, and
        one with that of the unfit ones.

    Raises:
        DataError: fewer distinct images than asked for.
        OptionError: ``count`` below 1.
    """
    wanted = f"{_images(count)} asked for" + (f" ({purpose})" if purpose else "")
    if count < 1:
        raise OptionError(f"{wanted}; at least 1 is needed")
    taken = set(apart_from.digests) if apart_from is not None else set()
    distinct, notes = _distinct(image_set, taken)
    chosen = sorted(distinct, key=lambda i: _draw(seed, image_set.digests[i]))
    if fit is not None:
        chosen, looked_at = _fitting(image_set, chosen, count, fit)
        if looked_at > len(chosen):
            notes.append(f"{looked_at - len(chosen)} of {_images(looked_at)} left out: {unfit}")
    if len(chosen) < count:
        tail = f" ({'; '.join(notes)})" if notes else ""
        raise DataError(
            f"{wanted}, but there are only {len(chosen)}{tail}; give more images or ask for fewer"
        )
    chosen = chosen[:count]
    return replace(image_set.subset(chosen), skipped=(*image_set.skipped, *notes))


def split(
    image_set: ImageSet | ImageSource,
    counts: Mapping[str, int],
    seed: int,
    fit: Fit | None = None,
    unfit: str = "",
) -> tuple[ImageSet, ImageSet]:
    """Divide images into those to search on and those held out; no image is in both.

    Args:
        image_set: N images.
        counts: ``{"search": n, "heldout": m}``.
        seed: any integer.
        fit, unfit: see :func:`choose`.

    Returns:
        The search set, the first n in the order of :func:`choose`, and the held-out set, the next
        m. Both carry the same lines in ``skipped``.

    Raises:
        DataError: fewer distinct images than n + m.
        OptionError: a count below 1.
    """
    searched, held_out = counts["search"], counts["heldout"]
    for name, count in (("search", searched), ("heldout", held_out)):
        if count < 1:
            raise OptionError(f"{name} images: {count} asked for; at least 1 is needed")
    purpose = f"{searched} to search on, {held_out} held out"
    both = choose(image_set, searched + held_out, seed, purpose=purpose, fit=fit, unfit=unfit)
    return both.subset(range(searched)), both.subset(range(searched, len(both)))


def _fitting(
    image_set: ImageSet | ImageSource, order: Sequence[int], count: int, fit: Fit
) -> tuple[list[int], int]:
    """The first ``count`` images that fit, and how many were looked at until then."""
    found: list[int] = []
    looked_at = 0
    for start in range(0, len(order), AT_ONCE):
        part = order[start : start + AT_ONCE]
        for i, fits in zip(part, fit(image_set.subset(part)), strict=True):
            looked_at += 1
            if fits:
                found.append(i)
            if len(found) == count:
                return found, looked_at
    return found, looked_at


def _distinct(image_set: ImageSet | ImageSource, taken: set[str]) -> tuple[list[int], list[str]]:
    """Indices of one image a content, without those taken; and what there is to say about it."""
    first: dict[str, int] = {}
    for i, digest in enumerate(image_set.digests):
        # Among equal images the choice must not hang on their order: the smallest label and name.
        if digest not in first or _rank(image_set, i) < _rank(image_set, first[digest]):
            first[digest] = i
    repeated = len(image_set) - len(first)
    left = [i for digest, i in first.items() if digest not in taken]
    shared = len(first) - len(left)
    notes = []
    if repeated:
        notes.append(f"{_images(repeated)} identical to another one left out")
    if shared:
        notes.append(f"{_images(shared)} that the other set holds left out")
    return left, notes


def _rank(image_set: ImageSet | ImageSource, i: int) -> tuple[int, str]:
    label = -1 if image_set.labels is None else int(image_set.labels[i])
    return label, image_set.names[i]


def _draw(seed: int, digest: str) -> str:
    return hashlib.sha256(f"{seed}:{digest}".encode()).hexdigest()


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
