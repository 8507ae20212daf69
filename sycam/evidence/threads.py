"""How many threads forward passes take on a CPU: fewer than allowed while that is faster."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

import torch

PERIOD = 2.0  # seconds between two looks at whether cores are short
WAITING = 0.1  # share of its time that a thread waits for a core where they are short
# How many times as fast another number must be: where cores are free all are taken, if it can be.
CLEAR, LARGE = 1.1, 1.25
SLOWER = 1.5  # times as long: still fewer threads are not tried
RARELY = 20  # times what trying cost pass before it is tried again
RUNS, ENOUGH, LONG = 3, 0.2, 1.0  # passes of a measurement; seconds it takes, and may take
T = TypeVar("T")
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

    def run(self, kind: Hashable, work: Callable[[], T]) -> T:
        """Do a piece of work; before it, where cores have become short or are free again, try.

        Args:
            kind: of the work: pieces of one kind take as long.
            work: is repeated where something is tried, and the last value returned.
        """
        if self.most == 1:
            return work()
        times = self._times[kind]
        started = time.monotonic()
        if times and started >= self._due:
            if self._short() or torch.get_num_threads() < self.most:
                self.settle(work, sum(times) / len(times))
            self._rest(RARELY * (time.monotonic() - started))
            started = time.monotonic()
        done = work()
        times.append(time.monotonic() - started)
        return done

    def settle(self, work: Callable[[], object], seconds: float | None = None) -> float:
        """Try fewer threads, then more, and stay with the fastest.

        Args:
            work: is repeated.
            seconds: what it takes on as many threads as now, if that is known.

        Returns:
            What it takes on those that are taken.
        """
        short, before = self._short(), torch.get_num_threads()
        if seconds is None:
            seconds = _seconds(before, work)
        count, seconds = self._fewer(work, before, seconds, short)
        while before <= count < self.most:
            more = min(2 * count, self.most)
            if (found := _seconds(more, work)) * CLEAR >= seconds:
                break
            count, seconds = more, found
        torch.set_num_threads(count)
        self._rest()
        if count < self.most and self._say is not None:
            why = "other work keeps the cores busy" if short else "more do not help"
            self._say(f"forward passes run on {count} of {self.most} threads: {why}")
            self._say = None
        return seconds

    @staticmethod
    def _fewer(
        work: Callable[[], object], count: int, seconds: float, short: bool
    ) -> tuple[int, float]:
        """The fastest of the count and its halves, down to where they become much slower."""
        gain, tried = CLEAR if short else LARGE, count
        while tried > 1:
            tried //= 2
            found = _seconds(tried, work)
            if found > SLOWER * seconds:
                break
            if found * gain < seconds and not short:  # nothing tells why: perhaps a hitch
                seconds = min(seconds, _seconds(count, work))
            if found * gain < seconds:
                count, seconds = tried, found
        return count, seconds

    def _rest(self, seconds: float = 0.0) -> None:
        self._looked, self._waited = time.monotonic(), _waited()
        self._due = self._looked + max(PERIOD, seconds)
        self._times: defaultdict[Hashable, list[float]] = defaultdict(list)

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
