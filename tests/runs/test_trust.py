"""A run folder from somebody else is data: nothing that it names is run."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from typer.testing import CliRunner

import sycam
from sycam.cli import app
from sycam.data import demo
from sycam.errors import TrustError
from sycam.runs.result import digest_of

NETWORK = """
from pathlib import Path
from sycam.data import demo
Path(__file__).with_suffix(".ran").touch()
make = demo.network
"""
METRIC = """
from pathlib import Path
import sycam
Path(__file__).with_suffix(".ran").touch()
@sycam.metric
def mine(heatmaps, context):
    return heatmaps.mean((-1, -2))
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return sycam.synthesize(
        "demo", demo.LAYER, "demo", metric="average-drop", budget=20, max_cost=2,
        search_images=12, heldout=8, out=folder, mode="exact",
    ).path  # fmt: skip


def edited(finished, tmp_path, change):
    """A copy of the run with another record, its digest made again."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    data = json.loads((copy / "result.json").read_text())
    change(data)
    data["digest"] = digest_of(data)
    (copy / "result.json").write_text(json.dumps(data))
    return copy


@pytest.fixture
def files(tmp_path):
    """A network's and a metric's file, which leave a trace where they are run."""
    (tmp_path / "nets.py").write_text(NETWORK)
    (tmp_path / "metrics.py").write_text(METRIC)
    return tmp_path


def ran(files):
    return sorted(p.name for p in files.glob("*.ran"))


def of_network(files):
    def change(data):
        data["network"]["source"] = f"{files}/nets.py:make"

    return change


COMMANDS = {
    "verify": lambda run: ["verify", run],
    "explain": lambda run: ["explain", run],
    "torch-export": lambda run: ["export", run, "-o", f"{run}/m.pt2", "--base", "torch-export"],
    "onnx": lambda run: ["export", run, "-o", f"{run}/m.onnx", "--base", "onnx"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_command_runs_the_network_that_a_run_names(finished, tmp_path, files, command):
    def change(data):
        of_network(files)(data)
        data["best"]["expression"] = "A"  # which all forms of export can say

    run = str(edited(finished, tmp_path, change))
    said = CliRunner().invoke(app, command(run))
    assert isinstance(said.exception, TrustError)
    assert "nets.py" in str(said.exception)
    assert "by --network, or say --trust" in str(said.exception)
    assert ran(files) == []


@pytest.mark.parametrize("command", ["report", "export"])
def test_commands_without_the_network_run_nothing_either(finished, tmp_path, files, command):
    run = str(edited(finished, tmp_path, of_network(files)))
    more = ["-o", f"{run}/cam.py"] if command == "export" else []
    assert CliRunner().invoke(app, [command, run, *more]).exit_code == 0
    assert ran(files) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda data, file: data["settings"].update(metrics=[f"{file}:mine"]),
        lambda data, file: data["settings"].update(metrics=[f"0.5*road + 0.5*{file}:mine"]),
        lambda data, file: data.update(required=[f"{file}:mine>0.1"]),
    ],
    ids=["metric", "formula", "requirement"],
)
def test_metrics_and_requirements_are_refused_before_anything_is_measured(
    finished, tmp_path, files, change
):
    file = files / "metrics.py"
    run = edited(finished, tmp_path, lambda data: change(data, file))
    with pytest.raises(TrustError, match=r"metrics\.py.*give metric_files=\['.*trust=True"):
        sycam.verify(run)
    assert ran(files) == []
    # Named by the user it is run, and the run proves to be another one.
    done = sycam.verify(run, metric_files=[file])
    assert ran(files) == ["metrics.ran"]
    assert not done.holds
    with pytest.raises(TrustError):  # imported before is not permitted now
        sycam.verify(run)


@pytest.mark.parametrize("options", [{"trust": True}, {"network": "nets.py:make"}], ids=str)
def test_a_file_that_the_user_names_or_trusts_is_run(
    finished, tmp_path, files, options, monkeypatch
):
    monkeypatch.chdir(files)
    run = edited(finished, tmp_path, of_network(files))
    sycam.verify(run, **options)
    assert ran(files) == ["nets.ran"]
    os.unlink("nets.ran")
    # What a user starts is not held back afterwards
    from sycam.networks.sources.user_file import load_network

    load_network("nets.py:make")
    assert ran(files) == ["nets.ran"]
