"""A finished command that is typed again, and whether it is still the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import sycam
from sycam import load, synthesize
from sycam.cli import app
from sycam.cli.printing import answers

NETS = """
import torch
from torch import nn

def net():
    torch.manual_seed({seed})
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, 2), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(8 * 12 * 12, 3),
    ).eval()
"""
FAST = [
    "--metric", "average-drop", "--budget", "6", "--max-cost", "1", "--mode", "exact",
    "--search-images", "4", "--heldout-images", "4", "--layer", "2",
    "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25",
]  # fmt: skip


class SearchedError(Exception):
    """The library was called."""


@pytest.fixture
def home(tmp_path, monkeypatch, no_pictures):
    """A network and photographs in files, and the run of a command on them."""
    monkeypatch.setattr(answers, "SETTLED", 0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS.format(seed=0))
    (tmp_path / "photos").mkdir()
    draw = np.random.default_rng(0)
    for i in range(8):
        pixels = draw.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    time.sleep(0.05)
    first = command()
    assert first.exit_code == 0, first.output
    Path("run/report.html").touch()  # without it the pictures would be drawn
    (tmp_path / "first.txt").write_text(first.stdout)

    def refused(*_, **__):
        raise SearchedError

    monkeypatch.setattr(sycam, "synthesize", refused)
    monkeypatch.setattr(sycam, "load", refused)
    return tmp_path


def command(*more):
    arguments = ["--network", "nets.py:net", "--images", "photos", *FAST, "--out", "run", *more]
    return CliRunner().invoke(app, ["synthesize", *arguments])


def asks_the_library(*more):
    return isinstance(command(*more).exception, SearchedError)


def test_the_same_command_says_the_same_without_the_library(home):
    again = command()
    assert again.exit_code == 0, again.output
    note, _, said = again.stdout.partition("begins anew\n")
    assert "nothing is measured again" in " ".join(note.split())
    first = home.joinpath("first.txt").read_text()
    assert len(said) > 1000
    assert first.endswith(said)


def test_as_json_and_quiet(home):
    again = command("--json", "--quiet")
    assert again.exit_code == 0
    assert again.stderr == ""
    stated = json.loads(again.stdout)
    assert stated.pop("folder") == "run"
    assert stated == json.loads(Path("run/result.json").read_text())


def test_show_says_the_same(home):
    shown = CliRunner().invoke(app, ["show", "run"])
    assert shown.exit_code == 0
    tables, _, kept = shown.stdout.rpartition("\nKept in")
    assert kept.strip() == "run"
    assert tables in home.joinpath("first.txt").read_text()


@pytest.mark.parametrize("width", ["60", "120", "200"])
def test_another_width_is_shown_without_the_library_as_with_it(home, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    first = CliRunner().invoke(app, ["show", "run"])
    monkeypatch.setattr(sycam, "load", load)
    Path("run/answer.json").unlink()
    again = CliRunner().invoke(app, ["show", "run"])
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert first.stdout == again.stdout
    assert Path("run/answer.json").exists()


def test_show_by_another_name_of_the_folder(home, monkeypatch):
    whole = CliRunner().invoke(app, ["show", str(home / "run")])
    assert whole.exit_code == 0, whole.exception
    assert "Winner" in whole.stdout


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("nets.py").write_text(NETS.format(seed=1)),
        lambda: shutil.copy("photos/1.png", "photos/0.png"),
    ],
    ids=["weights", "image"],
)
def test_what_changed_is_looked_at_by_the_library(home, change):
    assert not asks_the_library()
    change()
    assert asks_the_library()


def test_other_files_in_the_folder_and_other_commands(home):
    for name in ("result.json", "candidates.csv", "report.html", "answer.json"):
        file = Path("run", name)
        before = file.read_bytes()
        file.unlink()
        assert asks_the_library(), name
        if name != "report.html":
            file.write_bytes(before[:-2])
            assert asks_the_library(), name
        file.write_bytes(before)
    for more in (("--seed", "1"), ("--budget", "7"), ("--csv", "all.csv")):
        assert asks_the_library(*more), more
    assert not asks_the_library()


def test_files_that_changed_a_moment_ago_are_read_again(home, monkeypatch):
    monkeypatch.setattr(answers, "SETTLED", 3600)
    monkeypatch.setattr(sycam, "synthesize", synthesize)
    Path("run/answer.json").unlink()
    assert command().exit_code == 0
    assert json.loads(Path("run/answer.json").read_text())["question"] is None


def test_a_hostile_answer_prints_no_escape_sequences(home):
    file = Path("run/answer.json")
    answer = json.loads(file.read_text())
    table = {"columns": [["p", "right"]], "heading": "method", "rows": []}
    row = {"formula": "relu(G)", "cells": ["0.5"]}
    for part in (
        {"words": "Winner \x1b[2J"},
        {"formulas": "Winner   \x1b[2J"},
        {"copied": "LaTeX    \x1b[2J"},
        {**table, "title": "\x1b[2J"},
        {**table, "rows": [{**row, "formula": "\x1b[2J"}]},
        {**table, "rows": [{**row, "cells": ["\x1b[2J"]}]},
    ):
        file.write_text(json.dumps({**answer, "page": [part]}))
        shown = CliRunner().invoke(app, ["show", "run"])
        assert (shown.exit_code, "\x1b" in shown.stdout) == (0, False), part
    for part in (
        {"words": "[link=http://example.org]Winner[/link]"},
        {"words": "[/bold]"},
        {"formulas": "Winner   relu(G)", "style": "link http://example.org"},
        {**table, "rows": [{**row, "style": "no such style"}]},
        {**table, "columns": [["p"]]},
        {"something": "else"},
        7,
    ):
        file.write_text(json.dumps({**answer, "page": [part]}))
        refused = CliRunner().invoke(app, ["show", "run"])
        assert isinstance(refused.exception, SearchedError), part


SCRIPT = """
import sys
from sycam import cli
sys.argv = ["sycam", *{words}]
try:
    cli.main()
except SystemExit as end:
    assert not end.code, end.code
print("loaded:", *[name for name in ("torch", "numpy", "scipy") if name in sys.modules])
"""


@pytest.mark.slow
def test_the_demo_is_answered_from_its_usual_folder_without_torch(
    tmp_path, monkeypatch, no_pictures
):
    monkeypatch.chdir(tmp_path)
    words = "synthesize --metric iou --budget 4 --max-cost 1 --mode exact --search-images 4"
    words = [*words.split(), "--heldout-images", "4"]
    assert CliRunner().invoke(app, words).exit_code == 0
    (folder,) = Path("runs").iterdir()
    (folder / "report.html").touch()
    for more in ([], ["--json"]):
        script = SCRIPT.format(words=[*words, *more])
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "loaded:"
        assert "grad-cam" in done.stdout


@pytest.mark.slow
def test_a_run_made_from_python_is_shown_without_torch(tmp_path, small_network, no_pictures):
    images = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    result = synthesize(
        small_network, "3", images, "average-drop", mode="exact", max_cost=1, budget=4,
        search_images=6, heldout=4, out=tmp_path / "run",
    )  # fmt: skip
    for more in ([], ["--json"]):
        script = SCRIPT.format(words=["show", str(tmp_path / "run"), *more])
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "loaded:"
        assert result.best.expression in done.stdout
