"""Formulas in English: a dozen by hand, and no two alike."""

from __future__ import annotations

import pytest

import sycam
from sycam.grammar import load_grammar
from sycam.grammar.sampling import sample_expressions
from sycam.language.operators import isolated
from sycam.report.words import in_a_sentence, in_words

SUM = "the sum over channels of the activations"
PART = "the positive part at {}, scaled to a maximum of 1, of "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("G", f"the positive part of {SUM}, each place weighted by the gradients"),
        (
            "mean(G)",
            f"the positive part of {SUM}, each channel weighted by the average over places of the "
            "gradients",
        ),
        (
            "mean(relu(G)) * max(A)",
            f"the positive part of {SUM}, each channel weighted by the product of the average over "
            "places of the positive part of the gradients and the largest value of the activations",
        ),
        (
            "channelsum(G * A)",
            "the positive part of the sum over channels of the product of the gradients and the "
            "activations",
        ),
        (
            "principal(abs(G) * A)",
            "the positive part of the first principal component over places of the product of the "
            "magnitude of the gradients and the activations",
        ),
        (
            "smooth(mean(G))",
            f"the positive part of the blur of {SUM}, each channel weighted by the average over "
            "places of the gradients",
        ),
        ("R", "the positive part of the probability of the class from each place alone"),
        (
            "normalize(abs(mean(G))) / (1 + std(A))",
            f"the positive part of {SUM}, each channel weighted by the ratio of the L1-normalised "
            "form of the magnitude of the average over places of the gradients to (the sum of 1 "
            "and the standard deviation over places of the activations)",
        ),
        (
            "-0.5 * y - exp(mean(G))",
            f"the positive part of {SUM}, each channel weighted by the difference of (the product "
            "of minus 0.5 and the target's score) and the exponential of the average over places "
            "of the gradients",
        ),
        (
            "mean(A + G + H)",
            f"the positive part of {SUM}, each channel weighted by the average over places of the "
            "sum of the activations, the gradients and the Hessian times the activations",
        ),
        (
            "cam[layer1](G) + cam[layer3](mean(G))",
            f"{PART.format('layer1')}{SUM}, each place weighted by the gradients; plus "
            f"{PART.format('layer3')}{SUM}, each channel weighted by the average over places of "
            "the gradients",
        ),
        (
            "smooth(cam[a](G) * cam[b](A))",
            f"the blur of ({PART.format('a')}{SUM}, each place weighted by the gradients; times "
            f"{PART.format('b')}{SUM}, each place weighted by the activations)",
        ),
        (
            "mirror(top(cam[a](G), 10))",
            "the mean over the image and its mirror image of the mask of the highest 10 % of the "
            f"places of ({PART.format('a')}{SUM}, each place weighted by the gradients)",
        ),
    ],
)
def test_a_sentence_by_hand(text, said):
    assert in_a_sentence(text) == f"The heatmap is {said}."


@pytest.mark.parametrize("grammar", ["full", "gradient"])
def test_no_two_formulas_are_said_alike(grammar):
    expressions = set(sample_expressions(load_grammar(grammar), 4, 600, 0))
    assert len({in_a_sentence(str(one)) for one in expressions}) == len(expressions)


def test_operators_of_users_go_by_their_names():
    with isolated():

        @sycam.operator("map, scalar -> map", name="soft_threshold")
        def shrunk(t, threshold):
            """Values drawn towards zero."""
            return t.sign() * (t.abs() - threshold.abs()).relu()

        said = in_a_sentence("soft_threshold(G, 0.1)")
        assert said.endswith("weighted by the soft threshold of the gradients and 0.1.")
    assert in_a_sentence("soft_threshold(G, 0.1)") == ""


def test_each_sign_is_explained():
    words = dict(in_words("mean(relu(G)) * max(A)"))
    assert list(words) == ["a * b", "mean(a)", "relu(a)", "G", "max(a)", "A"]
    assert "gradients" in words["G"]
