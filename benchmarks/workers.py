"""How much faster several workers score, and what a task costs beside its scores.

    python benchmarks/workers.py [--networks demo resnet20] [--workers 1 2] [--batches 24]
        [--rounds 3]

Each worker is a process of one thread. Scored is road on 16 images at one level each, the first
stage of a race, in batches of eight formulas of which all are known beforehand, as those of the
enumeration are. The first batches, in which workers start and make the network, are not counted.
Beside the time that passes, in which other work on the machine counts, stand the seconds that the
driver and the workers computed: what a task costs is the driver's, and what workers compute beyond
what one process does for the same scores, on one thread, in the same parts.

*Apart* is what the machine itself allows: so many processes, each of which scores all batches and
knows nothing of the others, and how much more they score together than one alone. Cores that share
caches, or are half of a core, give less than their number. Everything is done in turn, ``--rounds``
times; medians.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from statistics import median

import torch
from subjects import images_for, subject_of

from sycam.language import Expression, parse
from sycam.metrics import find_metric
from sycam.scoring.blocks import cell_blocks
from sycam.scoring.scorer import Scorer
from sycam.workers.pools import end, processes
from sycam.workers.remote_scorer import SHARD, RemoteScoring
from sycam.workers.team import Team
from sycam.workers.worker import one_thread

TOGETHER = 8


def batches_of(count: int) -> list[list[Expression]]:
    """So many batches of distinct formulas."""
    outer, inner = ("mean", "max", "std"), ("G", "relu(G)", "A * G", "abs(G)")
    texts = [
        f"{constant} * {f}({a}) + {g}({b})"
        for constant in (0.3, 0.7, 1.9, 2.3, 3.1, 4.7)
        for f, a, g, b in product(outer, inner, outer, inner)
    ]
    step = max(1, len(texts) // (count * TOGETHER))
    formulas = [parse(text) for text in texts[::step][: count * TOGETHER]]
    return [formulas[i : i + TOGETHER] for i in range(0, len(formulas), TOGETHER)]


def computing(pids: Sequence[int]) -> float:
    """Seconds of processors that processes have taken; 0 but on Linux."""
    taken = 0.0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            taken += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return taken


def seconds_of(
    scorer: Scorer,
    which: object,
    batches: list[list[Expression]],
    warm: int,
    pids: Callable[[], Sequence[int]] = lambda: [],
) -> tuple[float, float, float]:
    """Of scoring all batches but the first: passed, computed by this process, and by others."""
    started = 0.0, 0.0, 0.0
    for place, batch in enumerate(batches):
        if place == warm:
            started = time.monotonic(), time.process_time(), computing(pids())
        scorer.foresee(batches[place:], which)
        scorer.score(batch, which)
    ended = time.monotonic(), time.process_time(), computing(pids())
    return ended[0] - started[0], ended[1] - started[1], ended[2] - started[2]


class Work:
    """The scores of a network's batches on the first stage of a race."""

    def __init__(self, network: str, batches: int, warm: int) -> None:
        self.metric = find_metric("road")
        self.block = cell_blocks(64, self.metric)[0]
        images = images_for(network, self.block.stop)
        self.evidence, self.context = subject_of(network, images).measure(images)
        self.context.classifier.settle()
        self.batches, self.warm = batches_of(batches), warm
        self.parts = [slice(i, i + SHARD) for i in range(0, self.block.stop, SHARD)]

    @property
    def tasks(self) -> int:
        """Those that are counted."""
        return (len(self.batches) - self.warm) * len(self.parts)

    def here(self) -> tuple[float, float, float]:
        """Seconds of this process, as :func:`seconds_of` has them."""
        rows = []
        for part in self.parts:
            scorer = Scorer(self.metric, self.evidence.subset(part), self.context.subset(part))
            rows.append(seconds_of(scorer, self.block.which[part], self.batches, self.warm))
        return tuple(map(sum, zip(*rows, strict=True)))

    def by_workers(self, count: int) -> tuple[float, float, float]:
        """Seconds of so many workers and their driver."""
        pool = processes(count)()
        with tempfile.TemporaryDirectory() as folder:
            scoring = RemoteScoring(Team(pool), Path(folder))
            scorer = scoring.scorer(self.metric, self.evidence, self.context)
            found = seconds_of(
                scorer, self.block.which, self.batches, self.warm, lambda: [*pool._processes]
            )
        end(pool, 5.0)
        return found


def apart(count: int, network: str, asked: argparse.Namespace) -> float:
    """Seconds in which so many processes, side by side, do all the work each; their mean."""
    command = [sys.executable, __file__, "--networks", network, "--apart"]
    command += ["--batches", str(asked.batches), "--warm", str(asked.warm)]
    pipe = subprocess.PIPE
    those = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(count)]
    for one in those:
        one.stdout.readline()  # it is ready
    for one in those:
        one.stdin.write("go\n")
        one.stdin.flush()
    return sum(float(one.communicate()[0]) for one in those) / count


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["demo", "resnet20"])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--warm", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--apart", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    asked = make_parser().parse_args(arguments)
    if asked.apart:
        with one_thread():
            work = Work(asked.networks[0], asked.batches, asked.warm)
            print("ready", flush=True)
            sys.stdin.readline()
            print(work.here()[0])
        return
    print(
        "| network | workers | seconds | as fast as the first | apart | of it "
        "| computed by driver | by workers |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for network in asked.networks:
        with one_thread():
            work = Work(network, asked.batches, asked.warm)
            rows = [
                [(*work.by_workers(count), apart(count, network, asked)) for count in asked.workers]
                for _ in range(asked.rounds)
            ]
        columns = [
            [median(row[i][k] for row in rows) for k in range(4)] for i in range(len(asked.workers))
        ]
        for i, count in enumerate(asked.workers):
            seconds, own, others, _ = columns[i]
            faster = median(row[0][0] / row[i][0] for row in rows)
            allowed = median((count * row[0][3]) / (asked.workers[0] * row[i][3]) for row in rows)
            print(
                f"| {network} | {count} | {seconds:.2f} | {faster:.2f} | {allowed:.2f} "
                f"| {faster / allowed:.0%} | {own:.2f} ({own / work.tasks * 1e3:.1f} ms a task) "
                f"| {others:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
