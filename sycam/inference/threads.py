"""How many threads torch takes on a CPU: fewer than allowed while that is faster."""

from __future__ import annotations

import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

import torch

PERIOD = 2.0  # seconds between two looks at whether cores are short
WAITING = 0.1  # share of its time that a thread waits for a core where they are short
# How many times as fast fewer threads, or more, must be; much, where nothing tells why they are.
CLEAR, LARGE = 1.1, 1.25
SLOWER = 1.5  # times as long: fewer still, or more still, are not tried
RARELY = 20  # times what trying cost pass before it is tried again
RECENT = 8  # pieces of work that tell what one takes now
RUNS, ENOUGH = 3, 0.2  # pieces of a measurement at least, and seconds
LONG = 1.0  # seconds after which a measurement ends
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
        self._rest(PERIOD)

    def run(self, kind: Hashable, work: Callable[[], T]) -> T:
        """Do a piece of work; before it, where cores have become short or are free again, try.

        Args:
            kind: of the work: pieces of one kind take as long. Only the kind that takes most of
                the time is tried.
            work: is repeated where something is tried, and the last value returned.
        """
        if self.most == 1:
            return work()
        times = self._times[kind]
        started = time.monotonic()
        if times and started >= self._due:
            if sum(times) >= max(map(sum, self._times.values())):
                self._look(work, sum(times) / len(times))
            elif started > self._due + PERIOD:  # what took most of the time is over
                self._rest(PERIOD)
            started = time.monotonic()
        done = work()
        self._times[kind].append(time.monotonic() - started)
        return done

    def _look(self, work: Callable[[], object], seconds: float) -> None:
        short = self._short()
        if short or torch.get_num_threads() < self.most:
            self.settle(work, seconds, short)
        else:
            self._rest(PERIOD)

    def settle(
        self, work: Callable[[], object], seconds: float | None = None, short: bool | None = None
    ) -> float:
        """Try fewer threads, or else more, and stay with the fastest.

        Args:
            work: is repeated.
            seconds: what it takes on as many threads as now; measured if None.
            short: whether cores are; found out if None.

        Returns:
            What it takes on those that are taken.
        """
        started, before = time.monotonic(), torch.get_num_threads()
        short = self._short() if short is None else short
        count = before
        try:
            if seconds is None:
                seconds = _seconds(before, work)
            fewer = [before >> k for k in range(1, before.bit_length())]
            count, seconds = _fastest(work, before, seconds, fewer, CLEAR if short else LARGE)
            if count == before:
                more = [min(before << k, self.most) for k in range(1, self.most.bit_length() + 1)]
                more = [n for n in dict.fromkeys(more) if n > before]
                count, seconds = _fastest(work, before, seconds, more, CLEAR)
        finally:  # an error may be a lack of memory, after which smaller batches go on
            torch.set_num_threads(count)
            self._rest(max(PERIOD, RARELY * (time.monotonic() - started)))
        if count < self.most and self._say is not None:
            why = "other work keeps the cores busy" if short else "more do not help"
            self._say(f"torch computes on {count} of {self.most} threads: {why}")
            self._say = None
        return seconds

    def _rest(self, seconds: float) -> None:
        self._looked, self._waited = time.monotonic(), _waits()
        self._due = self._looked + seconds
        self._times: dict[Hashable, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))

    def _short(self) -> bool:
        """Whether threads waited for cores since the last look; False where that is not known."""
        passed = (time.monotonic() - self._looked) * torch.get_num_threads()
        waited = sum(w - self._waited.get(problem, 0.0) for problem, w in _waits().items())
        return waited > WAITING * passed


_active: ContextVar[Threads | None] = ContextVar("threads", default=None)


@contextmanager
def sharing_cores(say: Callable[[str], None]) -> Iterator[None]:
    """Let forward passes, and what else goes through :func:`on_fastest_threads`, find how many
    threads are fastest; afterwards torch has as many as before.

    Whatever computes with torch meanwhile takes as many. One block at a time is meant: of two
    in different threads of Python, the later one takes what the earlier left for all there is.

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


def on_fastest_threads(kind: Hashable, work: Callable[[], T]) -> T:
    """Do a piece of work of a CPU, in a block :func:`sharing_cores` on as many threads as are
    fastest; see :meth:`Threads.run`."""
    threads = _active.get()
    return work() if threads is None else threads.run(kind, work)


def active_threads() -> Threads | None:
    """Of the block :func:`sharing_cores` that runs, if one does."""
    return _active.get()


def allowed_threads() -> int:
    """How many threads torch may take, however many it takes now."""
    threads = _active.get()
    return torch.get_num_threads() if threads is None else threads.most


def _fastest(
    work: Callable[[], object], count: int, seconds: float, others: Iterable[int], gain: float
) -> tuple[int, float]:
    """The fastest number of threads, and what the work takes on them.

    Args:
        count, seconds: known so far.
        others: to try in turn, as long as they are not much slower.
        gain: how many times as fast another must be.
    """
    doubtful = gain == LARGE
    for other in others:
        taken = _seconds(other, work)
        if taken * gain < seconds and doubtful:  # it may have been a hitch
            seconds = min(seconds, _seconds(count, work))
        if taken * gain < seconds:
            count, seconds = other, taken
        elif taken > SLOWER * seconds or (taken > LONG and doubtful):
            break
    return count, seconds


def _seconds(count: int, work: Callable[[], object]) -> float:
    """Mean time of the work on so many threads. A first run prepares; it counts if it is long."""
    torch.set_num_threads(count)
    started = time.monotonic()
    work()
    first = time.monotonic() - started
    if first > LONG:
        return first
    started, runs, passed = time.monotonic(), 0, 0.0
    while (runs < RUNS or passed < ENOUGH) and passed < LONG:
        work()
        runs, passed = runs + 1, time.monotonic() - started
    return passed / runs


def _waits() -> dict[str, float]:
    """Seconds that each of this process's threads has waited for a core; empty but on Linux."""
    waits = {}
    with suppress(OSError):
        for problem in os.listdir(_TASKS):
            with suppress(OSError, ValueError, IndexError):  # the thread has ended
                waits[problem] = int((_TASKS / problem / "schedstat").read_text().split()[1]) / 1e9
    return waits
