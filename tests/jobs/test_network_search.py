"""Whole runs over the layers of a network: what wins, against whom, and that it can be derived."""

from __future__ import annotations

import csv
import importlib.util
import re
from dataclasses import replace

import pytest
import torch
from torch import nn

import sycam
from sycam.data.images import ImageSet
from sycam.errors import OptionError
from sycam.evidence import find_sites
from sycam.export import export
from sycam.language import parse
from sycam.methods import find_method
from sycam.methods.method import ANSWERS
from sycam.problem.request import Request
from sycam.report.pictures.explain import columns_of


def network():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 3),
    ).eval()  # fmt: skip


def images(count=24):
    generator = torch.Generator().manual_seed(0)
    return ImageSet.from_arrays(torch.randn(count, 3, 16, 16, generator=generator))


@pytest.mark.parametrize(("metric", "tried"), [("iou", True), ("road", False)])
def test_regions_of_other_sizes_are_tried_where_the_metric_sees_them(tmp_path, metric, tried):
    """They order the places alike, which is all that ROAD sees."""
    shown = images(16)
    masks = torch.zeros(16, 16, 16, dtype=torch.bool)
    masks[:, 2:14, 1:15] = True
    found = sycam.synthesize(
        network(), "auto", ImageSet.from_arrays(shown.images, masks=masks), metric, budget=40,
        search_images=8, heldout=8, report=False, out=tmp_path,
    )  # fmt: skip
    with (tmp_path / "candidates.csv").open() as file:
        first = [row for row in csv.DictReader(file) if row["phase"] == "combined"]
    reshaped = [row["expression"].startswith(("symsqrt(", "square(")) for row in first]
    assert any(reshaped) is tried
    if tried:
        assert found.best.expression.startswith("symsqrt(")


def test_the_layers_of_a_network_are_found_one_per_resolution():
    assert [layer.name for layer in find_sites(network(), images().images[:4])] == ["7", "4", "1"]


def test_what_the_layers_take_is_said():
    (deepest, *_) = find_sites(network(), images().images[:4])
    room = 2 * 4 * (8 * 4 * 4 + 8 * 8 * 8 + 6 * 16 * 16) / 2**20
    assert f"take {room:.3g} MiB per image" in deepest.note


def test_layers_that_find_no_room_are_left_out_the_finest_first():
    """A million images would take 16.6 GiB at the three, 4.9 without the finest."""
    sites = find_sites(network(), images().images[:4], count=1_000_000)
    assert [layer.name for layer in sites] == ["7", "4"]
    assert "left out: 1, with which 1000000 images would take more than 16 GiB" in sites[0].note


def test_a_layer_with_a_channel_per_class_is_not_searched():
    """Behind global average pooling its gradients are constant, and all formulas coincide."""
    torch.manual_seed(3)
    pooled = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(),
        nn.Conv2d(8, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).eval()  # fmt: skip
    names = [layer.name for layer in find_sites(pooled, images().images[:4])]
    assert names[0] == "3"


@pytest.mark.parametrize(
    ("layer", "grammar"),
    [("auto", "network"), (["auto"], "network"), ("4", "gradient"), ("last", "gradient"),
     (["4", "1"], "gradient")],
)  # fmt: skip
def test_unless_layers_are_named_the_whole_network_is_searched(layer, grammar):
    assert Request(network(), layer, images()).space().name == grammar


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return sycam.synthesize(
        network(), "auto", images(), "deletion", mode="exact", max_cost=2, budget="5m",
        search_images=14, heldout=10, out=tmp_path_factory.mktemp("runs") / "network",
    )  # fmt: skip


def test_published_cams_stand_at_every_layer(run):
    names = {row.name for row in run.validation.rows}
    for site in ("7", "4", "1"):
        assert {f"grad-cam@{site}", f"layer-cam@{site}", f"eigen-cam@{site}"} <= names
    assert "fullgrad" in names  # which looks at the whole network, once
    assert "fullgrad@7" not in names
    assert run.record.network.layers == ("7", "4", "1")


