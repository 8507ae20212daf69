"""Which images the search sees and which it never sees."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sycam.data.image_set import ImageSet
from sycam.data.near_copies import clusters, near, units
from sycam.data.source import ImageSource
from sycam.errors import DataError, OptionError

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
    values are equal bit for bit; near copies and groups are kept apart from another set's, too.

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
    if apart_from is not None:
        distinct = _apart(image_set, distinct, apart_from, notes)
    chosen = sorted(distinct, key=lambda i: _draw(seed, image_set.digests[i]))
    if fit is not None:
        fits = _Fits(image_set, fit)
        chosen = fits.first(chosen, count)
        if fits.unfit:
            notes.append(f"{fits.unfit} of {_images(len(fits.known))} left out: {unfit}")
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

    Images of one group are on one side, and so are near copies (see
    :mod:`sycam.data.near_copies`), but for those of which there are too many: a line says so. With
    groups each side gets groups in the ratio of the numbers asked for, then draws from them.

    Args:
        image_set: N images.
        counts: ``{"search": n, "heldout": m}``.
        seed: any integer.
        fit, unfit: see :func:`choose`.

    Returns:
        The search set, the first n in the order of :func:`choose`, and the held-out set, the next
        m that belong to none of them. Both carry the same lines in ``skipped``.

    Raises:
        DataError: fewer distinct images than n + m, or groups that cannot be divided so.
        OptionError: a count below 1.
    """
    searched, held_out = counts["search"], counts["heldout"]
    for name, count in (("search", searched), ("heldout", held_out)):
        if count < 1:
            raise OptionError(f"{name} images: {count} asked for; at least 1 is needed")
    distinct, notes = _distinct(image_set, set())
    order = sorted(distinct, key=lambda i: _draw(seed, image_set.digests[i]))
    groups = None if image_set.groups is None else [image_set.groups[i] for i in order]
    cluster = clusters(image_set.looks[order], groups)
    together = dict(zip(order, cluster.tolist(), strict=True))
    sizes = Counter(together.values())
    if groups is not None:
        notes.append(f"{_images(len(order))} of {len(set(groups))} groups: none is on both sides")
        sizes = Counter(clusters(image_set.looks[order]).tolist())
    if copies := sum(size for size in sizes.values() if size > 1):
        notes.append(
            f"{copies} images are near copies of another one (mirrored, encoded again, alike): "
            "those that belong together are kept on one side"
        )
    fits = _Fits(image_set, fit)
    first, second = [], []
    if groups is None:
        first = fits.first(order, searched)
        taken = {together[i] for i in first}
        second = fits.first([i for i in order if together[i] not in taken], held_out)
    if len(first) < searched or len(second) < held_out:
        kept = fits.first(order, len(order))
        first, second = _by_share(kept, together, searched, held_out)
        if len(first) < searched or len(second) < held_out:
            apart = dict(zip(order, units(len(order), groups).tolist(), strict=True))
            first, second, parted = _parted(kept, together, apart, searched, held_out)
            if parted:
                notes.append(
                    f"{parted} of them look alike in such numbers that they could not be kept on "
                    "one side; where they are copies, or frames of one video, ask for fewer "
                    "images, or name what belongs together by groups"
                )
    if unfits := fits.unfit:
        notes.append(f"{unfits} of {_images(len(fits.known))} left out: {unfit}")
    if len(first) < searched or len(second) < held_out:
        usable = sum(fits.known.values()) if fit else len(order)
        left = f"there are only {usable}"
        if usable >= searched + held_out:
            left = f"they divide into {len(first)} and {len(second)} at best"
        tail = f" ({'; '.join(notes)})" if notes else ""
        raise DataError(
            f"{_images(searched + held_out)} asked for ({searched} to search on, {held_out} held "
            f"out), but {left}{tail}; give more images or ask for fewer"
        )
    skipped = (*image_set.skipped, *notes)
    both = replace(image_set.subset([*first, *second]), skipped=skipped)
    return both.subset(range(searched)), both.subset(range(searched, len(both)))


def _members(order: Sequence[int], together: Mapping[int, int]) -> list[list[int]]:
    """The clusters, each with its images in their order."""
    members: dict[int, list[int]] = {}
    for i in order:
        members.setdefault(together[i], []).append(i)
    return list(members.values())


