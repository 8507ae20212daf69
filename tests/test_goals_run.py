"""The main job with several goals, and with a winner for each class."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

import sycam
from sycam.data.images import ImageSet
from sycam.report.console import result_tables
from sycam.report.run_pictures import draw_front, draw_heldout
from sycam.result import RESULT_FILE, digest_of
from sycam.search.per_class import MINIMUM
from sycam.synthesis import FRONT, synthesize

SIDE, CLASSES, PNG = 16, 3, b"\x89PNG"


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 64, 16),
        nn.ReLU(),
        nn.Linear(16, CLASSES),
    ).eval()


def images(count=75):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(count, 3, SIDE, SIDE, generator=generator)
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    masks[:, 4:12, 4:12] = True
    return ImageSet.from_arrays(pixels, torch.arange(count) % CLASSES, masks)


def run_with(out, **changes):
    options = {"budget": 60, "max_cost": 3, "search_images": 36, "heldout": 36} | changes
    return synthesize(network(), "1", images(), out=out, **options)


def shown(result):
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(result_tables(result))
    return console.export_text()


# --- several goals -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return run_with(tmp_path_factory.mktemp("runs") / "two", metric=["deletion", "iou"])


def test_no_member_of_the_front_is_beaten_in_all_goals(two):
    goals = two.record["goals"]
    assert goals["goals"] == ("deletion", "iou")
    assert goals["directions"] == (False, True)
    points = [(-m["figures"][0], m["figures"][1], -m["cost"]) for m in goals["members"]]
    assert len(points) > 1
    for i, one in enumerate(points):
        for j, other in enumerate(points):
            assert i == j or not np.all(np.array(other) >= np.array(one))
    assert [m["expression"] for m in goals["members"]] == [f.expression for f in two.front]
    assert goals["hypervolume"] > goals["hypervolume_known"] > 0


def test_each_figure_of_the_front_is_that_of_the_metric_alone(two, tmp_path):
    """Each goal searched alone, exactly, reaches what the front has under it."""
    goals = two.record["goals"]
    for i, metric in enumerate(("deletion", "iou")):
        alone = run_with(tmp_path / metric, metric=metric, mode="exact", select="argmax", heldout=8)
        assert alone.record["search"]["candidates"] == two.record["search"]["candidates"]
        known = {f.expression: f.score for f in (*alone.front, *alone.hall)}
        both = [m for m in goals["members"] if m["expression"] in known]
        assert both
        for member in both:
            assert member["figures"][i] == pytest.approx(known[member["expression"]], abs=1e-9)
        best = min if metric == "deletion" else max
        assert best(m["figures"][i] for m in goals["members"]) == pytest.approx(
            best(known.values()), abs=1e-9
        )


def test_the_offered_member_is_the_winner_and_the_other_goal_is_shown(two):
    assert two.record["goals"]["compromise"] == two.best.expression
    assert two.metric == "deletion"
    assert "iou" in two.validation.winner.panel
    text = shown(two)
    assert "hypervolume" in text
    assert "iou ↑" in text


def test_a_front_survives_saving_and_verifies(two):
    data = json.loads((two.path / RESULT_FILE).read_text())
    assert data["goals"]["members"] == json.loads(json.dumps(two.record["goals"]["members"]))
    done = sycam.verify(two.path, network=network(), images=images())
    assert done.holds, [c for c in done.checks if not c.holds]


@pytest.mark.parametrize("loaded", [False, True])
def test_the_front_is_drawn(two, loaded, tmp_path):
    result = sycam.load(two.path) if loaded else two
    assert draw_front(result, tmp_path).read_bytes().startswith(PNG)
    assert draw_heldout(result, tmp_path) is None
    assert "hypervolume" in shown(result)


# --- a winner for each class -------------------------------------------------------------------


@pytest.fixture(scope="module")
def specialised(tmp_path_factory):
    return run_with(
        tmp_path_factory.mktemp("runs") / "classes",
        metric="deletion",
        target="label",
        scope="per-class",
    )


def test_each_class_has_a_row_and_figures_of_its_own_images(specialised):
    classes = specialised.record["classes"]
    assert classes["overall"] == specialised.best.expression
    rows = classes["classes"]
    assert [row["label"] for row in rows] == [0, 1, 2]
    assert sum(row["search_images"] for row in rows) == 36
    assert sum(row["heldout_images"] for row in rows) == 36
    own = [row for row in rows if row["own"]]
    assert own
    assert all(row["search_images"] >= MINIMUM for row in own)
    assert classes["images"] == sum(row["heldout_images"] for row in own)
    # The winner of all is the mean of the classes' parts of its held-out scores.
    parts = [row["heldout_overall"] * row["heldout_images"] for row in rows]
    assert sum(parts) / 36 == pytest.approx(specialised.best.heldout.mean, abs=1e-6)
    gains = [r["gain"]["mean"] * r["heldout_images"] for r in own]
    assert classes["gain"]["mean"] == pytest.approx(sum(gains) / classes["images"])
    for row in own:  # lower is better for deletion
        expected = row["heldout_overall"] - row["heldout"]
        assert row["gain"]["mean"] == pytest.approx(expected, abs=1e-9)


def test_nothing_is_dropped_where_classes_have_winners(specialised):
    search = specialised.record["search"]
    assert search["candidates"] - search["finished"] == search["ineligible"]


def test_winners_of_classes_are_shown_and_verified(specialised):
    text = shown(specialised)
    assert "Best formula of each class" in text
    assert "A formula for each class gains" in text
    done = sycam.verify(specialised.path, network=network(), images=images())
    assert done.holds, [c for c in done.checks if not c.holds]


def test_a_tampered_winner_of_a_class_is_found_out(specialised, tmp_path):
    for file in specialised.path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    data = json.loads((tmp_path / RESULT_FILE).read_text())
    row = data["classes"]["classes"][0]
    row["expression"] = "sum(G)" if row["expression"] != "sum(G)" else "max(G)"
    data["digest"] = digest_of(data)
    (tmp_path / RESULT_FILE).write_text(json.dumps(data))
    done = sycam.verify(tmp_path, network=network(), images=images())
    assert "winners of the classes" in "".join(c.found for c in done.checks)


# --- one metric --------------------------------------------------------------------------------


def test_the_fronts_best_have_held_out_figures_and_pictures(specialised, tmp_path):
    measured = specialised.front[-FRONT:]
    assert all(f.heldout.low <= f.heldout.mean <= f.heldout.high for f in measured)
    assert all(f.heldout is None for f in specialised.front[:-FRONT])
    for draw in (draw_front, draw_heldout):
        assert draw(specialised, tmp_path).read_bytes().startswith(PNG)
        assert draw(sycam.load(specialised.path), tmp_path).read_bytes().startswith(PNG)