def test_blurred_published_cams_stand_beside_them_at_every_layer(run):
    blurred = {row.name for row in run.validation.rows if row.kind == "blurred"}
    for site in ("7", "4", "1"):
        assert {f"blurred-grad-cam@{site}", f"blurred-layer-cam@{site}"} <= blurred


def test_the_rival_is_the_best_at_any_layer_by_the_search_images(run):
    """However it stands at the layer of the winner, or at the deepest."""
    rivals = [k for k in run.record.search.known if k.kind in ("published", "blurred", "baseline")]
    best = min(rivals, key=lambda known: known.score)  # deletion: lower is better
    assert run.validation.chosen_published == best.name
    verdict = run.validation.verdicts[0]
    assert verdict.chosen_published == best.name
    held_out = {row.name: row.heldout.mean for row in run.published if row.kind != "control"}
    assert verdict.best_published == min(held_out, key=held_out.get)


def test_the_best_known_is_told_with_its_layer(run):
    best = run.best_known
    assert best.name == run.validation.chosen_published
    _, _, site = best.name.partition("@")
    assert best.layers == ((site,) if site else ("7", "4", "1"))
    assert run.known("layer-cam@4").place == "layer-cam at 4"
    assert run.known("fullgrad").place == "fullgrad at 7, 4, 1"
    shown = images(2).images
    theirs = sycam.CAM(network(), "4", "kpca-cam")(shown)
    assert torch.equal(run.known("kpca-cam@4").cam(network())(shown), theirs)


def test_every_candidate_names_its_layer_and_the_winner_can_be_used(run):
    assert {f.expression.partition("](")[0] for f in run.hall} <= {"cam[7", "cam[4", "cam[1"}
    maps = run.best.cam(network())(images(4).images)
    assert maps.shape == (4, 16, 16)


def test_a_published_cam_at_another_layer_is_found_as_the_rival(run):
    """The best of all layers, not of the one that --layer auto would take for one formula."""
    published = [k for k in run.record.search.known if k.kind == "published"]
    best = min(published, key=lambda known: known.score)  # lower is better for deletion
    assert run.validation.chosen_published in {
        k.name for k in run.record.search.known if k.score <= best.score + 1e-9
    }
    assert len({k.name.partition("@")[2] for k in published}) == 3


