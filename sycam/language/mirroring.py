"""Names of leaves that are measured on the images flipped left-right, for ``mirror``."""

from __future__ import annotations

from collections.abc import Iterable

_PREFIX = "mirrored "


def mirrored(name: str) -> str:
    """The name of a leaf of the flipped images."""
    return _PREFIX + name


def split_mirrored(names: Iterable[str]) -> tuple[set[str], set[str]]:
    """Leaves of the images, and those of the flipped images by their plain names.

    >>> split_mirrored(["score", mirrored("gradients")])
    ({'score'}, {'gradients'})
    """
    plain, flipped = set(), set()
    for name in names:
        (flipped if name.startswith(_PREFIX) else plain).add(name.removeprefix(_PREFIX))
    return plain, flipped
