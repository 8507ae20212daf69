"""How many workers pay: a simulation, by the run's own process and workers that are not there.

    python benchmarks/projection.py [--networks demo squeezenet] [--workers 1 8 64 512]
        [--images 64 1024] [--heldout-images 256] [--candidates 120]

The run's own process is real: it searches by ROAD over the demo's layers, races candidates,
proposes and compares as it always does. Workers are simulated, as in ``streaming.py``: a task takes
as many passes as it asks for, at the seconds that a pass of the named network was measured to take,
and this process what a task of ``workers.py`` was measured to cost it. Time is a clock that goes on
by what this process computes, and jumps to the next answer where it waits.

*Efficiency* is the time of one worker over that of n workers times n. *Busy* is the share of the
workers' time that they score; *own* the share of the time in which this process computes, which no
worker shortens.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from streaming import LEVELS, Simulated

import sycam
from sycam.problem.images import demo_images
from sycam.workers import team

# Seconds of one thread a pass, imputation included, and of this process a task (RESULTS.md).
PASS = {"demo": 0.00046, "resnet20": 0.00108, "squeezenet": 0.031}
TASK = 0.0011
MEASURING = 4.0  # passes that a forward and a backward one take, with what is read of them


class Clock:
    """Seconds since the first task: what this process computed, and what it waited."""

    def __init__(self) -> None:
        self.now = self.own = 0.0
        self._since: float | None = None

    def stop(self) -> None:
        """What this process has computed since the clock was started counts."""
        if self._since is not None:
            spent = time.perf_counter() - self._since
            self.now, self.own, self._since = self.now + spent, self.own + spent, None

    def start(self) -> None:
        self._since = time.perf_counter()


class Workers(Simulated):
    """An executor whose workers take their time by a clock.

    Args:
        count: how many.
        second: of a pass.
        clock: tells the time.
    """

    def __init__(self, count: int, second: float, clock: Clock) -> None:
        super().__init__()
        self._max_workers, self._second, self.clock = count, second, clock
        self._free, self._numbers = [0.0] * count, itertools.count()
        self._underway: list[tuple[float, int, Future, Any]] = []
        self.busy, self.tasks = 0.0, 0

    def submit(self, function: Callable[..., Any], order: Any, attached: dict) -> Future:
        """The answer, to be had when its worker is done with it."""
        clock = self.clock
        clock.stop()
        clock.now, clock.own = clock.now + TASK, clock.own + TASK
        answer = super().submit(function, order, attached).result()
        takes = self._passes(order) * self._second
        begins = max(clock.now, heapq.heappop(self._free))
        heapq.heappush(self._free, begins + takes)
        self.busy, self.tasks = self.busy + takes, self.tasks + 1
        future: Future = Future()
        event = begins + takes, next(self._numbers), future, answer
        heapq.heappush(self._underway, event)
        clock.start()
        return future

    def wait(self) -> None:
        """Go on to the next answer, and give it."""
        self.clock.stop()
        end, _, future, answer = heapq.heappop(self._underway)
        self.clock.now = max(self.clock.now, end)
        future.set_result(answer)
        self.clock.start()

    @staticmethod
    def _passes(order: Any) -> float:
        if not order.metrics:
            return MEASURING * len(order.shard.digests)
        levels = LEVELS if order.levels is None else order.levels.shape[1]
        return max(1, len(order.expressions)) * (order.stop - order.start) * levels


class Answers:
    """What stands for a team's queue of answers: to wait is to go on by the clock.

    Args:
        workers: who give them.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers, self._there = workers, []

    def put(self, news: tuple[int, Future]) -> None:
        self._there.append(news)

    def get(self, timeout: float) -> tuple[int, Future]:
        while not self._there:
            self._workers.wait()
        return self._there.pop(0)


def projected(network: str, count: int, images: int, asked: argparse.Namespace) -> Workers:
    """The workers of a search, after it."""
    clock = Clock()
    workers = Workers(count, PASS[network], clock)
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(team, "SimpleQueue", partial(Answers, workers)),
    ):
        sycam.synthesize(
            "demo", "auto", demo_images("search", images, 0), "road", budget=asked.candidates,
            search_images=images, heldout=demo_images("heldout", asked.heldout_images, 0),
            executor=workers, out=Path(folder) / "run", report=False, progress=False,
        )  # fmt: skip
    clock.stop()
    return workers


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(PASS), choices=list(PASS))
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 8, 64, 512])
    parser.add_argument("--images", nargs="+", type=int, default=[64, 1024])
    parser.add_argument("--heldout-images", type=int, default=256)
    parser.add_argument("--candidates", type=int, default=120)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    asked = make_parser().parse_args(arguments)
    print("| network | search images | workers | seconds | efficiency | busy | own | tasks |")
    print("|---|---|---|---|---|---|---|---|")
    for network, images in itertools.product(asked.networks, asked.images):
        first = None
        for count in asked.workers:
            found = projected(network, count, images, asked)
            seconds = found.clock.now
            first = first or seconds * asked.workers[0]
            print(
                f"| {network} | {images} | {count} | {seconds:,.1f} "
                f"| {first / seconds / count:.0%} | {found.busy / seconds / count:.0%} "
                f"| {found.clock.own / seconds:.0%} | {found.tasks:,} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
