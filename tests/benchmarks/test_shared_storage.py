"""Two searches on one storage: what each has scored the other does not score again, but at once."""

from __future__ import annotations

import pytest


@pytest.fixture
def table(benchmark_file, tmp_path, monkeypatch):
    search = benchmark_file("search")
    monkeypatch.setitem(search.IMAGES, "demo", 6)
    monkeypatch.setattr(search, "MAX_COST", 2)
    made = search.Table(tmp_path / "table", "demo", "iou")
    made.fill()
    return made


@pytest.mark.slow
def test_runs_that_share_score_little_twice(benchmark_file, table, tmp_path):
    found = benchmark_file("shared_storage")
    shared = found.Runs(table, [0, 1], f"sqlite:///{tmp_path}/study.db")
    apart = found.Runs(table, [0, 1], None)
    for runs in (shared, apart):
        curve = runs.curve(48)
        assert (curve[1:] >= curve[:-1]).all()
    assert shared.guides[0].statistics["shared"] > 0
    assert shared.twice < apart.twice
    said = found.report(table, found.contest(table, 2, 16))
    assert [line.split(" | ")[0] for line in said.splitlines()[4:]] == [
        "| one run", "| two runs on one storage", "| two runs apart",
    ]  # fmt: skip
