"""Which published CAM images choose without a search, by one rule for whoever asks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from sycam.methods.method import RIVALS


class Standing(Protocol):
    """A method with its figures, in whatever form they are kept."""

    @property
    def name(self) -> str:
        """What ``sycam methods`` lists, with its layer."""

    @property
    def kind(self) -> str:
        """One of :data:`sycam.methods.KINDS`, or what a table calls it."""


Row = TypeVar("Row", bound=Standing)


def best_rival(rows: Iterable[Row], figure: Callable[[Row], float]) -> Row | None:
    """The published CAM or baseline with the highest figure; None where none of them is there.

    Args:
        rows: methods of any kind, in any order, which does not matter.
        figure: of a row, higher is better; one that is not defined is below all. Equal ones are
            taken by their names, the shortest first.
    """
    rivals = [row for row in rows if row.kind in RIVALS]
    return min(rivals, key=lambda row: (descending(figure(row)), *plainest(row.name)), default=None)


def plainest(name: str) -> tuple[int, str]:
    """A key to sort methods by that show the same: the shortest name first, so that a formula that
    two papers have goes by its plain name."""
    return len(name), name


def descending(figure: float) -> float:
    """A key to sort by, the highest figure first, one that is not defined last.

    >>> sorted([0.5, float("nan"), 0.7], key=descending)
    [0.7, 0.5, nan]
    """
    return -figure if figure == figure else math.inf
