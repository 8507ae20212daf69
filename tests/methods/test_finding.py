"""The table of methods: what it holds, what is shown unasked, and finding a method in it."""

from __future__ import annotations

import pytest
import torch

from sycam import CAM
from sycam.errors import DataError, ExpressionError, UnknownNameError
from sycam.evidence import Stack, measure
from sycam.language import parse
from sycam.methods import KINDS, METHODS, Method, find_expression, find_method, shown_methods

PUBLISHED = {
    "cam": "C",
    "grad-cam": "mean(G)",
    "hirescam": "G",
    "grad-cam-elementwise": "channelsum(relu(G * A))",
    "grad-cam++": "sum(relu(G) / (2 + sum(A) * G))",
    "xgrad-cam": "sum(G * A) / sum(A)",
    "layer-cam": "relu(G)",
    "lafam": "channelsum(A)",
    "lift-cam": "C * mean(A)",
    "score-cam": "softmax(S)",
    "ablation-cam": "D",
    "shapley-cam": "mean(G - 0.5 * H)",
    "mi-cam": "MI",
    "mi-grad-cam": "mean(G) * normalize(MI)",
    "fem": "mean(above(A, 2))",
    "opti-cam": "O",
    "recipro-cam": "R",
    "eigen-cam": "principal(A)",
    "eigen-grad-cam": "principal(G * A)",
    "seg-eigen-cam": "principal(abs(G) * A)",
}
CHEAP = [
    "grad-cam",
    "hirescam",
    "grad-cam++",
    "xgrad-cam",
    "layer-cam",
    "grad-cam-elementwise",
    "lafam",
    "fem",
    "eigen-cam",
    "eigen-grad-cam",
    "seg-eigen-cam",
]
DIRECT = ["kpca-cam", "fullgrad"]
CONTROLS = ["random-weights", "sobel-edges", "centre-prior"]


def test_every_published_cam_is_an_expression():
    found = {m.name: m.formula for m in METHODS.values() if m.kind == "published"}
    assert found == PUBLISHED


def test_every_row_says_what_it_is():
    for name, method in METHODS.items():
        assert method.name == name
        assert method.kind in KINDS
        made = (method.expression, method.direct, method.joint)
        assert sum(one is not None for one in made) == 1
        assert method.paper or method.kind == "control"
        assert method.formula
        assert method.latex.count("{") == method.latex.count("}")
        assert method.sort in ("weight", "map", "heat")
        assert (method.cost is None) == (method.expression is None)


def test_nothing_dear_is_shown_unasked():
    assert [m.name for m in shown_methods()] == [*CHEAP, *DIRECT, *CONTROLS]
    assert shown_methods({"activations"}) == shown_methods()  # gradients are always measured
    assert shown_methods(["score", "probability"]) == shown_methods()


@pytest.mark.parametrize(
    ("leaf", "more"),
    [
        ("masked_scores", {"score-cam"}),
        ("ablation_drops", {"ablation-cam"}),
        ("hessian_product", {"shapley-cam"}),
        ("mutual_information", {"mi-cam", "mi-grad-cam"}),
        ("class_weights", {"cam", "lift-cam"}),
        ("fitted_weights", {"opti-cam"}),
        ("place_scores", {"recipro-cam"}),
        ("noisy_gradients", set()),
        ("masked_scores_aligned", set()),  # variants are shown only where they are named
    ],
)
def test_a_measured_leaf_brings_its_methods(leaf, more):
    shown = {m.name for m in shown_methods({"activations", "gradients", leaf})}
    assert shown - {m.name for m in shown_methods()} == more


def test_finding_methods():
    assert find_method("grad-cam") is METHODS["grad-cam"]
    own = find_method("relu(G)*A")
    assert isinstance(own, Method)
    assert own.kind == "expression"
    assert own.name == own.formula == "relu(G) * A"
    assert own.expression is parse("relu(G) * A")
    assert find_method(own) is own
    assert find_method(parse("mean(G)")).expression is METHODS["grad-cam"].expression
    assert find_method("MI").expression is METHODS["mi-cam"].expression
    with pytest.raises(UnknownNameError, match=r"did you mean 'sobel-edges'.*sycam methods"):
        find_method("sobel")
    with pytest.raises(UnknownNameError, match=r"did you mean 'mi-cam'"):
        find_method("mi-camm")


def test_a_direct_method_has_no_expression():
    assert find_expression("fem") is parse("mean(above(A, 2))")
    with pytest.raises(ExpressionError, match="'kpca-cam' is computed directly"):
        find_expression("kpca-cam")


def test_a_leaf_that_was_not_measured_is_told(small_network, small_images, context_of):
    evidence = measure(small_network, small_network[3], small_images)
    context = context_of(small_network, evidence, small_images)
    for name in ("score-cam", "score-cam-lib"):
        with pytest.raises(DataError, match=f"'{name}' reads masked_scores.*not measured"):
            find_method(name).heatmaps(evidence, context)


@pytest.mark.parametrize("name", ["grad-cam", "kpca-cam", "random-weights", "fullgrad"])
def test_several_layers_are_fused(small_network, small_images, context_of, name):
    layers = [measure(small_network, small_network[i], small_images) for i in (1, 3)]
    context = context_of(small_network, layers[0], small_images)
    single = [find_method(name).heatmaps(layer, context).maps[0] for layer in layers]
    found = find_method(name).heatmaps(Stack(tuple(layers), "max"), context).maps[0]
    expected = torch.maximum(*single)
    low, high = expected.amin((1, 2), keepdim=True), expected.amax((1, 2), keepdim=True)
    scaled = ((expected - low) / (high - low)).nan_to_num()  # flat: no weight was positive
    torch.testing.assert_close(found, scaled, rtol=0, atol=1e-6)
    again = CAM(small_network, ["1", "3"], name, fusion="max")
    assert again(small_images).shape == (7, 16, 16)
