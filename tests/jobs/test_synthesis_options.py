"""The main job with other leaves, targets and layers than the default ones."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import sycam
from sycam.data import demo
from sycam.errors import OptionError, RunError, SycamError
from sycam.events import Note, Stage
from sycam.evidence import Cache
from sycam.export import export
from sycam.problem.images import demo_images
from sycam.report.pictures.explain import explain
from sycam.report.tables import verdict
from sycam.targets import Contrast, Logit, Similarity

FEW = {"search_images": 8, "heldout": 4, "budget": 24, "max_cost": 3, "metric": "iou"}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Measurements are kept in the test's folder, not the user's."""
    monkeypatch.setenv("SYCAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def search(tmp_path, events=None, **changes) -> sycam.Result:
    options = {"layer": demo.LAYER, "out": tmp_path / "run"} | FEW | changes
    notify = events.append if events is not None else lambda event: None
    return sycam.synthesize("demo", images="demo", notify=notify, **options)


def test_a_search_over_dear_leaves(tmp_path, own_cache):
    events = []
    result = search(tmp_path, events, grammar="perturbation")
    stages = [e.text for e in events if isinstance(e, Stage)]
    assert f"Measuring S at {demo.LAYER}" in stages
    assert f"Measuring D at {demo.LAYER}" in stages
    names = {row.name for row in result.published}
    assert {"score-cam", "ablation-cam", "grad-cam"} <= names
    assert "mi-cam" not in names  # nobody pays for a leaf that the grammar does not name
    assert len(list(own_cache.rglob("*.safetensors"))) == 2 * 12
    # Heatmaps of the reusable class, which measures for itself, score what the run reports.
    unseen = demo_images("heldout", 4, 0)
    cam = result.best.cam(demo.network(), demo.LAYER)
    hot = cam(unseen.images) >= 0.5
    both = (hot & unseen.masks).flatten(1).sum(1) / (hot | unseen.masks).flatten(1).sum(1)
    assert result.best.heldout.mean == pytest.approx(float(both.mean()), abs=1e-4)


def test_the_full_grammar_without_the_leaves_that_a_network_lacks(tmp_path):
    events = []
    result = search(tmp_path, events, grammar="full")
    notes = " ".join(e.text for e in events if isinstance(e, Note))
    assert "leaf C left out: no linear head follows" in notes
    assert result.best is not None
    assert {"mi-cam", "mi-grad-cam", "shapley-cam", "fem"} <= {r.name for r in result.published}


@pytest.mark.slow
def test_the_targets_of_a_run(tmp_path):
    by_text = search(tmp_path / "a", target="contrast:gamma=0.8", grammar="information")
    by_object = search(tmp_path / "b", target=Contrast(gamma=0.8), grammar="information")
    assert by_text.record.settings.target == "contrast:gamma=0.8"
    assert by_text.record.identity == by_object.record.identity
    assert by_text.best == by_object.best
    default = search(tmp_path / "c", grammar="information")
    assert default.record.settings.target == "predicted"
    assert default.record.identity != by_text.record.identity
    grad_cam = [r.validation.row("grad-cam").heldout.mean for r in (default, by_text)]
    assert grad_cam[0] != grad_cam[1]
    assert search(tmp_path / "d", target=3).record.settings.target == "3"
    for several in ([1, 2], Logit([1, 2]), Contrast(of=torch.tensor([1, 2]))):
        with pytest.raises(OptionError, match="one kind of target for all images"):
            search(tmp_path / "e", target=several)
    with pytest.raises(SycamError, match="did you mean 'predicted'"):
        search(tmp_path / "f", target="predict")


@pytest.mark.slow
def test_a_callable_is_what_metrics_watch(tmp_path):
    """Deletion of a margin between two classes: the margin itself is what must fall."""

    def margin(row: Tensor) -> Tensor:
        return row[3] - row[5]

    result = search(tmp_path, target=margin, metric="deletion")
    assert result.record.settings.target.startswith("callable ")
    unseen = demo_images("heldout", 4, 0)
    table = sycam.evaluate(
        "demo", demo.LAYER, unseen, [result.best.expression], ["deletion"], target=margin
    )
    reported = result.validation.winner.scores
    assert reported == pytest.approx(table.scores[result.best.expression, "deletion"], abs=1e-4)
    outputs = demo.network()(unseen.images)
    # With nothing removed the curve starts at the clean margin, with all removed it ends at that
    # of an empty image: its area lies between the extremes of such margins, not of probabilities.
    assert max(abs(s) for s in reported) > 1
    assert (outputs[:, 3] - outputs[:, 5]).abs().max() > 1


@pytest.mark.slow
def test_callables_of_one_source_are_told_apart(tmp_path):
    """A run once resumed another class's scores where only a closure differed."""

    def logit(index: int):
        return lambda row: row[index]

    one, other, again = (
        search(tmp_path / str(i), target=logit(c), budget=8) for i, c in enumerate((0, 1, 0))
    )
    assert one.record.identity != other.record.identity
    assert one.record.identity == again.record.identity
    with pytest.raises(RunError, match="another run"):
        search(tmp_path / "0", target=logit(1), budget=8)


def test_one_output_and_labels(tmp_path):
    """Labels 0 and 1 of a network with one output were once out of range."""

    class OneOutput(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = demo.network()

        def forward(self, images: Tensor) -> Tensor:
            outputs = self.body(images)
            return outputs[:, 5:6] - outputs[:, 3:4]

    scenes = demo_images("search", 12, 0)
    labels = [0, 1] * 6
    events = []
    table = sycam.evaluate(
        OneOutput().eval(),
        "body." + demo.LAYER,
        scenes.images,
        ["grad-cam"],
        "insertion",
        labels=labels,
        notify=events.append,
    )
    assert table.images == 12
    notes = " ".join(e.text for e in events if isinstance(e, Note))
    assert "its probability is the sigmoid" in notes
    assert "of these images correctly" in notes
    with pytest.raises(SycamError, match="one output, which is what target 'predicted' explains"):
        sycam.evaluate(
            OneOutput().eval(), "body." + demo.LAYER, scenes.images, "grad-cam", "insertion",
            labels=labels, target="label",
        )  # fmt: skip


def test_several_layers_in_a_run(tmp_path):
    layers = ["features.5", "features.8"]
    result = search(tmp_path, layer=layers, fusion="product")
    assert result.record.network.layers == tuple(layers)
    unseen = demo_images("heldout", 4, 0)
    cam = result.best.cam(demo.network(), layers, fusion="product")
    hot = cam(unseen.images) >= 0.5
    both = (hot & unseen.masks).flatten(1).sum(1) / (hot | unseen.masks).flatten(1).sum(1)
    assert result.best.heldout.mean == pytest.approx(float(both.mean()), abs=1e-4)
    assert explain(result, out=tmp_path / "pictures")
    with pytest.raises(SycamError, match="several layers"):
        export(result, tmp_path / "cam.py")


def test_an_interrupted_measurement_is_not_repeated(tmp_path, monkeypatch):
    written = []
    whole = Cache.write

    def stop(self, key, tensor):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(key)
        whole(self, key, tensor)

    monkeypatch.setattr(Cache, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, grammar="perturbation")
    monkeypatch.setattr(
        Cache, "write", lambda self, *args: (written.append(args[0]), whole(self, *args))
    )
    again = search(tmp_path, grammar="perturbation")
    assert len(written) == len(set(written)) == 2 * 12
    assert again.best is not None


class Encoder(nn.Module):
    """Features instead of classes, and ``(N, tokens, channels)`` inside."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 8, 8, stride=8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.block(self.patches(images).flatten(2).transpose(1, 2)).mean(1)


def test_a_transformer_that_returns_features(tmp_path):
    prompt = torch.randn(8, generator=torch.Generator().manual_seed(1))
    result = sycam.synthesize(
        Encoder().eval(),
        "block",
        demo_images("search", 20, 0),
        metric="insertion",
        budget=16,
        max_cost=2,
        search_images=8,
        heldout=8,
        target=Similarity(prompt),
        out=tmp_path / "run",
    )
    data = json.loads((tmp_path / "run" / "result.json").read_text())
    assert data["network"]["reshape"] == "tokens:prefix=0,grid=8x8"
    assert data["network"]["layer_note"] == "layer block: 64 tokens = 0 prefix + 8x8 grid"
    assert "callable Similarity" in data["settings"]["target"]
    assert {row.name for row in result.published} >= {"grad-cam", "layer-cam"}


def test_a_metric_of_other_classes_tells_the_score_from_its_size(tmp_path):
    """``y`` is positive on clean images, and negative for most other classes."""
    grammar = tmp_path / "signed.lark"
    grammar.write_text(
        '?start: weight\n?weight: "mean" "(" map ")" -> mean\n | scalar "*" weight -> mul\n'
        '?map: "G" -> gradients\n?scalar: "y" -> score\n%ignore " "\n'
    )
    found = {}
    for metric in ("iou", "class-sensitivity"):
        result = search(tmp_path / metric, grammar=str(grammar), metric=metric, max_cost=4)
        found[metric] = {formula.expression for formula in result.hall}
    assert found == {"iou": {"mean(G)"}, "class-sensitivity": {"mean(G)", "y * mean(G)"}}


@pytest.mark.slow
def test_a_search_in_bfloat16_is_validated_in_float32(tmp_path):
    options = {"metric": "average-drop", "search_images": 16, "heldout": 16}
    fast = search(tmp_path / "fast", precision="bfloat16", **options)
    slow = search(tmp_path / "slow", **options)
    assert fast.record.identity != slow.record.identity
    # Searched with fewer digits: the same scores within these, but not the same.
    found = {f.expression: f.score for f in fast.hall}
    shared = [(found[f.expression], f.score) for f in slow.hall if f.expression in found]
    assert len(shared) > 10
    assert any(a != b for a, b in shared)
    assert all(a == pytest.approx(b, abs=0.02) for a, b in shared)
    for row in fast.validation.rows:
        if row.kind == "published":
            assert row.heldout == slow.validation.row(row.name).heldout


def test_a_precision_that_is_not_known(tmp_path):
    with pytest.raises(OptionError, match="expected float32 or bfloat16"):
        search(tmp_path, precision="float16")


@pytest.mark.slow
def test_a_method_that_is_flat_on_all_images_leaves_no_figure_without_flat_maps(tmp_path):
    result = search(tmp_path, metric="road")
    assert result.best.known_as is None
    found = result.validation
    rows = [
        replace(row, sound=math.nan, degenerate=found.images if i == 1 else 0)
        for i, row in enumerate(found.rows)
    ]
    flat = replace(found, rows=tuple(rows), sound_images=0)
    said = verdict(replace(result, validation=flat))
    assert f"the map of some method compared is flat, as all maps of {rows[1].name} are" in said
    assert "nan" not in said


@pytest.mark.slow
def test_a_winner_that_ignores_the_class_is_no_explanation(tmp_path):
    """Of activations alone: the same heatmap whatever is explained, and whatever follows."""
    grammar = tmp_path / "blind.lark"
    grammar.write_text(
        '?start: weight\n?weight: "max" "(" map ")" -> max\n | "mean" "(" map ")" -> mean\n'
        '?map: "A" -> activations\n%ignore " "\n'
    )
    result = search(tmp_path, grammar=str(grammar), seed=1)
    assert result.best.known_as is None
    assert result.validation.winner.guards == {"class-sensitivity": 0.0, "randomisation": 1.0}
    class_blind, weight_blind = result.validation.concerns
    assert class_blind == "it hardly changes with the class explained (class-sensitivity 0.000)"
    assert weight_blind.startswith("it hardly changes with the network's weights")
    assert class_blind in verdict(result)
    assert verdict(search(tmp_path / "seeing", metric="road")).count("Do not trust") == 0


def test_a_callable_on_outputs_that_are_no_class_scores(tmp_path):
    """The guards of the held-out validation once died on them, after the whole budget."""

    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = demo.network()

        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return {"scores": self.body(images)}

    result = sycam.synthesize(
        Packed().eval(),
        "body." + demo.LAYER,
        demo_images("search", 12, 0).images,
        search_images=6,
        heldout=6,
        budget=6,
        metric="average-drop:kind=absolute",
        target=lambda row: row["scores"][5],
        out=tmp_path / "run",
    )
    assert result.best.heldout is not None
    assert "randomisation" in (tmp_path / "run" / "result.json").read_text()


def test_a_storage_is_opened_before_anything_is_measured(small_network, small_images, tmp_path):
    """It was opened after the whole enumeration, and in mode exact never."""
    seen = []
    for mode in ("exact", "race", "guided"):
        with pytest.raises(OptionError, match=r"'nosuchdb://me:[*]{3}@host/db' cannot be opened"):
            sycam.synthesize(
                small_network, "3", small_images, storage="nosuchdb://me:pw@host/db", mode=mode,
                notify=seen.append, out=tmp_path / "run",
            )  # fmt: skip
    assert not seen
    assert not (tmp_path / "run").exists()
