"""A grammar at several layers: each formula of one layer at each, and what combines them."""

from __future__ import annotations

import pytest

from sycam.grammar import load_grammar
from sycam.language import parse

NETWORK = load_grammar("network")


def test_a_grammar_without_saliency_maps_stays_as_it_is():
    gradient = load_grammar("gradient")
    assert not gradient.spans_layers
    assert gradient.at(["a", "b"]) is gradient


def test_trees_are_counted_over_the_layers():
    one, two = NETWORK.at(["a"]), NETWORK.at(["a", "b"])
    assert one.tree_counts(6) == NETWORK.tree_counts(6)
    # Up to cost 4 there is no tree of two saliency maps; at 5 there are sums, products and maxima
    # of two of the cheapest, of which two layers have four.
    assert two.tree_counts(4) == [2 * n for n in one.tree_counts(4)]
    pairs = 3 * 2 * 2
    assert two.tree_counts(5)[-1] == 2 * (one.tree_counts(5)[-1] - pairs) + 3 * 4 * 4
    assert two.at(["c"]) is two


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("cam[a](relu(G)) * cam[b](mean(G))", True),
        ("smooth(cam[b](smooth(G))) + cam[a](A)", True),
        ("maximum(cam[a](G), cam[a](A))", True),
        ("cam[c](G)", False),
        ("cam(G)", False),
        ("G", False),
        ("top(cam[a](G), 2)", False),
    ],
)
def test_what_it_holds(text, held):
    assert (parse(text) in NETWORK.at(["a", "b"])) is held


def test_its_digest_depends_on_the_layers():
    assert NETWORK.at(["a", "b"]).digest != NETWORK.at(["a", "c"]).digest != NETWORK.digest


def test_it_holds_published_cams_at_each_layer():
    assert NETWORK.at(["a", "b"]).holds(parse("mean(G)"))
    assert not NETWORK.at(["a"]).holds(parse("MI"))