def _by_share(
    order: Sequence[int], together: Mapping[int, int], searched: int, held_out: int
) -> tuple[list[int], list[int]]:
    """Images to search on and held out, at most as many as asked for; what belongs together is on
    one side. Each side gets images of as many clusters as it can."""
    blocks = _members(order, together)
    # As drawn; where that leaves one side short, the largest first, which balances best.
    for tried in (blocks, sorted(blocks, key=len, reverse=True)):
        sides: tuple[list[int], list[int]] = ([], [])
        for block in tried:
            full = len(sides[0]) / searched > len(sides[1]) / held_out
            sides[full].extend(block)
        if len(sides[0]) >= searched and len(sides[1]) >= held_out:
            break
    place = {i: n for n, i in enumerate(order)}
    first, second = (sorted(side, key=place.__getitem__) for side in sides)
    return first[:searched], second[:held_out]


def _parted(
    order: Sequence[int],
    together: Mapping[int, int],
    apart: Mapping[int, int],
    searched: int,
    held_out: int,
) -> tuple[list[int], list[int], int]:
    """See :func:`_by_share`; where near copies leave a side short, the largest clusters of them
    are parted into their units (groups, else images), and the third is how many images that are.

    That many images look alike may be so because all images of a kind do, as parts on a conveyor
    belt: a hash does not decide that they cannot be searched on.
    """
    together, parted = dict(together), 0
    large = [m for m in _members(order, together) if len({apart[i] for i in m}) > 1]
    enough = len(order) >= searched + held_out
    for cluster in sorted(large, key=len, reverse=True) if enough else ():
        together |= {i: -1 - apart[i] for i in cluster}  # numbered apart from clusters
        parted += len(cluster)
        sides = _by_share(order, together, searched, held_out)
        if len(sides[0]) >= searched and len(sides[1]) >= held_out:
            return *sides, parted
    return *_by_share(order, apart, searched, held_out), 0


class _Fits:
    """Which images fit; none is asked twice.

    Attributes:
        known: whether those fit that were looked at.
    """

    def __init__(self, image_set: ImageSet | ImageSource, fit: Fit | None):
        self.image_set, self.fit = image_set, fit
        self.known: dict[int, bool] = {}

    @property
    def unfit(self) -> int:
        """How many that were looked at do not fit."""
        return len(self.known) - sum(self.known.values())

    def first(self, order: Sequence[int], count: int) -> list[int]:
        """The first ``count`` images that fit, as few as possible being looked at."""
        if self.fit is None:
            return list(order[:count])
        fitting: list[int] = []
        for start in range(0, len(order), AT_ONCE):
            part = order[start : start + AT_ONCE]
            asked = [i for i in part if i not in self.known]
            if asked:
                fits = self.fit(self.image_set.subset(asked))
                self.known.update(zip(asked, map(bool, fits), strict=True))
            fitting += [i for i in part if self.known[i]]
            if len(fitting) >= count:
                break
        return fitting[:count]


def once(image_set: ImageSet | ImageSource) -> ImageSet | ImageSource:
    """The set with one of each image, in its order; a line says how many are left out."""
    left, notes = _distinct(image_set, set())
    if not notes:
        return image_set
    if not isinstance(image_set, ImageSet):
        return image_set.only(sorted(left), notes[0])
    images = image_set.subset(sorted(left))
    return replace(images, skipped=(*images.skipped, *notes))


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


def _apart(
    image_set: ImageSet | ImageSource, left: list[int], other: ImageSet, notes: list[str]
) -> list[int]:
    """Those that are no near copy of another set's image, and of none of its groups."""
    if image_set.groups is not None and other.groups is not None:
        theirs = set(other.groups)
        kept = [i for i in left if image_set.groups[i] not in theirs]
        if len(kept) < len(left):
            notes.append(f"{_images(len(left) - len(kept))} of the other set's groups left out")
        left = kept
    if left and other.looks.shape[1:] == image_set.looks.shape[1:]:
        copies = near(image_set.looks[left], other.looks)
        if count := int(copies.sum()):
            notes.append(f"{_images(count)} nearly the same as one of the other set left out")
        left = [i for i, copy in zip(left, copies, strict=True) if not copy]
    return left


def _rank(image_set: ImageSet | ImageSource, i: int) -> tuple[int, str]:
    label = -1 if image_set.labels is None else int(image_set.labels[i])
    return label, image_set.names[i]


def _draw(seed: int, digest: str) -> str:
    return hashlib.sha256(f"{seed}:{digest}".encode()).hexdigest()


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
