"""Samplers on real scores: curves, what is kept, what is scored live."""

from __future__ import annotations

import numpy as np
import pytest

from sycam.language import parse


@pytest.fixture(scope="module")
def search(benchmark_file):
    found = benchmark_file("search")
    kept = found.IMAGES["demo"]
    found.IMAGES["demo"] = 6
    yield found
    found.IMAGES["demo"] = kept


@pytest.mark.slow
def test_samplers_beyond_a_table_score_what_they_propose(search, tmp_path, capsys):
    only = "ours,exact order,random,genetic programming,TPE"
    search.main(["beyond", "--metric", "iou", "--max-cost", "5", "--seeds", "2", "--count", "25",
                 "--only", only, "--image", str(tmp_path / "curves.png")])  # fmt: skip
    said = capsys.readouterr().out
    assert "demo, iou: up to cost 5; the best scores 0." in said
    rows = [line for line in said.splitlines() if line.startswith("| ")][1:]
    assert [row.split(" | ")[0][2:] for row in rows] == only.split(",")
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_curves_never_fall_and_are_the_same_again(search):
    scores = search.Live("demo", "iou", 3)
    for name in ("ours", "random"):
        first, again = (
            search.curve(scores, search.CONTESTANTS[name](scores.fresh(), 1), 20) for _ in "ab"
        )
        assert np.array_equal(first, again)
        assert (np.diff(first) >= 0).all()


def test_exact_order_gets_the_best_of_the_cheapest(search):
    scores = search.Live("demo", "average-drop", 1)
    found = search.curve(scores, search.CONTESTANTS["exact order"](scores.fresh(), 0), 9)
    figures = [scores.figure(parse(text)) for text in ("A", "G")]
    assert found[-1] == max(figures)
    assert max(figures) <= 0  # a drop, turned round


def test_a_table_is_read_again_without_scoring(search, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "MAX_COST", 2)
    table = search.Table(tmp_path, "demo", "iou")
    table.fill()
    monkeypatch.setattr(search, "scorer_of", None)
    again = search.Table(tmp_path, "demo", "iou")
    again.fill()
    assert again.figures == table.figures
    assert set(again.order) == set(table.figures)
    assert again.figure(again.order[0]) == pytest.approx(table.figures[again.order[0]])


def test_samplers_run_on_a_table_that_was_filled_before(search, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(search, "MAX_COST", 2)
    given = ["--metric", "iou", "--table", str(tmp_path)]
    search.main(["table", *given])
    assert (tmp_path / "added.jsonl").read_text().count('"name"') > 20
    picture = tmp_path / "curves.png"
    few = ["--seeds", "1", "--count", "6", "--only", "ours,random", "--image", str(picture)]
    search.main(["samplers", *given, *few])
    said = capsys.readouterr().out
    assert "classes up to cost 2; the best scores 0." in said
    assert "| ours | 1 |" in said
    assert picture.stat().st_size > 5000


def test_needed_candidates_are_counted_from_one(search):
    curves = np.array([[0.1, 0.3, 0.3], [0.1, 0.1, 0.1], [0.3, 0.3, 0.3]])
    assert search.needed(curves, 0.3) == "2 to never"


@pytest.mark.data
@pytest.mark.slow
def test_a_table_of_several_layers_holds_pairs_that_samplers_look_for(
    search, real_data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(search.IMAGES, "resnet20-layers", 4)
    monkeypatch.setattr(search, "MAX_COST", 2)
    monkeypatch.setattr(search, "LEADERS", 1)
    few = ["--subject", "resnet20-layers", "--metric", "average-drop", "--table", str(tmp_path)]
    search.main(["table", *few])
    curves = ["--seeds", "1", "--count", "16", "--image", str(tmp_path / "curves.png")]
    search.main(["samplers", *few, *curves, "--only", "ours,random,genetic programming"])
    said = capsys.readouterr().out
    assert (
        "resnet20-layers, average-drop: 10 classes up to cost 2 and 20 pairs; the best scores"
        in said
    )
    rows = [
        line
        for line in said.splitlines()
        if line.startswith(("| ours |", "| random |", "| genetic"))
    ]
    assert [row.split("|")[2].strip() for row in rows] == ["1"] * 3
