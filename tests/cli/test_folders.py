"""Commands that read runs' folders, and what a finished command says when it is typed again."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
import torch
from typer.testing import CliRunner

import sycam
from sycam.cli import app
from sycam.errors import RunError
from sycam.problem.explained_network import ExplainedNetwork


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


def test_a_finished_command_is_answered_from_its_folder(small_run, folder, tmp_path, monkeypatch):
    out = tmp_path / "run"
    shutil.copytree(folder / "seed0", out)
    (out / "report.html").write_text("drawn")
    before = {file.name: file.read_bytes() for file in out.iterdir()}

    def measure(*_args, **_options):
        raise AssertionError("something is measured")

    with monkeypatch.context() as patch:
        patch.setattr(ExplainedNetwork, "measure", measure)
        again = small_run(out, "--seed", "0", "--json")
        assert again.exit_code == 0, again.output
        assert json.loads(again.stdout)["created"] == json.loads(before["result.json"])["created"]
        assert "nothing is measured again" in " ".join(again.stderr.split())
        after = {file.name: file.read_bytes() for file in out.iterdir()}
        assert {**after, "answer.json": None} == {**before, "answer.json": None}
        # What is not on record, is another's, or was altered is searched again.
        for more in (["--budget", "21"], ["--max-cost", "1"], ["--heldout-images", "3"]):
            changed = small_run(out, "--seed", "0", *more)
            assert "something is measured" in str(changed.exception)
        (out / "result.json").write_bytes(
            before["result.json"].replace(b'"score": 0', b'"score": 1')
        )
        assert "something is measured" in str(small_run(out, "--seed", "0").exception)


def test_other_held_out_images_are_measured_although_all_else_is_the_same(tmp_path, small_network):
    images = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(3))

    def run(heldout, **options):
        return sycam.synthesize(
            small_network, "3", images[:6], "average-drop", mode="exact", max_cost=1, budget=4,
            heldout=sycam.ImageSet.from_arrays(heldout), out=tmp_path / "run", **options,
        )  # fmt: skip

    notes = []
    first = run(images[6:10])
    assert run(images[6:10], notify=notes.append).record.created == first.record.created
    assert any("nothing is measured again" in str(note) for note in notes)
    other = run(images[8:12])
    assert other.validation.winner.scores != first.validation.winner.scores
    with torch.no_grad():
        small_network[0].weight.mul_(0.5)
    with pytest.raises(RunError, match="holds another run"):
        run(images[8:12])


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
    assert told["differing"].keys() == {"settings.seed", "data.heldout_digest"}
    assert told["differing"]["settings.seed"] == [0, 1]
    assert not told["same_figures"]  # the seed divides the images
    winners = [sycam.load(folder / f"seed{seed}").best.expression for seed in (0, 1)]
    assert dict(told["winners"]) == {name: winners.count(name) for name in winners}
    table = said("compare", folder / "seed0", folder / "seed1")
    assert "settings.seed" in table
    assert "settings.grammar" not in table
    assert "of other metrics or images" in table
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
