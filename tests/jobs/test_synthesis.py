"""The main job, whole, on a small network: result, resume, determinism, refusals."""

from __future__ import annotations

import importlib.util
import json
import random

import pytest
import torch
from torch import nn

import sycam
from sycam.data.images import ImageSet
from sycam.errors import (
    DataError,
    GrammarError,
    LayerError,
    NetworkError,
    OptionError,
    RunError,
    SycamError,
    UnknownNameError,
)
from sycam.export import export
from sycam.grammar import load_grammar
from sycam.jobs.synthesis import synthesize
from sycam.search.events import Plan, Scored

SIDE, CLASSES = 16, 3


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


def images(count=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(count, 3, SIDE, SIDE, generator=generator)
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    masks[:, 4:12, 4:12] = True
    return ImageSet.from_arrays(pixels, torch.arange(count) % CLASSES, masks)


def run_with(out, layer="1", image_set=None, net=None, **changes):
    options = {
        "metric": "deletion", "budget": 40, "max_cost": 3, "search_images": 20, "heldout": 30,
        "out": out,
    } | changes  # fmt: skip
    return synthesize(net or network(), layer, image_set or images(), **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run_with(tmp_path_factory.mktemp("runs") / "one")


def test_the_winner_is_what_its_scores_say(finished):
    best = finished.best
    assert best.score == pytest.approx(sum(best.scores) / len(best.scores))
    assert finished.validation.winner.expression == best.expression
    assert best.heldout.low <= best.heldout.mean <= best.heldout.high
    # Lower is better for deletion: within one standard error, nothing is far ahead.
    assert best.score <= min(f.score for f in finished.hall) + 0.02
    assert {r.name for r in finished.published} >= {"grad-cam", "hirescam", "random-weights"}
    assert set(finished.validation.winner.panel) == {
        "road", "insertion", "iou", "energy-pointing-game",
    }  # fmt: skip


def test_scores_in_the_result_are_those_of_a_fresh_evaluation(finished):
    # The images the run held out are found again by the same split.
    from sycam.problem.images import divide

    _, unseen = divide(images(), 30, 20, 0, False)
    table = sycam.evaluate(
        network(), "1", unseen, [finished.best.expression, "grad-cam"], ["deletion", "iou"]
    )
    cell = table.cells[finished.best.expression, "deletion"]
    assert cell.mean == pytest.approx(finished.best.heldout.mean, abs=1e-6)
    assert cell.low == pytest.approx(finished.best.heldout.low, abs=1e-6)
    row = finished.validation.row("grad-cam")
    assert table.cells["grad-cam", "iou"].mean == pytest.approx(row.panel["iou"], abs=1e-6)


def test_a_result_is_read_back_as_it_was_written(finished):
    again = sycam.load(finished.path)
    written = json.loads((finished.path / "result.json").read_text())
    assert json.loads(json.dumps(again.to_dict())) == written
    assert again.best == finished.best
    assert again.front == finished.front
    assert again.validation == finished.validation


def test_the_exported_class_agrees_with_the_engine(finished, tmp_path):
    path = export(finished, tmp_path / "my_cam.py", "MyCAM")
    spec = importlib.util.spec_from_file_location("my_cam", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert "import sycam" not in path.read_text()
    assert finished.best.expression in module.__doc__
    net, pixels = network(), images().images
    with module.MyCAM(net, "1") as cam:
        assert torch.allclose(cam(pixels), finished.best.cam(net, "1")(pixels), atol=1e-5)


def journal(path):
    """The journal's records without their times and checksums."""
    lines = (path / "scores.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [{k: v for k, v in r.items() if k not in ("time", "check")} for r in records]


def test_an_interrupted_run_resumes_to_the_same_end(finished, tmp_path):
    class StopError(Exception):
        pass

    done = []

    def interrupt(event):
        if isinstance(event, Scored) and event.scored >= 16:
            done.append(event.scored)
            raise StopError

    with pytest.raises(StopError):
        run_with(tmp_path / "two", notify=interrupt)
    with pytest.raises(RunError, match="has not finished"):
        sycam.load(tmp_path / "two")
    resumed = run_with(tmp_path / "two")
    # Published CAMs that are candidates, too, are on record before they enter.
    assert done[0] <= resumed.record.search.resumed <= done[0] + len(finished.record.search.known)
    assert resumed.best == finished.best
    assert resumed.validation == finished.validation
    assert journal(tmp_path / "two") == journal(finished.path)


def test_a_larger_budget_continues_a_finished_run(finished, tmp_path):
    run_with(tmp_path / "three", budget=16)
    grown = run_with(tmp_path / "three")
    assert 16 <= grown.record.search.resumed <= 16 + len(grown.record.search.known)
    assert grown.best == finished.best


def test_neither_the_order_of_images_nor_the_batch_changes_the_outcome(finished, tmp_path):
    shuffled = images().subset(torch.randperm(60).tolist())
    again = run_with(tmp_path / "four", image_set=shuffled)
    assert again.best.expression == finished.best.expression
    assert again.best.heldout.mean == pytest.approx(finished.best.heldout.mean, abs=1e-5)


def test_the_network_is_left_as_it_was(tmp_path):
    net = network().train()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    run_with(tmp_path / "run", net=net, budget=8)
    assert net.training
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())


def test_the_plan_says_what_will_be_done_before_it_is_done(tmp_path):
    events = []
    run_with(tmp_path / "run", notify=events.append)
    kinds = [type(e) for e in events]
    assert kinds.index(Plan) < kinds.index(Scored)
    plan = events[kinds.index(Plan)]
    assert (plan.reachable, plan.images, plan.passes) == (40, 20, 19)
    assert list(plan.trees) == load_grammar("gradient").tree_counts(3)
    scored = [e for e in events if isinstance(e, Scored)]
    assert scored[-1].scored == 40


def test_the_whole_space_to_the_cost_bound_is_reported_complete(tmp_path):
    result = run_with(tmp_path / "run", budget=1000, max_cost=2, metric="iou", mode="exact")
    assert result.record.search.complete_cost == 2
    assert result.record.search.stopped == "cost bound"
    levels = result.record.search.levels
    assert sum(level.candidates for level in levels) == result.record.search.candidates


def test_a_budget_that_ends_inside_the_last_batch_leaves_the_level_incomplete(tmp_path):
    """The level was reported complete, and the run stopped by its cost bound."""
    options = {"max_cost": 2, "mode": "exact"}
    whole = run_with(tmp_path / "whole", budget=1000, **options).record.search
    short = run_with(tmp_path / "short", budget=whole.candidates - 1, **options)
    assert short.record.search.candidates == whole.candidates - 1
    assert (short.record.search.complete_cost, short.record.search.stopped) == (
        1,
        "budget",
    )


def test_target_label_explains_the_label(tmp_path):
    result = run_with(tmp_path / "run", budget=8, target="label")
    assert result.record.settings.target == "label"


REFUSED = {
    "metric": ({"metric": "raod"}, UnknownNameError, "did you mean 'road'"),
    "grammar": ({"grammar": "gradeint"}, UnknownNameError, "did you mean 'gradient'"),
    "grammar file": ({"grammar": "none.lark"}, GrammarError, "cannot read"),
    "layer": ({"layer": "11"}, UnknownNameError, "did you mean '1'"),
    "flat layer": ({"layer": "2"}, LayerError, "no places"),
    "budget": ({"budget": "soon"}, OptionError, "90s"),
    "max_cost": ({"max_cost": 0}, OptionError, "an integer from 1 to 64"),
    "few images": ({"search_images": 50, "heldout": 30}, DataError, "60"),
    "target": ({"target": "truth"}, UnknownNameError, "predicted"),
    "class": ({"target": 7}, DataError, "out of range"),
    "device": ({"device": "tpu"}, OptionError, "cannot be used"),
    "seed": ({"seed": "x"}, OptionError, "integer"),
    "heldout": ({"heldout": 1}, OptionError, "at least 2"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_bad_input_is_refused_in_one_clear_message_and_leaves_nothing(case, tmp_path):
    changes, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words):
        run_with(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_networks_that_are_no_classifiers_are_refused(tmp_path):
    class Tuple(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return self.net(x), x

    with pytest.raises(NetworkError, match="returned tuple"):
        run_with(tmp_path / "a", net=Tuple(), layer="net.1")
    spatial = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with pytest.raises(NetworkError, match="expected"):
        run_with(tmp_path / "b", net=spatial)
    broken = network()
    with torch.no_grad():
        broken[0].weight.fill_(float("nan"))
    with pytest.raises(SycamError, match="NaN"):
        run_with(tmp_path / "c", net=broken)


def test_masks_are_asked_for_where_the_metric_needs_them(tmp_path):
    bare = ImageSet.from_arrays(images().images)
    with pytest.raises(DataError, match="needs ground-truth masks"):
        run_with(tmp_path / "run", image_set=bare, metric="iou")


def test_the_demo_may_be_validated_on_other_images():
    """Regression: any held-out set beside the demo's images was refused as too small."""
    from sycam.problem.images import demo_images, divide

    unseen = demo_images("heldout", 3, 1)
    searched, rest = divide("demo", unseen, 4, 0, True)
    assert (len(searched), rest) == (4, unseen)


def test_a_folder_of_something_else_or_of_another_run_is_refused(finished, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="other files"):
        run_with(tmp_path)
    with pytest.raises(RunError, match="holds another run"):
        run_with(finished.path, seed=1)
    assert sycam.load(finished.path).best == finished.best


def test_a_damaged_result_is_named(finished, tmp_path):
    text = (finished.path / "result.json").read_text()
    (tmp_path / "result.json").write_text(text[: len(text) // 2])
    with pytest.raises(RunError, match="damaged"):
        sycam.load(tmp_path)


def mutated(value, draw: random.Random, depth: int = 0):
    """A result with one of its entries lost, replaced or moved."""
    if isinstance(value, dict) and value and (depth < 1 or draw.random() < 0.8):
        key = draw.choice(sorted(value))
        if draw.random() < 0.2:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: mutated(value[key], draw, depth + 1)}
    if isinstance(value, list) and value and draw.random() < 0.7:
        i = draw.randrange(len(value))
        return [*value[:i], mutated(value[i], draw, depth + 1), *value[i + 1 :]]
    return draw.choice([None, [], {}, "", "mean(G", -1, 1e308, True, [[]], {"a": 1}])


def test_a_damaged_result_is_a_result_or_a_refusal(finished, tmp_path):
    """Whatever stands in the file: text is read, nothing is run, no traceback from the depths."""
    data = json.loads((finished.path / "result.json").read_text())
    draw, refused = random.Random(0), 0
    whole = json.dumps(data)
    for turn in range(300):
        text = json.dumps(mutated(data, draw))
        if turn % 10 == 0:
            i = draw.randrange(len(whole))
            text = whole[:i] + draw.choice(["", "}", "\x00", "\udc00", "["]) + whole[i + 1 :]
        (tmp_path / "result.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            found = sycam.load(tmp_path)
            if found.best is not None:
                found.best.latex  # noqa: B018 - parses the expression
        except SycamError:
            refused += 1
    assert 0 < refused < 300
