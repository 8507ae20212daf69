"""The table of export targets: what each can say, and what its reasons recommend."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from winners import winner_of

from sycam.export import TARGETS, suggested_base
from sycam.export.target import classes

CLASSES, GRAPHS = {"torch", "grad-cam", "torchcam", "captum", "quantus"}, {"onnx", "torch-export"}


@pytest.mark.parametrize(
    ("winner", "able"),
    [
        (winner_of("mean(A) * C", "a"), CLASSES | GRAPHS),
        (winner_of("mean(G)", "a"), CLASSES),
        (winner_of("softmax(S)", "a"), CLASSES),
        (winner_of("mean(G)", "ab"), {"grad-cam"}),
        (winner_of("A", "ab", fusion="max"), GRAPHS),
        (winner_of("mean(G)", "a", reshape="tokens"), {"grad-cam", "torchcam"}),
        (winner_of("D", "a", reshape="tokens"), set()),
        (winner_of("p * A", "a", output="logits:sigmoid"), set()),
        (winner_of("y * A", "a", output="logits:sigmoid"), CLASSES),
        (winner_of("y * A", "a", target="contrast"), CLASSES),
    ],
)
def test_which_targets_can_say_a_formula(winner, able):
    found = {name for name, t in TARGETS.items() if t.supports(winner, TARGETS) is None}
    assert found == able


@pytest.mark.parametrize(
    ("winner", "base"),
    [
        (winner_of("mean(G)", "a"), "torch"),
        (winner_of("cam[a](mean(G))", "ab"), "torch"),
        (winner_of("mean(G)", "ab"), "grad-cam"),
        (winner_of("mean(G)", "a", reshape="tokens"), "grad-cam"),
        (winner_of("D", "a", reshape="tokens"), None),
        (winner_of("cam[a](mean(G)) * cam[b](A)", "ab"), "torch"),
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
        "bases 'grad-cam' and 'other' take several": ("captum", winner_of("A", "ab")),
        "bases 'grad-cam', 'torchcam' and 'other' have a": (
            "torch",
            winner_of("A", "a", reshape="x"),
        ),
        "torch, grad-cam, torchcam, captum, quantus or other)": ("onnx", winner_of("mean(G)", "a")),
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
