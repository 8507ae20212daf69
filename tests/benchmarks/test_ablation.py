"""The ablation: what each variant spends, to the goal and to its end."""

from __future__ import annotations

import json

import pytest

from sycam.errors import UnknownNameError


@pytest.fixture(scope="module")
def ablation(benchmark_file):
    return benchmark_file("ablation")


@pytest.fixture(scope="module")
def measured(ablation, tmp_path_factory):
    file = tmp_path_factory.mktemp("ablation") / "found.json"
    ablation.SETTINGS["tiny"] = ablation.Setting("demo", "average-drop", 2, 16, 8)
    ablation.main(["tiny", "--seeds", "1", "--variants", "none,values,race,guided", "--out",
                   str(file)])  # fmt: skip
    return {one["variant"]: one for one in json.loads(file.read_text())}


@pytest.mark.slow
def test_merging_saves_candidates_and_passes_and_keeps_the_best(measured):
    assert measured["values"]["whole"]["candidates"] < measured["none"]["whole"]["candidates"]
    assert measured["values"]["whole"]["passes"] < measured["none"]["whole"]["passes"]
    assert measured["values"]["best"] == pytest.approx(measured["none"]["best"], abs=1e-6)
    assert measured["values"]["best"] == measured["values"]["goal"]


@pytest.mark.slow
def test_race_and_guide_get_as_many_candidates(measured):
    entered = measured["values"]["whole"]["candidates"]
    assert measured["race"]["whole"]["candidates"] == entered
    assert measured["guided"]["whole"]["candidates"] == entered


@pytest.mark.slow
def test_what_leads_to_the_goal_is_a_part_of_the_whole(measured):
    exact = measured["values"]
    assert 0 < exact["to_goal"]["candidates"] <= exact["whole"]["candidates"]
    assert 0 < exact["to_goal"]["passes"] <= exact["whole"]["passes"]


def test_the_table_takes_medians_over_seeds(ablation):
    def one(seed, candidates, reached, winner="mean(G)"):
        spent = ablation.Spent(candidates, 10 * candidates, 1.0)
        return ablation.Measured(
            "s", "values", seed, spent if reached else None, spent, 0.5, 0.5, winner, 0.25, 0.2
        )

    rows = ablation.table([one(0, 10, True), one(1, 30, True), one(2, 20, False)], "s")
    cells = rows.splitlines()[2].split(" | ")
    assert cells[1:4] == ["20", "200", "1"]
    assert cells[4:8] == ["20", "200", "1", "2 of 3"]
    assert cells[8:] == ["`mean(G)`", "3 of 3", "0.2500 |"]


def test_names_are_known(ablation):
    with pytest.raises(UnknownNameError, match="did you mean 'guided'"):
        ablation.main(["demo-road", "--variants", "guidd"])
    with pytest.raises(UnknownNameError, match="did you mean 'demo-road'"):
        ablation.main(["demo-raod"])
