"""What becomes of memory that this process frees: kept for the next batch, or given back."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt in malloc.h
KEPT = 2**31 - 1  # bytes at the end of the heap that stay, the most that can be said
NOT_MAPPED = 2**25  # bytes of a block that comes from the heap, the most that glibc takes
USUAL = 2**17  # bytes of both, as glibc begins with
_TUNED = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")

# By process: one that was forked has settings of its own.
_told: dict[int, bool] = {}  # whether malloc was told to keep memory
_giving_back: list[int] = []  # one each context that is entered


def keep_freed_memory() -> bool:
    """Let this process keep memory that it freed, where the C library is glibc.

    By default large blocks go back to the system when they are freed, and each page of the next
    batch's activations is asked for again: a fifth of the time of scoring on a CPU, two fifths
    where the network is not compiled. What is freed stays for later allocations, up to 2 GiB more
    than is in use at the time, in each of malloc's arenas. Whoever tunes malloc by the environment
    is left alone, and so is a process within :func:`giving_back`.

    Returns:
        Whether it was said.
    """
    here = os.getpid()
    if here in _giving_back:
        return False
    if here not in _told:
        _told[here] = _tell(NOT_MAPPED, KEPT)
    return _told[here]


@contextmanager
def giving_back() -> Iterator[None]:
    """Within this context what is freed goes back to the system: for a process that others compute
    for, and whose memory is not to grow with the images."""
    here = os.getpid()
    _giving_back.append(here)
    _tell(USUAL, USUAL)  # glibc raises them by itself wherever a large block is freed
    try:
        yield
    finally:
        _giving_back.remove(here)
        if _told.get(here) and here not in _giving_back:
            _tell(NOT_MAPPED, KEPT)


def _tell(mapped: int, trimmed: int) -> bool:
    """From how many bytes on a block is mapped, and the end of the heap given back."""
    if any(name in os.environ for name in _TUNED):
        return False
    try:
        mallopt: Callable[[int, int], int] = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, another system
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, mapped) and mallopt(M_TRIM_THRESHOLD, trimmed))
