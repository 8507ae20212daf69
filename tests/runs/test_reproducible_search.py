"""What does not change a search: threads, blocks, the order of the images; and its time limit."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import sycam
from sycam.data import demo
from sycam.problem.images import demo_images
from sycam.problem.options import DataOptions
from sycam.problem.problem import Problem
from sycam.problem.request import Request
from sycam.scoring import journaled_scorer, scorer
from sycam.scoring.scorer import Scorer
from sycam.search import budget
from sycam.search.budget import Budget
from sycam.search.options import SearchOptions
from sycam.search.run import run_search


def agreed(value):
    """Plain data, its numbers to within 1e-5."""
    if isinstance(value, dict):
        return {key: agreed(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [agreed(v) for v in value]
    return pytest.approx(value, abs=1e-5, nan_ok=True) if isinstance(value, float) else value


@pytest.mark.slow
def test_threads_blocks_and_order_of_the_images_do_not_change_the_race(tmp_path, monkeypatch):
    images = demo_images("search", 80, 0)
    options = {"metric": "drop-in-deletion", "search_images": 64, "heldout": 4}
    options |= {"budget": 96, "max_cost": 3}
    found, threads = [], torch.get_num_threads()
    for turn, (count, elements) in enumerate([(1, scorer._ELEMENTS["cpu"]), (2, 600_000)]):
        monkeypatch.setitem(scorer._ELEMENTS, "cpu", elements)
        order = np.random.default_rng(turn).permutation(80) if turn else range(80)
        torch.set_num_threads(count)
        try:
            given = images.subset([int(i) for i in order])
            options["out"] = tmp_path / str(turn)
            found.append(sycam.synthesize("demo", demo.LAYER, given, **options))
        finally:
            torch.set_num_threads(threads)
    first, *others = found
    assert first.certificate.dropped["race"] > 10  # a race it was
    for other in others:
        # Scores agree to 1e-5: convolutions of other blocks and threads round differently.
        for part in ("best", "certificate", "validation"):
            there, here = (json.loads(json.dumps(r.to_dict()[part])) for r in (other, first))
            for side in (there, here):
                side.pop("candidates", None)  # the certificate's digest of all scores
            here = agreed(here)
            assert there == here


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["race", "guided"])
def test_a_time_budget_is_kept_to_a_tenth(tmp_path, monkeypatch, mode):
    """By a clock that goes on only while candidates are scored, faster and slower in turn."""
    seconds, clock, rng = 60, SimpleNamespace(now=0.0), np.random.default_rng(0)
    watch = SimpleNamespace(monotonic=lambda: clock.now)
    monkeypatch.setattr(journaled_scorer, "time", watch)
    monkeypatch.setattr(budget, "time", watch)
    score = Scorer.score

    def slowly(self, expressions, which=None):
        clock.now += len(expressions) * len(self.context) * rng.uniform(0.005, 0.02)
        return score(self, expressions, which)

    monkeypatch.setattr(Scorer, "score", slowly)
    data = DataOptions(search_images=40, heldout=2)
    problem = Problem.of(Request("demo", demo.LAYER, "demo", "average-drop", data=data))
    options = SearchOptions(budget=Budget(seconds=seconds).started(), mode=mode)
    outcome = run_search(problem, options, tmp_path).outcome
    assert outcome.stopped == "budget"
    assert 0.9 * seconds < outcome.seconds < 1.1 * seconds
