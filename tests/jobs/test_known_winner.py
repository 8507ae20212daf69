"""Published CAMs that are expressions may win: a run never answers worse than what it knew."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch

import sycam
from sycam.errors import UnknownNameError
from sycam.events import Note
from sycam.export import export
from sycam.grammar import load_grammar
from sycam.methods import METHODS
from sycam.methods.method import PUBLISHED, RIVALS
from sycam.problem.images import demo_images
from sycam.report.html.page import write_report
from sycam.report.tables import verdict

SEARCH = {"search_images": 16, "heldout": 16, "mode": "exact", "allow": "class-agnostic"}
ONE = "features"  # the layer that a search of one takes
NOTHING_NEW = {"max_cost": 1, "budget": 2}  # A and G, which is HiResCAM


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A run that scored too little to come near the published CAMs."""
    said = []
    out = tmp_path_factory.mktemp("known") / "run"
    result = sycam.synthesize(
        "demo", ONE, "demo", metric="iou", out=out, notify=said.append, **SEARCH, **NOTHING_NEW
    )
    return result, [event.text for event in said if isinstance(event, Note)]


def test_where_no_new_formula_is_ahead_the_answer_is_the_published_cam(known):
    result, said = known
    name = result.best.known_as
    assert METHODS[name].kind == PUBLISHED
    assert result.best.expression == str(METHODS[name].expression)
    assert result.best_new.expression == "A"
    assert result.best_new.known_as is None
    assert any(f"no new formula is ahead of {name}" in text for text in said)
    (layer,) = result.record.network.layers
    assert f"No new formula is ahead; use {name} at {layer}[/]:" in verdict(result)
    page = write_report(result).read_text(encoding="utf-8")
    assert f"No new formula is ahead; use {name} at {layer}:" in page


def test_the_best_known_is_what_the_search_images_choose_computed_directly_or_not(known):
    result, _ = known
    rivals = [row for row in result.validation.rows if row.kind in RIVALS]
    best, found = max(rivals, key=lambda row: row.search), result.best_known
    assert (found.name, found.kind, found.score) == (best.name, best.kind, best.search)
    assert found.name == result.validation.chosen_published
    assert found.heldout == best.heldout
    assert found.layers == result.record.network.layers
    direct = result.known("kpca-cam")
    assert direct.expression is None
    network = sycam.networks.open_network("demo").module
    images = demo_images("heldout", 2, 0).images
    theirs = sycam.CAM(network, found.layers[0], "kpca-cam")(images)
    assert torch.equal(direct.cam(network)(images), theirs)
    with pytest.raises(UnknownNameError, match="did you mean 'eigen-cam'"):
        result.known("eigen-cma")


def test_a_baseline_that_leads_on_the_search_images_is_named(known):
    result, _ = known
    search = result.record.search
    ahead = [replace(k, score=0.9) if k.name == "kpca-cam" else k for k in search.known]
    led = replace(result, record=replace(result.record, search=replace(search, known=tuple(ahead))))
    assert led.best_known.name == "kpca-cam"
    said = " ".join(verdict(led).split())
    assert "kpca-cam, computed directly, has the best mean on the search images, 0.9000" in said


def test_the_answer_has_the_figures_of_the_published_cam_and_the_new_formula_stands_beside(known):
    result, _ = known
    rows = {row.kind: row for row in result.validation.rows if row.kind in ("winner", "new")}
    published = result.validation.row(result.best.known_as)
    assert rows["winner"].scores == published.scores
    assert rows["winner"].guards == published.guards
    assert published.against.difference.mean == 0
    assert rows["new"].name == "A"
    lead = np.mean(rows["winner"].scores) - np.mean(rows["new"].scores)
    assert rows["new"].against.difference.mean == pytest.approx(lead)
    assert not result.validation.beats_published


@pytest.mark.slow
def test_under_the_highest_mean_the_answer_is_the_best_of_all_on_the_search_images(tmp_path):
    result = sycam.synthesize(
        "demo", ONE, "demo", metric="iou", out=tmp_path, select="argmax", **SEARCH, **NOTHING_NEW
    )
    published = {r.name: r.search for r in result.validation.rows if r.kind == PUBLISHED}
    assert result.best.known_as == max(published, key=published.get)
    assert result.best.score == published[result.best.known_as] > result.best_new.score


def test_what_shows_the_same_for_every_class_is_no_answer_unless_allowed(tmp_path):
    said, out = [], tmp_path / "run"
    asked = SEARCH | NOTHING_NEW | {"allow": (), "select": "argmax"}
    result = sycam.synthesize(
        "demo",
        ONE,
        "demo",
        metric="iou",
        out=out,
        notify=said.append,
        guess="smooth(A)",
        **asked,
    )
    agnostic = {"A", "smooth(A)", str(METHODS["fem"].expression)}
    scored = {formula.expression for formula in result.hall}
    assert "smooth(A)" in scored  # it is scored, and shown
    assert result.best.expression not in agnostic
    assert result.best_new is None  # else there is G, which is HiResCAM
    (told,) = [e.text for e in said if isinstance(e, Note) and "whatever is explained" in e.text]
    assert "smooth(A)" in told
    assert "allow=['class-agnostic']" in told
    done = sycam.verify(out)
    assert done.holds, [check for check in done.checks if not check.holds]


def test_where_the_grammar_knows_of_no_class_nothing_is_refused(tmp_path):
    forward_only = load_grammar("gradient").without({"gradients"})
    result = sycam.synthesize(
        "demo", ONE, "demo", metric="iou", grammar=forward_only, out=tmp_path / "run",
        **SEARCH | NOTHING_NEW | {"allow": ()},
    )  # fmt: skip
    assert result.best_new.expression == "A"


def test_it_is_read_back_verified_exported_and_used_like_any_other(known, tmp_path):
    result, _ = known
    again = sycam.load(result.path)
    assert again.best == result.best
    assert again.best_new == result.best_new
    done = sycam.verify(result.path)
    assert done.holds, [check for check in done.checks if not check.holds]
    file = tmp_path / "known_cam.py"
    export(result, file, "KnownCAM")
    spec = importlib.util.spec_from_file_location("known_cam", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = sycam.networks.open_network("demo").module
    layer = result.record.network.layers[0]
    images = demo_images("heldout", 3, 0).images
    ours = sycam.CAM(network, layer, result.best.known_as)(images)
    with module.KnownCAM(network, layer) as cam:
        torch.testing.assert_close(cam(images), ours, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_requirement_that_only_published_cams_fail_leaves_them_out(known, tmp_path):
    free, _ = known
    bound = sycam.synthesize(
        "demo", ONE, "demo", metric="iou", out=tmp_path,
        require=["class-sensitivity>0.3"], **SEARCH, **NOTHING_NEW,
    )  # fmt: skip
    guard = bound.validation.winner.guards["class-sensitivity"]
    assert guard > 0.3
    assert free.best.expression != bound.best.expression
    assert free.best.expression in {r.expression for r in bound.record.refused}
