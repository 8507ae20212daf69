"""How much faster several workers score, and what a task costs beside its scores.

    python benchmarks/workers.py [--networks demo resnet20] [--workers 1 2] [--batches 24]

Each worker is a process of one thread. Scored is road on 16 images at one level each, the first
stage of a race, in batches of eight formulas of which all are known beforehand, as those of the
enumeration are. The first batches, in which workers start and make the network, are not counted.
Beside the time that passes, in which other work on the machine counts, stand the seconds that the
driver and the workers computed: what a task costs is the driver's, and what workers compute beyond
what this process does for the same scores, on one thread, in the same parts.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path

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


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["demo", "resnet20"])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--warm", type=int, default=8)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    asked = make_parser().parse_args(arguments)
    metric = find_metric("road")
    block = cell_blocks(64, metric)[0]
    print(
        "| network | workers | seconds | as fast as the first | computed by driver | by workers |"
    )
    print("|---|---|---|---|---|---|")
    for network in asked.networks:
        images = images_for(network, block.stop)
        with one_thread():
            evidence, context = subject_of(network, images).measure(images)
            context.classifier.settle()
            batches = batches_of(asked.batches)
            parts = [slice(i, i + SHARD) for i in range(0, block.stop, SHARD)]
            scorers = [Scorer(metric, evidence.subset(p), context.subset(p)) for p in parts]
            rows = [
                seconds_of(scorer, block.which[part], batches, asked.warm)
                for scorer, part in zip(scorers, parts, strict=True)
            ]
            passed, alone, _ = map(sum, zip(*rows, strict=True))
            print(f"| {network} | this process | {passed:.2f} | | {alone:.2f} | |")
            first = None
            for count in asked.workers:
                pool = processes(count)()
                with tempfile.TemporaryDirectory() as folder:
                    team = Team(pool)
                    scorer = RemoteScoring(team, Path(folder)).scorer(metric, evidence, context)
                    seconds, own, others = seconds_of(
                        scorer, block.which, batches, asked.warm, lambda p=pool: [*p._processes]
                    )
                end(pool, 5.0)
                first = first or seconds
                tasks = (len(batches) - asked.warm) * len(parts)
                print(
                    f"| {network} | {count} | {seconds:.2f} | {first / seconds:.2f} "
                    f"| {own:.2f} ({own / tasks * 1e3:.1f} ms a task) | {others:.2f} |"
                )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
