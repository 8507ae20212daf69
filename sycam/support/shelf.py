"""Arrays that are kept: the first in memory, what has no room there in files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from sycam.support.mapped_tensor import blank

IN_MEMORY = 1 << 22  # bytes of a shelf, or of one array, from which on they lie in files
AT_ONCE = 1 << 19  # numbers that are computed with together
_FILE = 1 << 24  # bytes
_ALIGNED = 64


class Shelf:
    """Keeps arrays, of which no more than so many bytes are in memory.

    What lies in files, as :func:`sycam.support.mapped_tensor.blank` makes them, the system reads
    when it is looked at.

    Args:
        room: bytes in memory; :data:`IN_MEMORY` if None.
    """

    def __init__(self, room: int | None = None):
        self._room = IN_MEMORY if room is None else room
        self._file = np.empty(0, np.uint8)
        self._used = 0

    def zeros(self, shape: Sequence[int]) -> np.ndarray:
        """Zeros ``[...]`` float64 to be written over."""
        made = self._place(math.prod(shape) * 8)
        values = made.view(np.float64).reshape(shape)
        values[...] = 0.0
        return values

    def put(self, values: np.ndarray) -> np.ndarray:
        """The same values, where they are kept."""
        if values.nbytes <= self._room:
            self._room -= values.nbytes
            return values
        kept = self._place(values.nbytes).view(values.dtype).reshape(values.shape)
        kept[...] = values
        return kept

    def _place(self, size: int) -> np.ndarray:
        """uint8 ``[size]``."""
        if size <= self._room:
            self._room -= size
            return np.empty(size, np.uint8)
        if self._used + size > len(self._file):
            self._file = blank((max(size, _FILE),), torch.uint8, most=0).numpy()
            self._used = 0
        place = self._file[self._used : self._used + size]
        self._used += -(-size // _ALIGNED) * _ALIGNED
        return place


def room_for(shape: Sequence[int], dtype: torch.dtype = torch.float64) -> np.ndarray:
    """An array to be filled: in memory, or where it is large in a file."""
    return blank(shape, dtype, most=IN_MEMORY).numpy()


def stacked(arrays: Iterable[np.ndarray], count: int) -> np.ndarray:
    """What :func:`numpy.stack` makes of so many float64 arrays, which are taken one at a time; in
    memory, or where it is large in a file."""
    made: np.ndarray | None = None
    for place, one in enumerate(arrays):
        if made is None:
            made = room_for((count, *one.shape))
        made[place] = one
    return np.empty((0, 0)) if made is None else made


def blocks(count: int, each: int) -> list[slice]:
    """``count`` things of so many numbers each in consecutive parts of at most :data:`AT_ONCE`
    numbers: all in one where there is room."""
    step = max(1, AT_ONCE // max(1, each))
    return [slice(start, min(count, start + step)) for start in range(0, count, step)]
