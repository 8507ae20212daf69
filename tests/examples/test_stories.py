"""The people whom SyCAM is for: their scripts, at small size."""

from __future__ import annotations

import json
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


def shell(
    folder: Path, name: str, *arguments: str, body: str = "", **environment: str
) -> subprocess.CompletedProcess:
    """A shell script run in a folder, in which ``sycam`` is this source tree's."""
    command = folder / "bin" / "sycam"
    command.parent.mkdir(exist_ok=True)
    command.write_text(
        f'#!/bin/sh\n{body}\nexec "{sys.executable}" -m sycam.cli "$@"\n', encoding="utf-8"
    )
    command.chmod(0o755)
    path = f"{command.parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", str(EXAMPLES / f"{name}.sh"), *arguments],
        cwd=folder,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(EXAMPLES.parent)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


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
    done = shell(
        tmp_path, "slices_with_masks", "nets.py:lesions", "slices", "masks", "run",
        "--budget", "12", "--max-cost", "2", "--search-images", "6", "--heldout-images", "6",
        "--quiet",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "class LesionCAM" in (tmp_path / "run" / "lesion_cam.py").read_text(encoding="utf-8")
    kept = tmp_path / "run" / "explanations"
    assert len(list(kept.glob("*.png"))) == 3
    assert len(list((kept / "overlay").glob("*.png"))) == 3


def test_somebody_who_has_code_for_pytorch_grad_cam(load, grad_cam, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main = story(load, "better_cam_for_grad_cam")
    figures = main(["--budget", "25", "--search-images", "8", "--heldout-images", "8",
                    "--count", "6"])  # fmt: skip
    before, after = figures.values()
    assert after > before  # by the library's own metric


COLOURED = LESIONS.replace("Conv2d(1,", "Conv2d(3,").replace("Linear(8, 2)", "Linear(8, 3)")


def test_a_researcher_who_repeats_the_paper(load, pictures, capsys):
    Path("nets.py").write_text(COLOURED, encoding="utf-8")
    main = story(load, "repeat_the_paper")
    results = main(["nets.py:lesions", str(pictures), "--max-cost", "2", *FEW])
    options = {name: result.record.settings.options for name, result in results.items()}
    assert (options["paper"].equivalence, options["paper"].threshold) == (
        "metric", "best-published",
    )  # fmt: skip
    assert options["default"].threshold is None
    assert all(result.record.classes for result in results.values())
    said = capsys.readouterr().out
    assert "paper" in said
    assert "default" in said
    assert "held out" in said


def test_somebody_in_a_notebook(load, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYCAM_CANDIDATES", "8")
    cells = load(EXAMPLES / "notebook_first_look.py")
    assert cells.heatmaps.shape == (4, 64, 64)
    said = capsys.readouterr()
    assert f"Winner   {cells.found.best.expression}" in said.out
    assert "Scoring" in said.err  # its progress
    assert Path("front.png").stat().st_size > 1000


# The first time it is killed as soon as there are scores.
KILLED = """
if [ "$1" = synthesize ] && [ ! -e once ]; then
    touch once
    "{python}" -m sycam.cli "$@" & process=$!
    until grep -qs '"candidates"' nightly/run/scores.jsonl; do sleep 0.02; done
    kill -9 $process
    wait $process
    ended=$?
    cp nightly/run/scores.jsonl seen
    exit $ended
fi
"""


def test_somebody_who_knows_which_images_show_the_object(load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scores = story(load, "masks_from_labels")(["--epochs", "2", "--train", "64", "--test", "16"])
    assert {"grad-cam@features", "layer-cam@features"} < {row.method for row in scores.rows}
    assert Path("digits/judged.png").stat().st_size > 5000
    assert len(list(Path("digits/found/masks").iterdir())) == 8


def test_somebody_who_looks_at_it_the_next_day(tmp_path):
    (tmp_path / "nets.py").write_text(COLOURED, encoding="utf-8")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "set.npz", images=pixels)
    home = tmp_path / "home"
    home.write_text("")  # no folder: nobody can write there, whoever runs the tests
    asked = ["nightly/run", "--network", "nets.py:lesions", "--images", "set.npz", "--mean", "0.5",
             "--std", "0.25", "--metric", "average-drop", "--max-cost", "1", *FEW]  # fmt: skip
    done = shell(
        tmp_path, "unattended", *asked,
        body=KILLED.format(python=sys.executable), HOME=str(home), XDG_CACHE_HOME="",
        XDG_CONFIG_HOME="",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unattended: ended with 137, 2 more attempts" in done.stderr
    assert "warning" not in done.stderr.lower()
    assert "matplotlib" not in done.stderr.lower()
    told = json.loads((tmp_path / "nightly" / "run.json").read_text())
    assert told["folder"] == "nightly/run"
    seen = (tmp_path / "seen").read_bytes().splitlines(keepends=True)
    whole = b"".join(line for line in seen if line.endswith(b"\n"))
    kept = (tmp_path / "nightly" / "run" / "scores.jsonl").read_bytes()
    assert b'"candidates"' in whole
    assert kept.startswith(whole)  # it went on from there
    events = [json.loads(line) for line in (tmp_path / "nightly" / "run.log").open()]
    assert [e["event"] for e in events].count("started") == 2
    assert events[-1]["event"] == "finished"
    wrong = shell(tmp_path, "unattended", "nightly/other", "--metric", "nonsense")
    assert wrong.returncode == 2
    assert "attempts" not in wrong.stderr


def test_a_traffic_engineer_with_street_scenes(load, pictures, capsys):
    Path("nets.py").write_text(
        LESIONS.replace("Conv2d(1, 6", "Conv2d(3, 6").replace("Linear(8, 2)", "Linear(8, 3)"),
        encoding="utf-8",
    )
    masks = Path("objects")
    for file in pictures.rglob("*.png"):
        path = masks / file.relative_to(pictures)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.tri(40, 48, dtype=np.uint8) * 255).save(path)
    given = ["nets.py:lesions", str(pictures), "--masks", str(masks), "--size", "32"]
    found = story(load, "street_scenes")([*given, "--steps", "5"])
    assert capsys.readouterr().out.count("% of the area changes the probability by") == 2
    for name, result in found.items():
        assert 0 < result.rows[0].area.mean < 0.6
        assert len(list((Path("spots") / name / "images").glob("*.png"))) == 8


def test_somebody_whose_classifier_must_withstand_small_changes(load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = story(load, "train_for_robustness")(["--epochs", "8", "--train", "300"])
    assert all(result.accuracy.natural > 0.8 for result in results.values())
    assert results["plain"].accuracy.robust != results["part"].accuracy.robust
    assert Path("robust/part/weights.safetensors").is_file()
    assert Path("robust/attacked.png").stat().st_size > 5000


def test_somebody_who_cannot_decide_between_cams(load, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = ["--members", "grad-cam", "layer-cam", "--search", "8", "--heldout", "16"]
    kept, heatmaps = story(load, "agreement_of_cams")(given)
    assert kept.members == ("grad-cam", "layer-cam")
    assert heatmaps.shape == (2, 64, 64)
    assert kept.expression in capsys.readouterr().out
    assert Path("vote/ensemble.png").stat().st_size > 5000


def test_somebody_with_noisy_images(load, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = ["--count", "4", "--methods", "grad-cam", "layer-cam"]
    found = story(load, "noisy_images")([*given, "random-weights"])
    assert {row.method for row in found.pooled} == {"grad-cam", "layer-cam", "random-weights"}
    assert "Steady and most responsive: " in capsys.readouterr().out
    for name in ("robustness", "robustness_ranks", "consistency_ranks"):
        assert Path(f"noise/{name}.png").stat().st_size > 5000
