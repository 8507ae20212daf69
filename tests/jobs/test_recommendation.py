"""Which published CAM at which layer: ranked on some images, measured on others."""

from __future__ import annotations

import itertools
import json
import re
import runpy
from dataclasses import replace

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import sycam
from sycam import evaluate, recommend
from sycam.cli import app
from sycam.data import demo
from sycam.data.images import ImageSet
from sycam.errors import OptionError
from sycam.jobs.recommendation import Extent
from sycam.methods.method import CONTROL
from sycam.problem.images import demo_images
from sycam.report.recommended import PYTORCH_GRAD_CAM

LAYERS = ["features", "features.5"]
FEW = {"search_images": 16, "heldout": 12}


@pytest.fixture(scope="module")
def found():
    return recommend("demo", "demo", "iou", LAYERS, budget=None, **FEW)


def test_figures_are_those_of_evaluate_on_either_part_of_the_images(found):
    names = [row.method.name for row in found.rows]
    for part, count in (("search", 16), ("heldout", 12)):
        images = demo_images(part, count, 0)
        table = evaluate("demo", LAYERS, images, names, ["iou"])
        for row in found.rows:
            mine = row.figure if part == "search" else row.heldout.mean
            assert mine == pytest.approx(table.cells[row.method.name, "iou"].mean, abs=1e-6)


def test_the_best_on_the_ranking_images_is_recommended_whatever_the_others_say(found):
    figures = [row.figure for row in found.rows]
    assert figures == sorted(figures, reverse=True)
    assert found.best is next(row for row in found.rows if row.kind != CONTROL)
    assert found.verdict.startswith(f"Use {found.best.where}: iou {found.best.heldout.mean:.3f}")
    assert {row.layer for row in found.rows} == {*LAYERS, ""}
    assert list(found.best_per_layer) == LAYERS
    for layer, row in found.best_per_layer.items():
        others = [r.figure for r in found.rows if r.layer == layer and r.kind != CONTROL]
        assert row.figure == max(others)


@pytest.mark.parametrize("name", PYTORCH_GRAD_CAM)
def test_lines_of_code_draw_the_same_in_both_libraries(found, grad_cam, name, tmp_path):
    row = next(r for r in found.rows if (r.name, r.layer) == (name, "features.5"))
    winner = replace(found.validation.winner, name=row.method.name)
    other = replace(found, validation=replace(found.validation, rows=(winner,)))
    assert other.best is row
    network, images = demo.network().eval(), demo_images("heldout", 4, 0).images
    shown = {}
    for library in ("sycam", "pytorch-grad-cam"):
        file = tmp_path / f"{library}.py"
        file.write_text(other.code(library))
        made = runpy.run_path(str(file), {"network": network, "images": images.clone()})
        shown[library] = torch.as_tensor(made["heatmaps"])
    torch.testing.assert_close(*shown.values(), rtol=0, atol=1e-5)


def test_one_layer_and_methods_that_are_named(found):
    given = recommend("demo", "demo", "iou", "features.5", ["softmax(mean(A))"], budget=None, **FEW)
    assert {row.layer for row in given.rows} == {"features.5"}
    assert "softmax(mean(A))" in [row.name for row in given.rows]
    with pytest.raises(OptionError, match="names the layers that it reads"):
        recommend("demo", "demo", "iou", methods=["grad-cam@features"])


def test_a_control_that_is_no_worse_is_said(small_network):
    torch.manual_seed(0)
    images = ImageSet.from_arrays(torch.rand(24, 3, 16, 16))  # of which the network knows nothing
    given = recommend(small_network, images, "road", "3", budget="1h")
    assert "A control, " in given.verdict
    assert "these images tell little" in given.verdict