def exported(run, path, formula):
    """The class that is exported of a run whose winner is the formula."""
    best = replace(run.best, expression=formula)
    file = export(replace(run, best=best), path / "best.py", "Best")
    spec = importlib.util.spec_from_file_location("best", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Best


@pytest.mark.parametrize("formula", [None, "maximum(cam[4](G), 0.5 * smooth(cam[4](A)))"])
def test_a_winner_of_one_layer_is_exported_as_its_formula_there(formula, run, tmp_path):
    formula = formula or run.best.expression
    (site,) = parse(formula).sites
    net, pixels = network(), images(4).images
    maps = exported(run, tmp_path, formula)(net, site)(pixels)
    torch.testing.assert_close(maps, sycam.CAM(net, formula)(pixels), rtol=0, atol=1e-5)


def test_a_winner_of_several_layers_is_exported(run, tmp_path):
    formula = "cam[7](G) * smooth(cam[1](mean(G)))"
    net, pixels = network(), images(4).images
    maps = exported(run, tmp_path, formula)(net)(pixels)
    torch.testing.assert_close(maps, sycam.CAM(net, formula)(pixels), rtol=0, atol=1e-5)
    document = (tmp_path / "best.py").read_text()
    assert f"Best: class activation maps by {formula}" in document
    assert "Mean deletion on 10 held-out images" in document
    several = replace(run.best, expression=formula)
    with pytest.raises(OptionError, match=r"leaf G is a gradient.*export a class"):
        export(replace(run, best=several), tmp_path / "several.onnx", base="onnx", network=net)
    assert not (tmp_path / "several.onnx").exists()


def test_pictures_show_grad_cam_at_the_deepest_layer(run):
    """It was drawn as the mean of all layers, which nobody uses."""
    assert list(columns_of(run))[:2] == [run.best.expression, "grad-cam@7"]


def test_it_can_be_derived_again(run):
    done = sycam.verify(run.path, network(), images())
    assert done.holds, [check for check in done.checks if not check.holds]


def test_what_combines_leading_published_cams_is_scored_before_the_enumeration(tmp_path):
    out = tmp_path / "run"
    result = sycam.synthesize(
        network(), ["7", "1"], images(), "deletion", "network", budget=3, search_images=12,
        heldout=6, out=out,
    )  # fmt: skip
    assert result.certificate.entered == {"combined": 2, "exhaustive": 1}
    leaders = {}
    for row in sorted(result.validation.rows, key=lambda row: row.search):  # lower is better
        if row.kind in ANSWERS:
            layer = row.name.partition("@")[2]
            leaders.setdefault(layer, find_method(row.name).expression)
    one, other = leaders.values()
    scored = (out / "scores.jsonl").read_text()
    assert any(f'"{a} * {b}"' in scored for a, b in ((one, other), (other, one)))
    done = sycam.verify(out, network(), images())
    assert done.holds, [check for check in done.checks if not check.holds]


@pytest.mark.slow
def test_a_combination_is_simplified_where_the_enumeration_does_not_end(tmp_path):
    """It costs more than what was enumerated, and so do its simpler forms."""
    out = tmp_path / "run"
    result = sycam.synthesize(
        network(), ["7", "1"], images(), "deletion", "network", budget=40, search_images=12,
        heldout=6, out=out,
    )  # fmt: skip
    assert result.certificate.stopped == "budget"
    assert result.certificate.entered == {
        "combined": 2, "exhaustive": 18, "guided": 16, "constants": 2, "simplified": 2,
    }  # fmt: skip
    done = sycam.verify(out, network(), images())
    assert done.holds, [check for check in done.checks if not check.holds]


def test_the_enumeration_leaves_half_of_the_budget_to_proposals(tmp_path):
    """Of several layers there are more formulas of one layer than any budget reaches: proposals
    from what leads, which win, came after them and so never."""
    out = tmp_path / "run"
    result = sycam.synthesize(
        network(), ["7", "1"], images(), "deletion", "network", budget=25, search_images=12,
        heldout=6, out=out,
    )  # fmt: skip
    entered = result.certificate.entered
    # Of 25 a twentieth is kept for simpler forms, and two combinations came before: half of 21.75.
    assert entered["exhaustive"] == 11
    assert entered["guided"] == 10  # a tenth is kept for constants and simpler forms
    assert "guided" in (out / "candidates.csv").read_text()
    # It had looked further ahead, and what it saw there decides which expression stands for a
    # class: a search that is played again looks as far.
    assert result.certificate.enumerated > 11
    done = sycam.verify(out, network(), images())
    assert done.holds, [check for check in done.checks if not check.holds]


@pytest.mark.slow
def test_a_search_in_a_time_is_played_again_after_proposals_took_over(tmp_path):
    out = tmp_path / "run"
    result = sycam.synthesize(
        network(), ["7", "1"], images(), "deletion", "network", budget="25s", search_images=12,
        heldout=6, out=out,
    )  # fmt: skip
    assert result.certificate.entered["guided"] > 0
    done = sycam.verify(out, network(), images())
    assert done.holds, [check for check in done.checks if not check.holds]


@pytest.mark.slow
def test_products_of_layers_are_proposed_beyond_the_cost_bound(tmp_path):
    out = tmp_path / "run"
    sycam.synthesize(
        network(), ["7", "1"], images(), "deletion", "network", mode="guided", max_cost=2,
        budget=24, search_images=12, heldout=6, out=out,
    )  # fmt: skip
    scored = (out / "scores.jsonl").read_text()
    assert re.search(r'"cam\[\d\]\([^"]*\) \* cam\[\d\]\(', scored)
    assert re.search(r'"cam\[1\]\([^"]*\) \+ cam\[7\]\(|"cam\[7\]\([^"]*\) \+ cam\[1\]\(', scored)


def test_one_layer_alone_is_named_too(tmp_path):
    result = sycam.synthesize(
        network(), "4", images(), "deletion", "network", mode="exact", max_cost=2,
        search_images=12, heldout=6, out=tmp_path / "run",
    )  # fmt: skip
    assert all(f.expression.startswith("cam[4](") for f in result.hall)
