"""Commands that read runs' folders, and what a finished command says when it is typed again."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
from typer.testing import CliRunner

import sycam
from sycam.cli import app
from sycam.errors import RunError


@pytest.fixture(scope="module")
def folder(small_run, tmp_path_factory):
    """Two runs that differ in the seed, one that was begun, a damaged one, and something else."""
    home = tmp_path_factory.mktemp("several")
    for seed in (0, 1):
        done = small_run(home / f"seed{seed}", "--seed", str(seed), pictures=False)
        assert done.exit_code == 0, done.output
    shutil.copytree(home / "seed0", home / "begun")
    (home / "begun" / "result.json").unlink()
    shutil.copytree(home / "seed0", home / "damaged")
    (home / "damaged" / "result.json").write_text("{")
    (home / "notes").mkdir()
    return home


def said(*arguments):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_show_prints_what_the_command_printed(folder):
    result = sycam.load(folder / "seed0")
    shown = said("show", folder / "seed0")
    assert f"Winner   {result.best.expression}" in shown
    assert "on 4 held-out images" in shown
    assert "Simplest within noise" in shown
    assert str(folder / "seed0") in shown.replace("\n", "")


def test_show_as_json_names_the_folder_and_csv_has_every_candidate(folder, tmp_path):
    told = json.loads(said("show", folder / "seed0", "--json", "--csv", tmp_path / "all.csv"))
    assert told["folder"] == str(folder / "seed0")
    assert told["best"] == json.loads((folder / "seed0" / "result.json").read_text())["best"]
    with open(tmp_path / "all.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["phase"] != "known" for row in rows) == told["search"]["candidates"]


def test_runs_lists_what_is_in_a_folder(folder):
    told = {one["folder"]: one for one in json.loads(said("runs", folder, "--json"))}
    states = {path.rpartition("/")[2]: one["state"] for path, one in told.items()}
    assert states == {
        "seed0": "finished",
        "seed1": "finished",
        "begun": "unfinished",
        "damaged": "damaged",
    }
    result, one = sycam.load(folder / "seed1"), told[str(folder / "seed1")]
    assert one["winner"] == result.best.expression
    assert one["seed"] == 1
    if result.best.known_as is None:
        row = result.validation.row(result.validation.chosen_published)
        assert one["gain"]["mean"] == row.against.difference.mean
    table = said("runs", folder)
    assert "unfinished" in table
    assert "seed1" in table
    assert "There is no run" in said("runs", folder / "notes")
    with pytest.raises(RunError, match="expected a folder"):
        CliRunner().invoke(app, ["runs", str(folder / "absent")], catch_exceptions=False)


def test_compare_shows_only_what_differs(folder):
    told = json.loads(said("compare", folder / "seed0", folder / "seed1", "--json"))
    assert told["differing"] == {"settings.seed": [0, 1]}
    winners = [sycam.load(folder / f"seed{seed}").best.expression for seed in (0, 1)]
    assert dict(told["winners"]) == {name: winners.count(name) for name in winners}
    table = said("compare", folder / "seed0", folder / "seed1")
    assert "settings.seed" in table
    assert "settings.grammar" not in table
    assert ("Both runs choose" in table) == (winners[0] == winners[1])
    with pytest.raises(RunError, match="two or more runs"):
        CliRunner().invoke(app, ["compare", str(folder / "seed0")], catch_exceptions=False)


def test_an_evaluation_as_csv(tmp_path):
    file = tmp_path / "new" / "table.csv"
    arguments = ["evaluate", "grad-cam", "G", "--metric", "iou", "--count", "4", "--csv", file]
    told = json.loads(said(*arguments, "--json"))
    with open(file, newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["method"] for row in rows] == ["grad-cam", "G"]
    assert float(rows[1]["mean"]) == told["methods"][1]["metrics"]["iou"]["mean"]


def test_a_csv_file_that_cannot_be_written_is_told_before_anything_is_measured(tmp_path):
    done = CliRunner().invoke(app, ["synthesize", "--csv", str(tmp_path)])
    assert "--csv" in str(done.exception)
    assert "expected a plain file" in str(done.exception)
