"""A search for a choice image by image: found, used, verified, exported."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

import sycam
from sycam.data.images import ImageSet
from sycam.errors import BlankHeatmapWarning, OptionError, RunError, TrustError
from sycam.events import Note
from sycam.export import export
from sycam.report.html import write_report
from sycam.report.tables import result_tables
from sycam.runs.result import digest_of

METRIC = "road:percentiles=20+40+60+80"


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)
    ).eval()


def images():
    return torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))


OPTIONS = {"metric": METRIC, "budget": 16, "max_cost": 2, "search_images": 18, "heldout": 14}


def run(out, **changes):
    return sycam.synthesize(network(), "1", images(), out=out, **OPTIONS | {"adapt": 3} | changes)


@pytest.fixture(scope="module")
def notes():
    return []


@pytest.fixture(scope="module")
def finished(tmp_path_factory, notes):
    return run(tmp_path_factory.mktemp("runs") / "race", notify=notes.append)


def test_the_record_holds_it_and_is_read_back(finished):
    found = sycam.load(finished.path).record.adaptive
    assert found == finished.record.adaptive
    assert 2 <= len(found.members) <= 3
    assert [row.kind for row in found.rows] == ["choice", "winner", "rival", "published-choice"]
    assert found.images == sum(found.rows[0].taken) == 14
    assert set(found.published) <= {k.name for k in finished.record.search.known}


@pytest.fixture
def plain(finished):
    """A run that was not asked for it."""
    return replace(finished, record=replace(finished.record, adaptive=None))


def test_without_being_asked_for_nothing_of_it_is_on_record(plain):
    assert "adaptive" not in plain.to_dict()
    options = sycam.SearchOptions()
    assert "adapt" not in options.to_dict()
    assert sycam.SearchOptions.from_dict(options.to_dict()) == options


def test_the_price_is_said_before(notes):
    texts = [event.text for event in notes if isinstance(event, Note)]
    (said,) = [text for text in texts if "3 x 4 = 12 forward passes" in text]
    assert "road" in said


def test_a_metric_that_cannot_choose_is_refused_before_anything_is_written(tmp_path):
    masks = torch.ones(32, 8, 8)
    with pytest.raises(OptionError, match="'iou' compares with ground truth"):
        run(tmp_path / "run", metric="iou", masks=masks)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wrong", [1, 9, 2.5, "3"])
def test_another_number_of_formulas_is_refused(wrong):
    with pytest.raises(OptionError, match="adapt must be an integer from 2 to 8"):
        sycam.SearchOptions(adapt=wrong)


def test_it_is_the_same_choice_on_the_users_network(finished):
    """Chosen as on the held-out images, and each heatmap that of its formula."""
    adaptive, pixels = finished.adaptive(network()), images()[:9]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlankHeatmapWarning)
        maps = adaptive(pixels, batch=4)
        members = finished.record.adaptive.members
        each = torch.stack([sycam.CAM(network(), "1", text)(pixels) for text in members])
    torch.testing.assert_close(maps, each[adaptive.chosen, torch.arange(9)], rtol=0, atol=1e-5)
    half = sycam.evaluate(
        network(), "1", ImageSet.from_arrays(pixels), list(members),
        ["road:percentiles=40+80"], seed=finished.record.settings.seed,
    )  # fmt: skip
    scores = np.stack([half.scores[text, "road:percentiles=40+80"] for text in members])
    assert adaptive.chosen.tolist() == scores.argmax(0).tolist()
    assert adaptive.passes == finished.record.adaptive.passes


def test_classes_are_explained_as_asked(finished):
    adaptive, pixels = finished.adaptive(network()), images()[:6]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlankHeatmapWarning)
        second = adaptive(pixels, targets=2)
        chosen = adaptive.chosen
        each = adaptive(pixels, targets=[2] * 6)
        assert torch.equal(adaptive.chosen, chosen)
        torch.testing.assert_close(each, second)
        (third,) = adaptive(pixels[3:4], targets=torch.tensor([2]))
    torch.testing.assert_close(third, second[3], rtol=0, atol=1e-5)


def test_a_run_without_it_says_how_to_have_it(plain):
    with pytest.raises(RunError, match="adapt=3"):
        plain.adaptive(network())


def test_a_file_that_the_run_names_as_its_metric_is_not_imported(finished, tmp_path):
    file = tmp_path / "metric.py"
    file.write_text("raise SystemExit('it ran')")
    named = f"{file}:Mine"
    settings = replace(finished.record.settings, metric=named, metrics=(named,))
    forged = replace(finished, record=replace(finished.record, settings=settings))
    with pytest.raises(TrustError, match=r"metric\.py"):
        forged.adaptive(network())
    assert forged.adaptive(network(), metric=METRIC).passes == finished.record.adaptive.passes
    with pytest.raises(RunError, match="Python code"):
        export(forged, tmp_path / "adaptive.py", base="adaptive")


def test_it_is_derived_again(finished):
    done = sycam.verify(finished.path, network(), images())
    assert done.holds, done.checks


@pytest.mark.slow
def test_made_up_figures_are_told(finished, tmp_path):
    def forged(change):
        copy = tmp_path / change.__name__
        shutil.copytree(finished.path, copy)
        data = json.loads((copy / "result.json").read_text())
        change(data["adaptive"])
        data["digest"] = digest_of(data)
        (copy / "result.json").write_text(json.dumps(data))
        checks = sycam.verify(copy, network(), images()).checks
        return "".join(check.found for check in checks)

    def promise(found):
        found["rows"][0]["heldout"]["mean"] += 0.1

    def praise(found):
        found["scores"][0]["judged"] = [s + 0.05 for s in found["scores"][0]["judged"]]

    def another(found):
        found["members"].reverse()

    assert "adaptive.rows.0.heldout.mean" in forged(promise)
    assert "adaptive.scores.0.judged" in forged(praise)
    assert "adaptive.members.0" in forged(another)


@pytest.mark.slow
def test_in_exact_mode_the_scores_are_those_without_it(tmp_path):
    """Levels are looked at one by one, which changes nothing else."""
    plain = run(tmp_path / "plain", mode="exact", adapt=None)
    found = run(tmp_path / "found", mode="exact")
    assert found.hall == plain.hall
    assert found.validation == plain.validation
    assert found.record.adaptive.rows
    assert sycam.verify(found.path, network(), images()).holds


def test_terminal_and_page_show_it(finished):
    console = Console(width=400, file=io.StringIO())
    console.print(result_tables(finished))
    text, page = console.file.getvalue(), write_report(finished).read_text()
    found = finished.record.adaptive
    for shown in (text, page):
        assert "hosen image by image" in shown
        assert f"the best of {len(found.members)} on each image" in shown
        assert "every row judged by levels 1, 3 with other noise" in shown
    assert f"{found.rows[0].heldout.mean:.4f}" in text


def test_the_exported_class_chooses_alike_and_says_that_it_needs_sycam(finished, tmp_path):
    file = export(finished, tmp_path / "adaptive.py", "RoadChoice", base="adaptive")
    assert "This file needs SyCAM" in file.read_text()
    spec = importlib.util.spec_from_file_location("adaptive", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    exported, own = module.RoadChoice(network()), finished.adaptive(network())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlankHeatmapWarning)
        torch.testing.assert_close(exported(images()[:5]), own(images()[:5]))
    assert torch.equal(exported.chosen, own.chosen)


def test_a_run_without_it_exports_no_choice(plain, tmp_path):
    with pytest.raises(OptionError, match="no formulas to choose from"):
        export(plain, tmp_path / "adaptive.py", base="adaptive")
