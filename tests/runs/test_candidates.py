"""The table of all that a search scored, read from a run's folder."""

from __future__ import annotations

import csv
import shutil
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

import sycam
from sycam.errors import OptionError, RunError
from sycam.runs.candidates import COLUMNS


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A race of 32 candidates, most of which drop out."""
    torch.manual_seed(7)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 5),
    ).eval()  # fmt: skip
    images = torch.rand(44, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    return sycam.synthesize(
        network, "3", images, "average-drop", budget=32, max_cost=3, search_images=40, heldout=4,
        guess=["mean(relu(G)) * max(A)"], out=tmp_path_factory.mktemp("candidates") / "run",
    )  # fmt: skip


def test_the_table_says_of_each_formula_what_the_certificate_counts(result):
    rows = result.candidates
    entered = [row for row in rows if row.phase != "known"]
    certificate = result.certificate
    assert Counter(row.phase for row in entered) == certificate.entered
    assert Counter(row.dropped for row in entered if not row.finished) == certificate.dropped
    assert certificate.dropped["race"] > 5
    assert sum(row.scores for row in entered) == certificate.scores
    assert entered[0].expression == "mean(relu(G)) * max(A)"
    assert entered[0].phase == "guesses"
    assert {row.layers for row in rows} == {("3",)}
    known = {row.name: row for row in rows if row.phase == "known"}
    assert {k.name: k.score for k in result.record.search.known} == {
        name: row.mean for name, row in known.items()
    }
    assert known["grad-cam"].kind == "published"
    assert {row.name for row in entered if row.kind == "published"} <= known.keys()


def test_means_are_those_of_the_result_and_losers_saw_a_part_of_the_images(result):
    stages = result.certificate.stages
    best = next(row for row in result.candidates if row.expression == result.best.expression)
    assert best.mean == result.best.score
    assert best.finished
    dropped = [row for row in result.candidates if row.dropped == "race"]
    assert all(row.images == row.scores < 40 and row.scores in stages for row in dropped)
    hall = {formula.expression: formula.score for formula in result.hall}
    entered = {row.expression: row.mean for row in result.candidates if row.finished}
    assert {name: entered[name] for name in hall} == hall


def test_a_loaded_result_has_the_same_table(result):
    assert sycam.load(result.path).candidates == result.candidates


def test_a_table_that_is_not_the_result_s_is_refused(result, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(result.path, copy)
    table = copy / "candidates.csv"
    text = table.read_text()
    assert ",race\n" in text
    table.write_text(text.replace(",race\n", ",bound\n", 1))
    with pytest.raises(RunError, match="is not the table of the run's result"):
        _ = sycam.load(copy).candidates
    table.write_text(text.replace("exhaustive,", "exhaustive,many", 1))
    with pytest.raises(RunError, match="cannot be read"):
        _ = sycam.load(copy).candidates
    table.unlink()
    with pytest.raises(RunError, match="no table of candidates"):
        _ = sycam.load(copy).candidates


def test_as_a_pandas_table_and_as_csv(result):
    pandas = pytest.importorskip("pandas")
    frame = result.to_pandas()
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == len(result.candidates)
    finished = frame[frame["dropped"].isna() & (frame["phase"] != "known")]
    assert len(finished) == result.certificate.finished
    assert frame["mean"].min() == min(row.mean for row in result.candidates)
    with open(result.path / "candidates.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["expression"] for row in rows] == [r.expression or "" for r in result.candidates]
    read = pandas.read_csv(result.path / "candidates.csv", float_precision="round_trip")
    assert np.array_equal(read["mean"], [row.mean for row in result.candidates])


def test_an_evaluation_as_a_pandas_table(small_network, small_images):
    pytest.importorskip("pandas")
    table = sycam.evaluate(
        small_network, "3", small_images, ["grad-cam", "G"], ["average-drop", "average-gain"]
    )
    frame = table.to_pandas()
    wide = frame.pivot(index="method", columns="metric", values="mean")
    assert wide.loc["G", "average-drop"] == table.cells["G", "average-drop"].mean
    assert len(frame) == 4


def test_without_pandas_it_is_said_what_to_install(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OptionError, match="pip install pandas"):
        result.to_pandas()
