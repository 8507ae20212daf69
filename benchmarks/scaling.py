"""Time and memory of scoring over two decades of candidates and of images.

    python benchmarks/scaling.py [--metric deletion] [--candidates 8 80 800] [--images 8 80 800]

Each row is a process of its own, which is given distinct candidates of the demo as text, so that
enumerating them is not in its peak, and scores them, eight at a time.
Seconds are those of scoring; memory is the peak of the whole process beyond what it took with
everything measured and nothing scored, and what scoring all of it once more adds to that peak. A
candidate and image should cost the same in every row. More candidates meet more formulas, the
largest of which set the peak; but nothing may be kept of each: a second time adds nothing. With
images memory grows by what is kept of each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch

DECADES = (8, 25, 80, 250, 800)
TOGETHER = 8


def distinct(candidates: int) -> list[str]:
    """So many expressions that differ in meaning on the demo, in order of cost."""
    from subjects import images_for, subject_of

    from sycam.grammar import load_grammar
    from sycam.language import Expression
    from sycam.metrics import RANKING
    from sycam.search.enumeration.enumerator import Enumerator

    images = images_for("demo", 3)
    evidence, context = subject_of("demo", images).measure(images)
    leaves = dict(evidence.leaves.items())
    stream = Enumerator(load_grammar("gradient"), leaves, RANKING, context.size).candidates(9)
    found = list(islice((str(e) for e in stream if isinstance(e, Expression)), candidates))
    assert len(found) == candidates
    return found


def peak() -> float:
    """Most memory of this process so far, MiB. (What getrusage says begins with the parent's.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def row(metric: str, texts: list[str], images: int) -> None:
    """Scores in this process; prints seconds and MiB."""
    from subjects import images_for, subject_of

    from sycam.language import parse_weights
    from sycam.metrics import find_metric
    from sycam.scoring.scorer import Scorer

    found = images_for("demo", images)
    subject = subject_of("demo", found)
    evidence, context = subject.measure(found)
    scorer = Scorer(find_metric(metric), evidence, context)
    expressions, candidates = [parse_weights(text) for text in texts], len(texts)
    subject.classifier.probability(context.images[:8], context.targets[:8])
    before = peak()
    started = time.perf_counter()
    for start in range(0, candidates, TOGETHER):
        scorer.score(expressions[start : start + TOGETHER])
    spent = time.perf_counter() - started
    extra, passes = peak() - before, subject.classifier.passes
    for start in range(0, candidates, TOGETHER):
        scorer.score(expressions[start : start + TOGETHER])
    again = peak() - before - extra
    each = spent / candidates / images * 1e3
    print(f"{candidates:10}{images:8}{passes:10}{spent:10.2f}{each:20.3f}{before:11.0f}{extra:7.0f}"
          f"{again:7.0f}")  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metric", default="average-drop")
    parser.add_argument("--candidates", type=int, nargs="+", default=DECADES,
                        help="with the first number of images")  # fmt: skip
    parser.add_argument("--images", type=int, nargs="+", default=DECADES,
                        help="with the first number of candidates")  # fmt: skip
    parser.add_argument("--row", type=int, help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = make_parser().parse_args(arguments)
    if options.row:
        row(options.metric, json.load(sys.stdin), options.row)
        return
    texts = distinct(max(options.candidates))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.metric}, demo")
    print(f"{'candidates':>10}{'images':>8}{'passes':>10}{'seconds':>10}{'ms/candidate/image':>20}"
          f"{'MiB before':>11}{'more':>7}{'again':>7}", flush=True)  # fmt: skip
    few, *more = options.images
    rows = [(candidates, few) for candidates in options.candidates]
    rows += [(options.candidates[0], images) for images in more]
    for candidates, images in rows:
        command = [sys.executable, __file__, "--metric", options.metric]
        given = json.dumps(texts[:candidates])
        subprocess.run([*command, "--row", str(images)], input=given, text=True, check=True)


if __name__ == "__main__":
    main()
