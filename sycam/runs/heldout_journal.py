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
from sycam.validation.heldout_scores import Conduct

HELDOUT_FILE = "heldout.jsonl"  # of a run's folder


def conduct_of(problem: Problem, search: SearchOptions, folder: Path) -> Conduct:
    """Held-out evidence until the budget ends, kept in the run's folder.

    Args:
        problem: what was searched.
        search: how; the clock of its budget is running.
        folder: of the run.
    """
    budget = search.budget

    def left() -> float:
        return math.inf if budget.seconds is None else budget.seconds - budget.elapsed

    def open_journal(metrics: Sequence[Metric], blocks: Sequence[ImageBlock]) -> Journal:
        return Journal(
            folder / HELDOUT_FILE, _identity(problem, metrics), metrics, blocks, replaces=True
        )

    return Conduct(left=left, open_journal=open_journal)


def _identity(problem: Problem, metrics: Sequence[Metric]) -> str:
    """Digest of all that the scores depend on."""
    facts = [
        identity_of(problem.explained, problem.unseen, metric, problem.grammar)
        for metric in metrics
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
