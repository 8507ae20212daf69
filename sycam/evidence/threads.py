"""How many threads forward passes take on a CPU: fewer than allowed while that is faster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

import torch

PERIOD = 2.0  # seconds between two looks at whether cores are short
WAITING = 0.1  # share of its time that a thread waits for a core where they are short
FEWER, MORE = 1.25, 1.1  # how many times as fast they must be; on an idle machine all are used
RARELY = 30  # times what trying cost pass before it is tried again
RUNS, ENOUGH, LONG = 3, 0.2, 1.0  # passes of a measurement; seconds it takes, and may take
_TASKS = Path("/proc/self/task")


class Threads:
    """Finds by trying how many of torch's threads are fastest, at first and when that changes.

    Threads that share the work of one layer wait for the last of them. Where one has no core of
    its own, because other processes run or a container was granted fewer cores than it sees, all
    wait, several times a layer: passes are then faster on fewer threads.

    Args:
        say: is told, once, that there are fewer, and why.

    Attributes:
        most: what torch was set to; never exceeded.
    """

    def __init__(self, say: Callable[[str], None]):
        self.most = torch.get_num_threads()
        self._say: Callable[[str], None] | None = say
        self._rest()

    def adjust(self, work: Callable[[], object]) -> None:
        """Try other numbers where cores have become short, or where they were.

        Args:
            work: a typical piece; it is repeated, and what it returns is thrown away.
        """
        if self.most > 1 and time.monotonic() >= self._due:
            if self._short() or torch.get_num_threads() < self.most:
                self.settle(work)
            else:
                self._rest()

    def settle(self, work: Callable[[], object]) -> float:
        """Try fewer threads, then more, and stay with the fastest; seconds of the work on them."""
        short, started, before = self._short(), time.monotonic(), torch.get_num_threads()
        count, seconds = before, _seconds(before, work)
        while count > 1 and (found := _seconds(count // 2, work)) * FEWER < seconds:
            count, seconds = count // 2, found
        while count >= before and count < self.most:
            more = min(2 * count, self.most)
            if (found := _seconds(more, work)) * MORE >= seconds:
                break
            count, seconds = more, found
        torch.set_num_threads(count)
        self._rest(RARELY * (time.monotonic() - started))
        if count < self.most and self._say is not None:
            why = "other work keeps the cores busy" if short else "more do not help"
            self._say(f"forward passes run on {count} of {self.most} threads: {why}")
            self._say = None
        return seconds

    def _rest(self, seconds: float = 0.0) -> None:
        self._looked, self._waited = time.monotonic(), _waited()
        self._due = self._looked + max(PERIOD, seconds)

    def _short(self) -> bool:
        """Whether threads waited for cores since the last look; False where that is not known."""
        passed = (time.monotonic() - self._looked) * torch.get_num_threads()
        return _waited() - self._waited > WAITING * passed


_active: ContextVar[Threads | None] = ContextVar("threads", default=None)


@contextmanager
def sharing_cores(say: Callable[[str], None]) -> Iterator[None]:
    """Let forward passes find how many threads are fastest; afterwards torch has as many as before.

    Whatever else computes with torch meanwhile, in this thread, takes as many.

    Args:
        say: is told, once, that there are fewer, and why.
    """
    if _active.get() is not None:
        yield
        return
    threads = Threads(say)
    token = _active.set(threads)
    try:
        yield
    finally:
        _active.reset(token)
        torch.set_num_threads(threads.most)


def active_threads() -> Threads | None:
    """Of the block :func:`sharing_cores` that runs, if one does."""
    return _active.get()


def allowed_threads() -> int:
    """How many threads torch may take, however many it takes now."""
    threads = _active.get()
    return torch.get_num_threads() if threads is None else threads.most


def _seconds(count: int, work: Callable[[], object]) -> float:
    """Mean time of the work on so many threads, without a first run: it prepares."""
    torch.set_num_threads(count)
    work()
    started, runs, passed = time.monotonic(), 0, 0.0
    while (runs < RUNS or passed < ENOUGH) and passed < LONG:
        work()
        runs, passed = runs + 1, time.monotonic() - started
    return passed / runs


def _waited() -> float:
    """Seconds that this process's threads have waited for a core, in all; 0 but on Linux."""
    total = 0
    with suppress(OSError):
        for task in os.listdir(_TASKS):
            with suppress(OSError, ValueError, IndexError):  # the thread has ended
                total += int((_TASKS / task / "schedstat").read_text().split()[1])
    return total / 1e9