def test_a_flat_map_is_neither_recommended_nor_level_with_what_is():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip
    network[4].weight.data = -network[4].weight.data.abs()  # nothing speaks for a class
    images = ImageSet.from_arrays(torch.rand(8, 3, 16, 16))
    given = recommend(network, images, "average-drop", "1", search_images=4, heldout=4, budget=None)
    rows = {row.name: row for row in given.rows}
    flat = rows["grad-cam"]
    assert (flat.flat, flat.eligible, flat.unfit) == (4, False, "flat on 4 images")
    assert (rows["lafam"].flat, rows["lafam"].eligible) == (0, True)
    assert given.best.eligible
    assert given.best_per_layer == {"1": given.best}
    beside = [s.partition(": ")[2] for s in given.verdict.split(". ") if s.startswith("Level with")]
    named = {name for said in beside for name in re.split(", | and ", said)}
    assert named
    assert not named & {row.where for row in given.rows if not row.eligible}
    assert f"grad-cam at 1, what everybody uses, has {flat.heldout.mean:.3f}" in given.verdict
    assert "(flat on 4 images)" in given.verdict
    assert ("grad-cam", "1", "flat on 4 images") in [(a, b, d) for a, b, _, d, _ in given.lines()]
    assert next(r for r in given.table() if r["method"] == "grad-cam")["flat"] == 4
    first = replace(given.validation.winner, name=flat.method.name)
    everybodys = replace(given, validation=replace(given.validation, rows=(first,)))
    assert everybodys.verdict.startswith("Use grad-cam at 1, what everybody uses: average-drop ")
    assert "But it is flat on 4 images that rank" in everybodys.verdict


@pytest.mark.parametrize("name", ["lafam", "fem", "eigen-cam", "grad-cam", "fullgrad"])
def test_a_method_that_ignores_what_is_explained_is_said_to(found, name):
    row = next(r for r in found.rows if r.name == name)
    winner = replace(found.validation.winner, name=row.method.name)
    other = replace(found, validation=replace(found.validation, rows=(winner,)))
    images = demo_images("heldout", 4, 0).images
    cam = sycam.CAM(demo.network(), "features", name)
    same = torch.equal(cam(images, 0), cam(images, 7))
    assert (f"{name} shows the same whatever is explained" in other.verdict) == same


def test_what_a_budget_cuts_is_said():
    asked = "mean(A) * max(G)"  # however short the time
    hurried = recommend(
        "demo", "demo", "road", LAYERS, [asked], budget="0.01s", search_images=16, heldout=64
    )
    assert asked in [row.name for row in hurried.rows]
    assert hurried.best.heldout is not None
    assert hurried.not_scored
    assert any(f"{len(hurried.not_scored)} of " in said for said in hurried.cut)
    assert hurried.validation.images < hurried.unseen_images == 64
    assert any("of 64 other images were measured" in said for said in hurried.cut)
    assert any(said.startswith("4 of 16 ranking images were used") for said in hurried.cut)
    with pytest.raises(OptionError, match="budget is a time here, like 90s or 5m"):
        recommend("demo", "demo", "road", budget="500")


@pytest.mark.parametrize("images", [4, 20, 200])
@pytest.mark.parametrize("methods", [3, 40, 120])
def test_an_extent_fits_into_the_time_that_more_of_fills_better(methods, images):
    pace, measuring = 0.07, 0.1
    extents = [
        Extent.within(s, pace, measuring, methods, images) for s in (0.1, 5, 25, 100, 10_000)
    ]
    assert extents[-1] == Extent(images, min(16, images), methods, max(2, min(8, methods // 4)))
    for less, more in itertools.pairwise(extents):
        assert less.methods <= more.methods
        assert less.images <= more.images
    for seconds, extent in zip((25, 100), extents[2:4], strict=True):
        taken = extent.methods * extent.first * pace + extent.images * measuring
        taken += extent.finalists * (extent.images - extent.first) * pace
        assert taken <= seconds


def test_a_short_time_ranks_many_methods_on_few_images():
    """All 64 images left time for five methods of 117."""
    extent = Extent.within(25, 0.07, 0.1, 117, 64)
    assert extent.methods >= 40
    assert extent.first < extent.images < 64


def test_the_command_says_what_python_says_and_draws_it(found, tmp_path):
    asked = "recommend --metric iou --layer features --layer features.5 --budget 10m --json"
    picture, table = tmp_path / "p.png", tmp_path / "t.csv"
    more = ["--search-images", "16", "--heldout-images", "12", "--picture", picture, "--csv", table]
    done = CliRunner().invoke(app, [*asked.split(), *map(str, more)])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["method"], said["layer"]) == (found.best.name, found.best.layer or None)
    figures = {(r["method"], r["layer"]): r["ranking"] for r in said["ranking"]}
    for row in found.rows:
        assert figures[row.name, row.layer or None] == pytest.approx(row.figure, abs=1e-6)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert table.read_text().count("\n") == 1 + len(said["ranking"])


def test_it_prints_ranking_verdict_and_code(found):
    text = str(found)
    assert text.startswith(found.verdict)
    assert text.endswith(found.code())
    assert found.title in text
    assert found.verdict.partition(".")[0] in found._repr_html_()
