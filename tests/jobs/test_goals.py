"""The main job with several goals, and with a winner for each class."""

from __future__ import annotations

import ast
import json
import re

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

import sycam
from sycam.data.images import ImageSet
from sycam.export import export
from sycam.jobs.synthesis import synthesize
from sycam.methods.method import RIVALS
from sycam.report.html import write_report
from sycam.report.tables import result_tables, verdict
from sycam.runs.checking.derive import FRONT
from sycam.runs.file_names import RESULT_FILE
from sycam.runs.pictures import draw_front, draw_heldout
from sycam.runs.result import digest_of
from sycam.scoring.statistics import holm
from sycam.search.selection.per_class import MINIMUM

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


@pytest.fixture(scope="module")
def guided(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "guided"
    return run_with(folder, metric=["deletion", "iou"], budget=260, max_cost=2)


def test_no_member_of_the_front_is_beaten_in_all_goals(two):
    goals = two.record.goals
    assert goals.goals == ("deletion", "iou")
    assert goals.directions == (False, True)
    points = [(-m.figures[0], m.figures[1], -m.cost) for m in goals.members]
    assert len(points) > 1
    for i, one in enumerate(points):
        for j, other in enumerate(points):
            assert i == j or not np.all(np.array(other) >= np.array(one))
    assert [m.expression for m in goals.members] == [f.expression for f in two.front]
    assert goals.hypervolume > goals.hypervolume_known > 0


def test_each_figure_of_the_front_is_that_of_the_metric_alone(two, tmp_path):
    """Each goal searched alone, exactly, reaches what the front has under it."""
    goals = two.record.goals
    for i, metric in enumerate(("deletion", "iou")):
        alone = run_with(tmp_path / metric, metric=metric, mode="exact", select="argmax", heldout=8)
        assert alone.record.search.candidates == two.record.search.candidates
        known = {f.expression: f.score for f in (*alone.front, *alone.hall)}
        both = [m for m in goals.members if m.expression in known]
        assert both
        for member in both:
            assert member.figures[i] == pytest.approx(known[member.expression], abs=1e-9)
        best = min if metric == "deletion" else max
        assert best(m.figures[i] for m in goals.members) == pytest.approx(
            best(known.values()), abs=1e-9
        )


def test_the_offered_member_is_the_winner_and_the_other_goal_is_shown(two):
    assert two.record.goals.compromise == two.best.expression
    assert two.metric == "deletion"
    text = shown(two)
    assert "hypervolume" in text
    assert "iou on 36 held-out images (higher is better)" in text


def test_the_winner_is_tested_under_every_goal(two):
    """By hand: paired differences, and Holm over all methods and goals together."""
    validation = two.validation
    assert validation.goals == ("deletion", "iou")
    assert not {"deletion", "iou"} & validation.winner.panel.keys()  # both were optimised
    rivals = [row for row in validation.rows if row.against is not None]
    raw, corrected = [], []
    for goal, sign in (("deletion", -1), ("iou", 1)):
        winner = np.array(validation.winner.under(goal).scores)
        for row in rivals:
            found = row.under(goal)
            assert np.mean(found.scores) == pytest.approx(found.heldout.mean, abs=1e-6)
            difference = sign * (winner - np.array(found.scores))
            assert found.against.difference.mean == pytest.approx(difference.mean(), abs=1e-9)
            raw.append(found.against.p)
            corrected.append(found.against.p_holm)
    np.testing.assert_allclose(corrected, holm(raw))
    by_goal = {verdict.goal: verdict for verdict in validation.verdicts}
    ious = {r.name: r.under("iou").heldout.mean for r in rivals if r.kind in RIVALS}
    assert by_goal["iou"].best_published == max(ious, key=ious.get)
    assert by_goal["deletion"].beats_published == validation.beats_published
    assert shown(two).count("the best published CAM under") == 2
    page = write_report(two, two.path / "page.html").read_text()
    assert page.count("the best published CAM") >= 2
    assert "Leaderboard under iou" in page


def test_the_simplest_within_noise_under_every_goal_stands_beside_the_winner(guided):
    simple, best = guided.simplest, guided.best
    assert simple.cost <= best.cost
    assert guided.certificate.entered["simplified"] > 0
    claim = "Simplest within noise under every goal"
    assert claim in " ".join(verdict(guided).split())


def test_an_exported_class_says_its_figures_under_every_goal(two, tmp_path):
    document = ast.get_docstring(ast.parse(export(two, tmp_path / "cam.py").read_text()))
    assert "a compromise of deletion and iou" in document
    _, deletion, iou = re.split(r"Mean \S+ on 36 held-out images", document)
    for goal, part in (("deletion", deletion), ("iou", iou)):
        held = two.validation.winner.under(goal).heldout
        assert f"this class   {held.mean: .4f}" in part
        better = next(v for v in two.validation.verdicts if v.goal == goal).beats_published
        assert ("It is better there" in part) == better


@pytest.mark.slow
def test_proposals_beyond_the_bound_go_on_from_the_front(guided):
    """The guided phase and the constants, of two goals; and the whole can be derived again."""
    phases = guided.certificate.entered
    assert phases["guided"] > 50
    assert phases["constants"] > 0
    kinds = guided.record.search.guided["kinds"]
    assert sum(kind["improved"] for kind in kinds.values()) > 0
    front = guided.record.goals.members
    assert max(member.cost for member in front) > 2
    done = sycam.verify(guided.path, network=network(), images=images())
    assert done.holds, [c for c in done.checks if not c.holds]


@pytest.mark.slow
def test_guided_proposals_cover_more_than_cost_order(guided, two, tmp_path):
    """With as many candidates, a front of at least the volume; both from the same two goals."""
    exact = run_with(tmp_path / "exact", metric=["deletion", "iou"], mode="exact", budget=260,
                     max_cost=4)  # fmt: skip
    assert exact.record.search.candidates == guided.record.search.candidates
    volumes = [r.record.goals.hypervolume for r in (guided, exact)]
    assert volumes[0] > 0.98 * volumes[1]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.slow
def test_every_sampler_takes_several_goals(sampler, tmp_path):
    found = run_with(tmp_path, metric=["deletion", "iou"], budget=70, max_cost=1, sampler=sampler,
                     heldout=8)  # fmt: skip
    assert found.certificate.entered["guided"] > 20


def test_tampering_with_a_further_goal_is_found_out(two, tmp_path):
    for file in two.path.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    data = json.loads((tmp_path / RESULT_FILE).read_text())
    data["validation"]["rows"][1]["further"]["iou"]["against"]["p_holm"] = 1e-6
    data["validation"]["rows"][0]["further"]["iou"]["heldout"]["mean"] += 0.01
    data["digest"] = digest_of(data)
    (tmp_path / RESULT_FILE).write_text(json.dumps(data))
    done = sycam.verify(tmp_path, network=network(), images=images())
    found = "".join(c.found for c in done.checks)
    assert "validation.rows.1.further.iou.against.p_holm: stated 1e-06" in found
    assert "validation.rows.0.further.iou.heldout.mean" in found


def test_a_front_survives_saving_and_verifies(two):
    data = json.loads((two.path / RESULT_FILE).read_text())
    assert data["goals"]["members"] == json.loads(
        json.dumps(two.record.to_dict()["goals"]["members"])
    )
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
    classes = specialised.record.classes
    assert classes.overall == specialised.best.expression
    rows = classes.classes
    assert [row.label for row in rows] == [0, 1, 2]
    assert sum(row.search_images for row in rows) == 36
    assert sum(row.heldout_images for row in rows) == 36
    own = [row for row in rows if row.own]
    assert own
    assert all(row.search_images >= MINIMUM for row in own)
    assert classes.images == sum(row.heldout_images for row in own)
    # The winner of all is the mean of the classes' parts of its held-out scores.
    parts = [row.heldout_overall * row.heldout_images for row in rows]
    assert sum(parts) / 36 == pytest.approx(specialised.best.heldout.mean, abs=1e-6)
    gains = [r.gain.mean * r.heldout_images for r in own]
    assert classes.gain.mean == pytest.approx(sum(gains) / classes.images)
    for row in own:  # lower is better for deletion
        expected = row.heldout_overall - row.heldout
        assert row.gain.mean == pytest.approx(expected, abs=1e-9)


def test_nothing_is_dropped_where_classes_have_winners(specialised):
    search = specialised.record.search
    assert search.candidates - search.finished == search.ineligible


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
    assert "classes.classes.0.expression: stated" in "".join(c.found for c in done.checks)


# --- one metric --------------------------------------------------------------------------------


def test_the_fronts_best_have_held_out_figures_and_pictures(specialised, tmp_path):
    measured = specialised.front[-FRONT:]
    assert all(f.heldout.low <= f.heldout.mean <= f.heldout.high for f in measured)
    assert all(f.heldout is None for f in specialised.front[:-FRONT])
    for draw in (draw_front, draw_heldout):
        assert draw(specialised, tmp_path).read_bytes().startswith(PNG)
        assert draw(sycam.load(specialised.path), tmp_path).read_bytes().startswith(PNG)
