"""How many images are searched on and how many are held out, where nobody says."""

from __future__ import annotations

from collections.abc import Iterator

from sycam.errors import OptionError
from sycam.support.arguments import argument

SEARCHED, HELD_OUT = 64, 256  # where there are so many
LEAST = 8  # on either side
_LESS = 0.9  # of the images, where they do not divide so


def shares(there: int, searched: int | None, held_out: int | None) -> Iterator[tuple[int, int]]:
    """Numbers of images to search on and to hold out, the most first.

    The first may not do: images that belong together, or that the network classifies wrongly, are
    known only once they are divided.

    Args:
        there: how many images there are.
        searched, held_out: what is asked for; None to take up to ``SEARCHED`` and ``HELD_OUT``, of
            fewer images half to search on.

    >>> list(shares(1000, None, None))[0], list(shares(100, None, None))[:2]
    ((64, 256), [(50, 50), (45, 45)])
    >>> list(shares(100, 64, None))[0], list(shares(1000, 48, 100))
    ((64, 36), [(48, 100)])
    """
    if searched is not None and held_out is not None:
        yield searched, held_out
        return
    yielded = None
    while True:
        search = searched or min(SEARCHED, there - held_out if held_out else there // 2)
        hold = held_out or min(HELD_OUT, there - search)
        if min(search, hold) < LEAST and yielded is not None:
            return
        if (search, hold) != yielded:
            # Of too few images the usual numbers are asked for, so that the error names them.
            few = min(search, hold) < LEAST
            yielded = (searched or SEARCHED, held_out or HELD_OUT) if few else (search, hold)
            yield yielded
            if few:
                return
        there = int(there * _LESS)


def check_counts(search_images: int | None, heldout: object) -> None:
    """OptionError where fewer than two images are wanted; images themselves are no number."""
    for name, number in (("search_images", search_images), ("heldout", heldout)):
        if isinstance(number, int) and number < 2:
            raise OptionError(f"{argument(name)} must be at least 2, got {number}")
