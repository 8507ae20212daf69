"""The table of export targets: what each can say, and what its reasons recommend."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from sycam.export import TARGETS, Winner, suggested_base
from sycam.export.target import classes
from sycam.language import parse
from sycam.runs.record import Settings

CLASSES, GRAPHS = {"torch", "grad-cam", "torchcam", "captum", "quantus"}, {"onnx", "torch-export"}


def winner_of(text, layers=("a",), fusion="mean", reshape=None, **settings) -> Winner:
    network = SimpleNamespace(layers=tuple(layers), fusion=fusion, reshape=reshape)
    asked = Settings(
        metric="road", metrics=("road",), metric_options={}, grammar="gradient", seed=0,
        precision="float32", search={}, **{"target": "predicted", **settings},
    )  # fmt: skip
    record = SimpleNamespace(network=network, settings=asked, adaptive=None)
    return Winner(SimpleNamespace(record=record), parse(text))


@pytest.mark.parametrize(
    ("winner", "able"),
    [
        (winner_of("mean(A) * C"), CLASSES | GRAPHS),
        (winner_of("mean(G)"), CLASSES),
        (winner_of("softmax(S)"), CLASSES),
        (winner_of("mean(G)", layers="ab"), {"grad-cam"}),
        (winner_of("A", layers="ab", fusion="max"), GRAPHS),
        (winner_of("mean(G)", reshape="tokens"), {"grad-cam", "torchcam"}),
        (winner_of("D", reshape="tokens"), set()),
        (winner_of("p * A", output="logits:sigmoid"), set()),
        (winner_of("y * A", output="logits:sigmoid"), CLASSES),
        (winner_of("y * A", target="contrast"), CLASSES),
    ],
)
def test_which_targets_can_say_a_formula(winner, able):
    found = {name for name, t in TARGETS.items() if t.supports(winner, TARGETS) is None}
    assert found == able


@pytest.mark.parametrize(
    ("winner", "base"),
    [
        (winner_of("mean(G)"), "torch"),
        (winner_of("cam[a](mean(G))", layers="ab"), "torch"),
        (winner_of("mean(G)", layers="ab"), "grad-cam"),
        (winner_of("mean(G)", reshape="tokens"), "grad-cam"),
        (winner_of("D", reshape="tokens"), None),
        (winner_of("cam[a](mean(G)) * cam[b](A)", layers="ab"), "torch"),
    ],
)
def test_only_a_base_that_can_say_the_winner_is_suggested(winner, base):
    result = winner.result
    result.best = SimpleNamespace(expression=str(winner.expression))
    assert suggested_base(result) == base


def test_a_reason_names_every_target_of_the_table_that_can():
    """A target that is added is recommended without an edit elsewhere."""
    captum = replace(TARGETS["captum"], name="other", several_layers=True, reshapes=True)
    table = {**TARGETS, "other": captum}
    said = {
        "bases 'grad-cam' and 'other' take several": ("captum", winner_of("A", layers="ab")),
        "bases 'grad-cam', 'torchcam' and 'other' have a": ("torch", winner_of("A", reshape="x")),
        "torch, grad-cam, torchcam, captum, quantus or other)": ("onnx", winner_of("mean(G)")),
    }
    for text, (base, winner) in said.items():
        assert text in str(TARGETS[base].supports(winner, table))


def test_every_target_says_what_it_is():
    assert set(classes(TARGETS)) == CLASSES
    for name, target in TARGETS.items():
        assert target.name == name
        assert target.suffix.startswith(".")
        assert target.summary
        assert target.writes_network == (name in GRAPHS)
        assert target.needs_sycam == (name not in CLASSES | GRAPHS)
