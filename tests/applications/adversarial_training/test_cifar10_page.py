"""The page's training on CIFAR-10, from its own text, on a CPU at its smallest, on made-up images.

They are written in the form in which CIFAR-10 comes, and read by torchvision.
"""

from __future__ import annotations

import json
import pickle
import re
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from sycam.applications.adversarial_training import training
from sycam.cli import app

PAGE = Path(__file__).resolve().parents[3] / "docs" / "part.md"
SMALLEST = shlex.split("--count 6 --epochs 2 --warm-up 1 --steps 1 --batch 3 --json --quiet")
EACH = 2  # images of a file


@pytest.fixture(scope="module")
def page() -> tuple[list[str], list[list[str]]]:
    """Python of the page, and its commands for a CPU."""
    text = PAGE.read_text(encoding="utf-8").partition("## CIFAR-10 on a GPU")[2]
    commands = re.findall(r"^sycam (part .*--device cuda.*)$", text, re.M)
    assert len(commands) == 2
    return (
        re.findall(r"```python\n(.*?)```", text, re.S),
        [shlex.split(command.replace("--device cuda", "--device cpu")) for command in commands],
    )


def write_cifar10(folder: Path) -> None:
    """Five files to train on, one to test on, and the names of the classes."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        entry = {
            "data": rng.integers(256, size=(EACH, 3 * 32 * 32), dtype=np.uint8),
            "labels": rng.integers(10, size=EACH).tolist(),
        }
        (folder / name).write_bytes(pickle.dumps(entry))
    meta = {"label_names": [f"class {i}" for i in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta))


@pytest.fixture
def folder(page, torchvision, tmp_path, monkeypatch) -> Path:
    """With what the page's Python writes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    write_cifar10(tmp_path / "data" / "cifar-10-batches-py")
    network, images = page[0]
    (tmp_path / "nets.py").write_text(network)
    (tmp_path / "images.py").write_text(images)
    runpy.run_path("images.py")
    return tmp_path


def interrupted_after_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    keep: Callable = training.keep

    def kept(*given: object) -> None:
        keep(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "keep", kept)


@pytest.mark.slow
def test_the_pages_commands_train_resume_and_measure(page, folder, monkeypatch):
    """In mixed precision; interrupted, the same command ends with the very weights."""
    images = np.load("cifar10_train.npz")
    assert (images["images"].shape, images["images"].dtype) == ((10, 32, 32, 3), np.uint8)
    train, evaluate = page[1]
    assert train[train.index("--precision") + 1] == "bfloat16"
    runner = CliRunner()
    whole = runner.invoke(app, [*train[:-1], "whole", *SMALLEST])
    assert whole.exit_code == 0, whole.output + repr(whole.exception)
    with monkeypatch.context() as patch:
        interrupted_after_an_epoch(patch)
        assert runner.invoke(app, [*train, *SMALLEST]).exit_code == 130
    assert not Path("part/weights.safetensors").exists()
    resumed = runner.invoke(app, [*train, *SMALLEST])
    assert resumed.exit_code == 0, resumed.output + repr(resumed.exception)
    found, other = json.loads(resumed.stdout), json.loads(whole.stdout)
    assert found["epochs"] == other["epochs"]
    assert found["settings"]["precision"] == "bfloat16"
    assert [row["marked"] for row in found["epochs"]] == [1, pytest.approx(0.5, abs=0.49)]
    ours, theirs = (load_file(f"{name}/weights.safetensors") for name in ("part", "whole"))
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert {one.dtype for one in ours.values()} == {torch.float32, torch.int64}

    # Not by AutoAttack, whose 5,000 queries an image are too many for a CPU.
    evaluate = evaluate[: evaluate.index("autoattack") - 1]
    measured = runner.invoke(app, [*evaluate, "--json", "--quiet"])
    assert measured.exit_code == 0, measured.output + repr(measured.exception)
    assert json.loads(measured.stdout)["rows"] == found["accuracy"]["rows"]
