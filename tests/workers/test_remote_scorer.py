"""Workers score as one process does, part by part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sycam.language import parse
from sycam.methods import find_method
from sycam.metrics import find_metric
from sycam.problem.options import DataOptions, ExplainOptions
from sycam.problem.problem import Problem
from sycam.problem.request import Request
from sycam.scoring.blocks import cell_blocks
from sycam.scoring.scorer import Scorer
from sycam.workers.remote_scorer import SHARD, RemoteScoring, parts_of
from sycam.workers.team import Team

FORMULAS = [parse(text) for text in ("mean(G)", "relu(G)", "max(A) * mean(G)", "A * mean(G)")]
METRICS = ("road", "deletion", "average-drop", "class-sensitivity", "max-sensitivity")


@pytest.fixture
def problem(factory, pictures) -> Problem:
    labels = torch.arange(len(pictures)) % 4
    data = DataOptions(search_images=20, heldout=4, labels=labels)
    explain = ExplainOptions(target="contrast:of=label")
    return Problem.of(Request(factory, "4", pictures, "road", "gradient", (), data, explain))


@pytest.fixture
def scoring(apart, tmp_path: Path) -> RemoteScoring:
    return RemoteScoring(Team(apart), tmp_path)


@pytest.mark.parametrize("name", METRICS)
def test_scores_are_those_of_one_process(problem, scoring, name):
    metric, whole = find_metric(name), (problem.evidence, problem.context)
    remote = scoring.scorer(metric, *whole)
    ours = Scorer(metric, *whole).score(FORMULAS)
    for theirs, own in zip(remote.score(FORMULAS), ours, strict=True):
        np.testing.assert_array_equal(theirs.values, own.values)
        assert theirs.mean == own.mean
        assert theirs.degenerate == own.degenerate


@pytest.mark.parametrize(
    "name", ["grad-cam", "eigen-cam", "kpca-cam", "fullgrad", "mean(G) * max(A)"]
)
def test_methods_are_scored_as_by_one_process(problem, scoring, name):
    method, metrics = find_method(name), [find_metric("road"), find_metric("insertion")]
    whole = problem.evidence, problem.context
    remote = scoring.scorer(metrics[0], *whole).score_under(metrics, method)
    own = Scorer(metrics[0], *whole).score_under(metrics, method)
    for theirs, ours in zip(remote, own, strict=True):
        np.testing.assert_array_equal(theirs.values, ours.values)


def test_stages_of_levels_are_scored_as_by_one_process(problem, scoring):
    metric, whole = problem.metric, (problem.evidence, problem.context)
    for block in cell_blocks(len(problem.context), metric):
        remote = scoring.scorer(metric, *whole, block.part).score(FORMULAS, block.which)
        part = problem.evidence.subset(block.part), problem.context.subset(block.part)
        own = Scorer(metric, *part).score(FORMULAS, block.which)
        for theirs, ours in zip(remote, own, strict=True):
            np.testing.assert_array_equal(theirs.values, ours.values)


def test_what_was_foreseen_is_submitted_once(problem, scoring, apart):
    remote = scoring.scorer(problem.metric, problem.evidence, problem.context)
    batches = [FORMULAS[:2], FORMULAS[2:]]
    found = []
    for place, batch in enumerate(batches):
        remote.foresee(batches[place:])
        found += remote.score(batch)
    parts = -(-len(problem.context) // SHARD)
    assert apart.submitted == 2 * parts
    own = Scorer(problem.metric, problem.evidence, problem.context).score(FORMULAS)
    assert [score.mean for score in found] == [score.mean for score in own]


@given(first=st.integers(0, 50), count=st.integers(1, 60))
def test_parts_cover_each_image_once_and_keep_to_shards(first, count):
    parts = list(parts_of(first, first + count))
    images = [n * SHARD + i for n, start, stop, _ in parts for i in range(start, stop)]
    assert images == list(range(first, first + count))
    assert [i for *_, places in parts for i in range(places.start, places.stop)] == list(
        range(count)
    )
    assert all(0 <= start < stop <= SHARD for _, start, stop, _ in parts)
