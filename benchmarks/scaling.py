"""Time and memory of scoring over two decades of candidates and of images.

    python benchmarks/scaling.py [--metric deletion]

Each row is a process of its own, which scores distinct candidates on the demo, eight at a time.
Seconds are those of scoring; memory is the peak of the whole process beyond what it took with
everything measured and nothing scored. A candidate and image should cost the same in every row,
and memory should not grow with candidates; with images it grows by what is kept of each.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from itertools import islice

import torch

CANDIDATES = (8, 25, 80, 250, 800)
IMAGES = (8, 25, 80, 250, 800)
TOGETHER = 8


def row(metric: str, candidates: int, images: int) -> None:
    """Scores in this process; prints seconds and MiB."""
    from subjects import images_for, subject_of

    from sycam.language import Expression, load_grammar
    from sycam.metrics import RANKING, find_metric
    from sycam.search import Scorer
    from sycam.search.enumeration import Enumerator

    found = images_for("demo", images)
    subject = subject_of("demo", found)
    evidence, context = subject.measure(found)
    scorer = Scorer(find_metric(metric), evidence, context)
    probe = {name: tensor[:3] for name, tensor in evidence.leaves.items()}
    stream = Enumerator(load_grammar("gradient"), probe, RANKING, context.size).candidates(9)
    distinct = (item for item in stream if isinstance(item, Expression))
    expressions = list(islice(distinct, candidates))
    assert len(expressions) == candidates
    subject.classifier.probability(context.images[:8], context.targets[:8])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    for start in range(0, candidates, TOGETHER):
        scorer.score(expressions[start : start + TOGETHER])
    spent = time.perf_counter() - started
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    each = spent / candidates / images * 1e3
    print(f"{candidates:10}{images:8}{subject.classifier.passes:10}{spent:10.2f}{each:20.3f}"
          f"{before / 1024:11.0f}{extra:7.0f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metric", default="average-drop")
    parser.add_argument("--row", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        row(options.metric, *options.row)
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.metric}, demo")
    print(f"{'candidates':>10}{'images':>8}{'passes':>10}{'seconds':>10}{'ms/candidate/image':>20}"
          f"{'MiB before':>11}{'more':>7}", flush=True)  # fmt: skip
    for candidates, images in [(c, 8) for c in CANDIDATES] + [(8, i) for i in IMAGES[1:]]:
        command = [sys.executable, __file__, "--metric", options.metric]
        subprocess.run([*command, "--row", str(candidates), str(images)], check=True)


if __name__ == "__main__":
    main()
