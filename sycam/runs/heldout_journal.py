"""Held-out scores in the run's folder, so that none is measured twice."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

from sycam.metrics import Metric
from sycam.problem.identity import identity_of
from sycam.problem.problem import Problem
from sycam.scoring.blocks import ImageBlock
from sycam.scoring.journal import Journal
from sycam.search import SearchOptions
from sycam.validation.adaptive import ADAPTIVE
from sycam.validation.heldout_scores import HELDOUT, Conduct

HELDOUT_FILE, ADAPTIVE_FILE = f"{HELDOUT}.jsonl", f"{ADAPTIVE}.jsonl"  # of a run's folder
FEWEST = 16  # held-out images, however short the time
_ALMOST = 0.9  # of the time that is left


def conduct_of(problem: Problem, search: SearchOptions, folder: Path, pace: float) -> Conduct:
    """Held-out evidence until the budget ends, kept in the run's folder; on fewer images where the
    time does not even suffice for the most important part of it.

    Args:
        problem: what was searched.
        search: how; the clock of its budget is running.
        folder: of the run.
        pace: seconds of a candidate on a search image, as the search measured it.
    """
    budget = search.budget

    def open_journal(metrics: Sequence[Metric], blocks: Sequence[ImageBlock], name: str) -> Journal:
        return Journal(
            folder / f"{name}.jsonl",
            _identity(problem, metrics, blocks),
            metrics,
            blocks,
            replaces=True,
        )

    images: int | None = None
    unseen, reserved = len(problem.unseen), 0.0
    if pace and not math.isinf(budget.left):
        evidence = budget.evidence(pace)
        fitting = max(FEWEST, int(_ALMOST * budget.left * unseen / evidence.least))
        images = fitting if fitting < unseen else None
        reserved = evidence.adaptive * (images or unseen) / unseen
    return Conduct(
        left=lambda: budget.left,
        open_journal=open_journal,
        images=images,
        reserved=reserved,
        scoring=problem.scoring,
    )


def _identity(problem: Problem, metrics: Sequence[Metric], blocks: Sequence[ImageBlock]) -> str:
    """Digest of all that the scores depend on."""
    images = max(block.stop for block in blocks)
    unseen = problem.unseen.subset(list(range(images)))
    facts = [identity_of(problem.explained, unseen, m, problem.grammar) for m in metrics]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
