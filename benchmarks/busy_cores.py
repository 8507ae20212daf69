"""Scoring beside other work on the same cores: with all threads, and with as many as are fastest.

    python benchmarks/busy_cores.py [--metric road] [--seconds 20] [--rounds 3]

The demo's candidates are scored under ROAD (or another metric), eight at a time, alone and beside
one process that does nothing but keep a core busy: on all of torch's threads, as a library does
that is not told otherwise, on one, and in a block of ``sharing_cores``, as a search runs. Medians
of rounds in turn. The first try of each number of threads is in the figures.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from subjects import images_for, subject_of

from sycam.grammar import load_grammar
from sycam.inference import sharing_cores
from sycam.language import Expression
from sycam.metrics import RANKING, find_metric
from sycam.scoring.scorer import Scorer
from sycam.search.enumeration.enumerator import Enumerator

TOGETHER = 8


@contextmanager
def busy_core() -> Iterator[None]:
    """A process beside this one."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pace(scorer: Scorer, expressions: list[Expression], seconds: float) -> float:
    """Candidates a second."""
    started, done = time.perf_counter(), 0
    for start in itertools.count(0, TOGETHER):
        at = start % (len(expressions) - TOGETHER)
        scorer.score(expressions[at : at + TOGETHER])
        done += TOGETHER
        if (passed := time.perf_counter() - started) > seconds:
            return done / passed


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--metric", default="road")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--candidates", type=int, default=200, help="scored over and over")
    parser.add_argument("--eager", action="store_true", help="do not compile the network")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    images = images_for("demo", options.images)
    evidence, context = subject_of("demo", images).measure(images)
    leaves = dict(evidence.leaves.items())
    stream = Enumerator(load_grammar("gradient"), leaves, RANKING, context.size).candidates(4)
    formulas = (item for item in stream if isinstance(item, Expression))
    expressions = list(itertools.islice(formulas, options.candidates))
    scorer = Scorer(find_metric(options.metric), evidence, context)
    scorer.score(expressions[:1])
    if not options.eager:
        scorer.prepare(100_000)
    most = torch.get_num_threads()
    ways = {
        f"all {most} threads": nullcontext,
        "one thread": lambda: threads(1),
        "as many as are fastest": lambda: sharing_cores(lambda _text: None),
    }
    found = defaultdict(list)
    for _ in range(options.rounds):
        for load, beside in (("alone", nullcontext), ("beside a busy process", busy_core)):
            for name, way in ways.items():
                with beside(), way():
                    found[load, name].append(pace(scorer, expressions, options.seconds))
    print(f"torch {torch.__version__}, {most} threads, {scorer.context.classifier.form} demo, "
          f"{options.metric} on {options.images} images")  # fmt: skip
    for (load, name), paces in found.items():
        each = " ".join(f"{p:.1f}" for p in paces)
        print(f"{load:22}{name:24}{statistics.median(paces):6.1f} candidates/s  ({each})")


if __name__ == "__main__":
    main()
