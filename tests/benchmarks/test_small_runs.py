"""Each benchmark at its smallest, so that what has moved in the package shows here first.

The figures mean nothing at this size: asserted is that every row of a table is printed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
LEAVES = ["--images", "1", "--channels", "4", "--grid", "3", "--size", "8", "--repeats", "1"]
RUNS = {
    "applications": (["noise", "--out", "pictures"], ["pictures/noise.png ("]),
    "busy_cores": (
        [
            "--metric",
            "iou",
            "--seconds",
            "0.01",
            "--rounds",
            "1",
            "--images",
            "2",
            "--candidates",
            "10",
            "--eager",
        ],
        ["alone                 all", "beside a busy process as many as are fastest"],
    ),
    "cells": (
        [
            *("--networks", "demo", "--metrics", "deletion", "--budget", "4", "--out", "runs"),
            *("--search-images", "8", "--heldout-images", "8"),
        ],
        ["| demo | deletion | 8 | `", "habit: significantly ahead in ", "chosen: significantly "],
    ),
    "claims": (
        ["axioms", "finer", "counterfactual", "--settings", "demo", "--images", "4"],
        [
            "| demo, two fully connected layers | 4 | xgrad-cam |",
            "| demo, two fully connected layers | 4 | 20 % | mi-cam |",
        ],
    ),
    "convolutions": (["--images", "1", "--rounds", "1"], ["16 to 16, 32x32", "128 to 128, 28x28"]),
    "demo_layers": (
        ["smooth(G)", "--searched", "2", "--count", "2", "--layers", "features.12"],
        ["\nfeatures.12 ", "Of 13 published methods and layers 2 search scenes choose "],
    ),
    "ensembles": (
        [
            *("demo-iou", "--members", "grad-cam,layer-cam", "--percents", "50"),
            *("--search-images", "8", "--heldout-images", "16"),
        ],
        ["What each member adds", "| demo-iou | 8 + 16 | top 50 % of grad-cam, layer-cam |"],
    ),
    "workers": (
        ["--networks", "demo", "--workers", "1", "--batches", "2", "--warm", "1", "--rounds", "1"],
        ["| demo | 1 | ", " | 1.00 | 1.00 | 100% | "],
    ),
    "gallery": (["scenes", "--out", "pictures"], ["pictures/scenes.png ("]),
    "gpu": (["--list"], ["resnet50-bfloat16, 2.0 min: ", "tests, 2.8 min: "]),
    "hot_spots": (
        ["demo", "--images", "4", "--methods", "layer-cam", "--fills", "road", "--out", "spots"],
        ["layer-cam: ablating ", "| demo, features.8 | road | layer-cam |"],
    ),
    "imputation": (
        ["--sizes", "12", "--heatmaps", "1", "--repeats", "1", "--threads", "1"],
        ["12x12x3, 18 masks", "ours, torch", "sparse factorisation"],
    ),
    "kernels": (
        ["candidates", *LEAVES, "--cost", "2", "--candidate-batches", "1", "--batch", "2"],
        ["weights only", "weights, maps and heats", "in batches are"],
    ),
    "paper": (
        [
            *("--networks", "demo", "--metrics", "iou", "--max-cost", "2", "--budget", "12"),
            *("--search-images", "8", "--heldout-images", "8", "--out", "paper"),
        ],
        [
            "| demo | iou | paper | ",
            "| demo | iou | race to threshold | ",
            "| demo | iou | default",
        ],
    ),
    "projection": (
        [
            *("--networks", "demo", "--workers", "2", "--images", "12"),
            *("--heldout-images", "8", "--candidates", "8"),
        ],
        ["| demo | 12 | 2 | ", " | 100% | "],
    ),
    "published": (
        ["opti-cam", "--count", "2", "--side", "64", "--cheap"],
        ["say no more than that this runs", "| method | AD ↓ | AG ↑ |", "(12.2)", "| layer-cam | "],
    ),
    "part": (
        [
            *("--seeds", "0", "--epochs", "2", "--train", "40", "--test", "10"),
            *("--formula", "mean(relu(G))", "--attack", "mma", "--arms", "at", "at-mma"),
            *("grad-cam", "at-mean", "synthesised", "random map"),
        ],
        [
            "PGD-20 | MMA-20",
            "| at | 100% | ",
            "| at-mma | 100% | ",
            "| at-mean | ",
            "| synthesised | ",
            "| random map | ",
        ],
    ),
    "race": (["tiny", "--images", "40", "--orders", "1", "--cache"], ["| tiny | "]),
    "robustness": (
        ["demo", "--methods", "grad-cam,layer-cam,random-weights", "--images", "4"],
        ["All noise, 4 images", "| demo | grad-cam |"],
    ),
    "scaling": (["--candidates", "3", "--images", "2"], ["\n         3       2"]),
    "score_tables": (["tiny", "--cache"], ["tiny: ", "60 images", "best published"]),
    "scoring": (
        ["--candidates", "1", "--count", "2", "--repeats", "1", "--no-peers", "--eager"],
        ["\nroad ", "\ninsertion ", "\ndeletion ", "\naverage-drop ", "\niou ", "reading A once"],
    ),
    "segment": (
        [
            *("demo", "--images", "16", "--heldout", "8", "--epochs", "1"),
            *("--attention-epochs", "1", "--seeds", "2", "--cams", "layer-cam@features.5"),
            *("--simclr-epochs", "1"),
        ],
        ["demo, seed 1", "| demo | AME-CAM |", "| demo | layer-cam@features.5 |"],
    ),
    "selection": (
        ["--tables", "tiny", "--splits", "2", "--cache"],
        ["| tiny | ", "| mean rank (1 rows) | ", "milliseconds a choice"],
    ),
    "streaming": (
        ["--images", "12", "--in-process", "4"],
        ["| 12 | workers, simulated |", "| 4 | this process |"],
    ),
    "surrogate": (
        ["--sizes", "8", "--rounds", "1", "--places", "12"],
        ["       8          ours", "       8  scikit-learn"],
    ),
}
"""Of each script its arguments, a folder added after ``--cache``, and what it prints."""


QUICK = ("demo_layers", "kernels", "race", "selection")
SLOW = RUNS.keys() - QUICK


def test_every_benchmark_is_run_by_a_test():
    scripts = {path.stem for path in FOLDER.glob("*.py") if "argparse" in path.read_text()}
    own = {name for name in scripts if Path(__file__).with_name(f"test_{name}.py").exists()}
    assert scripts == own | set(RUNS)
    assert own == {"ablation", "architectures", "claims", "search", "shared_storage", "transfer"}


@pytest.fixture(scope="module")
def tables(benchmark_file, tmp_path_factory):
    """A cache of score tables, and a table that is scored in a second."""
    found = benchmark_file("score_tables")
    found.SETTINGS["tiny"] = found.Setting("demo", "auto", "demo", "average-drop", 60, 20, 2)
    return tmp_path_factory.mktemp("tables")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in RUNS]
)
def test_smallest_run(name, benchmark_file, tables, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    given, printed = RUNS[name]
    benchmark_file(name).main([*given, str(tables)] if given[-1] == "--cache" else given)
    said = capfd.readouterr().out
    assert [text for text in printed if text not in said] == []


def test_selection_writes_its_tables_and_its_picture(benchmark_file, tables, tmp_path):
    benchmark_file("selection").main(
        ["--tables", "tiny", "--splits", "2", "--cache", str(tables), "--out", str(tmp_path)]
    )
    assert "| tiny | " in (tmp_path / "selection.md").read_text()
    assert (tmp_path / "selection.png").stat().st_size > 5000


@pytest.mark.slow
def test_one_formula_is_compiled_and_its_kernels_are_counted(benchmark_file, capfd):
    benchmark_file("kernels").main(["formulas", *LEAVES, "--formula", "mean(G)"])
    row = next(r for r in capfd.readouterr().out.splitlines() if r.startswith("mean(G) "))
    *_, launches, kernels, moved = row.split()
    assert int(launches) > 0
    assert int(kernels) > 0
    assert float(moved) > 0


@pytest.mark.slow
def test_a_whole_call_beside_peers(benchmark_file, torchvision, capfd):
    """Regression: the exported class has lost a method that was called here."""
    small = ["--size", "64", "--batches", "1", "--repeats", "1", "--eager"]
    benchmark_file("kernels").main(["calls", *small])
    said = capfd.readouterr().out
    for row in ("network alone", "exported ", "sycam.CAM"):
        assert f"\n{row}" in said
    for module, row in (("pytorch_grad_cam", "pytorch-grad-cam"), ("torchcam", "TorchCAM")):
        assert (f"\n{row} GradCAM" in said) == bool(importlib.util.find_spec(module))
    assert float(said.split("from sycam.CAM:")[1]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "module", "peer"),
    [
        ("road", "pytorch_grad_cam", "pytorch-grad-cam"),
        ("deletion", "torchcam", "TorchCAM"),
        ("energy-pointing-game", "quantus", "Quantus"),
    ],
)
def test_other_libraries_score_the_same_heatmaps(
    metric, module, peer, benchmark_file, torchvision, capfd
):
    pytest.importorskip(module)
    small = ["--candidates", "1", "--count", "2", "--peer-count", "1", "--repeats", "1", "--eager"]
    benchmark_file("scoring").main(["--metrics", metric, *small])
    theirs, ours = capfd.readouterr().out.split(f"{peer} (")[1].split(")")[0].split(", ")
    assert float(theirs) == pytest.approx(float(ours), abs=0.1)


def test_smallest_boundary_of_a_race(benchmark_file, tables, capfd):
    given = ["tiny", "--images", "40", "--orders", "1", "--boundary", "--cache", str(tables)]
    benchmark_file("race").main(given)
    assert "| tiny | " in capfd.readouterr().out
