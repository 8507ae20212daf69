"""The four people whom SyCAM is for: their scripts, at small size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

pytestmark = pytest.mark.slow

LESIONS = """
import torch
from torch import nn

def lesions():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, stride=2), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    ).eval()
"""


@pytest.fixture
def pictures(tmp_path, monkeypatch) -> Path:
    """Three folders, a class each, of eight small photographs."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for i in range(24):
        folder = tmp_path / "val" / "abc"[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.asarray(
            Image.fromarray(draw.integers(0, 255, (6, 6, 3), dtype=np.uint8)).resize((48, 40), 3)
        )
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "val"


def story(load, name: str):
    return load(EXAMPLES / f"{name}.py").main


FEW = ["--budget", "6", "--search-images", "4", "--heldout-images", "4"]


def test_a_researcher_with_a_fine_tuned_resnet50(load, torchvision, pictures):
    torch.manual_seed(0)
    network = torchvision.models.resnet50(num_classes=3)
    torch.save({"state_dict": network.state_dict(), "epoch": 7}, "best.pth")
    main = story(load, "fine_tuned_resnet50")
    result = main(["best.pth", str(pictures), "--metric", "top-k-drop", "--size", "32", *FEW])
    assert {"winner", "published", "control"} <= {row.kind for row in result.validation.rows}
    assert "class MyCAM" in (result.path / "my_cam.py").read_text(encoding="utf-8")


def test_a_timm_user(load, torchvision, pictures, capsys):
    pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    main = story(load, "timm_network")
    result = main(["test_resnet@random", str(pictures), "--metric", "top-k-drop", *FEW])
    assert result.best.expression in capsys.readouterr().out


def test_a_radiology_engineer_with_slices_and_masks(tmp_path):
    draw = np.random.default_rng(0)
    for folder in ("slices", "masks"):
        (tmp_path / folder).mkdir()
    for i in range(16):
        mask = np.zeros((40, 40), np.uint8)
        y, x = draw.integers(4, 30, 2)
        mask[y : y + 6, x : x + 6] = 255
        pixels = draw.integers(60, 90, (40, 40)) + mask // 3
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "slices" / f"{i:02}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i:02}.png")
    (tmp_path / "nets.py").write_text(LESIONS, encoding="utf-8")
    # The command that the script calls, from this source tree.
    command = tmp_path / "bin" / "sycam"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sycam.cli "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    search = str(EXAMPLES.parent)
    done = subprocess.run(
        ["sh", str(EXAMPLES / "slices_with_masks.sh"), "nets.py:lesions", "slices", "masks", "run",
         "--budget", "12", "--max-cost", "2", "--search-images", "6", "--heldout-images", "6",
         "--quiet"],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "class LesionCAM" in (tmp_path / "run" / "lesion_cam.py").read_text(encoding="utf-8")
    assert list((tmp_path / "run" / "explanations").glob("*.png"))


def test_somebody_who_has_code_for_pytorch_grad_cam(load, grad_cam, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main = story(load, "better_cam_for_grad_cam")
    figures = main(["--budget", "25", "--search-images", "8", "--heldout-images", "8",
                    "--count", "6"])  # fmt: skip
    before, after = figures.values()
    assert after > before  # by the library's own metric
