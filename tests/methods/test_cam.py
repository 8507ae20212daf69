"""The CAM class: heatmaps of any formula, and the network as it was."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import sycam
from sycam import CAM
from sycam.errors import (
    BlankHeatmapWarning,
    DataError,
    ExpressionError,
    LayerError,
    SycamError,
    UnknownNameError,
)
from sycam.language import parse

FORMULAS = ("mean(G)", "relu(G)", "sum(relu(G) / (2 + sum(A) * G))", "mean(relu(G)) * max(A)")


def network() -> nn.Module:
    """The fixture's network, for hypothesis, which takes no fixture a test."""
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 64, 4)
    ).eval()


NETWORK = network()
IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("formula", [*FORMULAS, "A - G", "neg(A)", "normalize(std(A))"])
def test_heatmaps_are_images_in_range(small_network, small_images, formula):
    maps = CAM(small_network, "3", formula)(small_images)
    assert maps.shape == (7, 16, 16)
    assert maps.dtype == torch.float32
    assert not maps.requires_grad
    assert maps.min() >= 0
    assert maps.max() <= 1
    top = maps.amax((1, 2))
    assert ((top == 1) | (top == 0)).all()


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("formula", FORMULAS)
def test_the_batch_size_does_not_matter(small_network, small_images, formula, batch):
    cam = CAM(small_network, "3", formula)
    targets = [0, 1, 2, 3, 4, 0, 1]
    whole = cam(small_images, targets)
    torch.testing.assert_close(cam(small_images, targets, batch=batch), whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(cam(small_images[3:4], [3])[0], whole[3], rtol=0, atol=1e-6)


def test_nothing_stays_on_the_network(small_network, small_images):
    small_network.train()
    keys = {name: sorted(vars(m)) for name, m in small_network.named_modules()}
    with CAM(small_network, "3", "mean(G)") as cam:
        first = cam(small_images)
        assert not any(m._forward_hooks for m in small_network.modules())
        again = cam(small_images)
    assert torch.equal(first, again)
    assert not any(m._forward_hooks or m._backward_hooks for m in small_network.modules())
    assert {name: sorted(vars(m)) for name, m in small_network.named_modules()} == keys
    assert small_network.training
    assert all(p.grad is None for p in small_network.parameters())


def test_targets_however_they_are_said(small_network, small_images):
    cam = CAM(small_network, "3", "mean(G)")
    expected = cam(small_images, [2] * 7)
    for targets in (
        2,
        np.int64(2),
        torch.tensor(2),
        torch.full((7,), 2),
        np.full(7, 2),
        lambda row: row[2],
        [lambda row: row[2]] * 7,
    ):
        torch.testing.assert_close(cam(small_images, targets, batch=3), expected)
    predicted = small_network(small_images).argmax(1)
    torch.testing.assert_close(cam(small_images), cam(small_images, predicted))
    torch.testing.assert_close(cam(small_images), cam(small_images, "predicted"))


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ([0], "7 images need 7 targets, got 1"),
        (torch.zeros(14, dtype=torch.long), "7 images need 7 targets, got 14"),
        ([lambda row: row[0]] * 6, "7 images need 7 targets, got 6"),
        ([], "7 images need 7 targets, got 0"),
        (9, "target class 9 is out of range: the network has 5 classes"),
        (0.5, "targets must be class indices or callables"),
        ("label", "needs labels"),
    ],
)
def test_targets_that_do_not_fit(small_network, small_images, targets, said):
    cam = CAM(small_network, "3", "mean(G)")
    with pytest.raises(DataError, match=said):
        cam(small_images, targets, batch=2)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.rand(3, 16, 16), r"float tensor \(N,C,H,W\), got \(3, 16, 16\)"),
        (torch.zeros(2, 3, 16, 16, dtype=torch.uint8), "float tensor"),
        (np.zeros((2, 3, 16, 16), np.float32), "got ndarray"),
        (torch.empty(0, 3, 16, 16), "no images"),
    ],
)
def test_images_that_do_not_fit(small_network, images, said):
    with pytest.raises(DataError, match=said):
        CAM(small_network, "3", "mean(G)")(images)


@pytest.mark.parametrize(
    ("layer", "formula", "error", "said"),
    [
        ("3", "meen(G)", UnknownNameError, "did you mean 'mean'"),
        ("3", "grad-camm", UnknownNameError, "did you mean 'grad-cam'"),
        ("3", "gradcam++", UnknownNameError, r"did you mean 'grad-cam\+\+'"),
        ("3", "Grad-CAM", UnknownNameError, "did you mean 'grad-cam'"),
        ("3", "mean(G", ExpressionError, "cannot read"),
        ("3", "1 + 1", ExpressionError, "is a scalar"),
        ("3", "softmax(G)", ExpressionError, "'softmax' takes"),
        ("33", "mean(G)", UnknownNameError, "did you mean '3'"),
        (nn.ReLU(), "mean(G)", LayerError, "no part of the network"),
    ],
)
def test_mistakes_are_told_at_once(small_network, layer, formula, error, said):
    with pytest.raises(error, match=said) as caught:
        CAM(small_network, layer, formula)
    assert isinstance(caught.value, SycamError)


@pytest.mark.parametrize(
    ("text", "expression"),
    [("A-G", "A - G"), ("-G", "neg(G)"), ("G", "G"), ("grad-cam", "mean(G)"), ("G*A", "G * A")],
)
def test_expressions_and_names_are_told_apart(small_network, text, expression):
    """``A-G`` was once taken for the name of a method."""
    cam = CAM(small_network, "3", text)
    assert str(cam.expression) == expression
    assert repr(cam) == f"CAM(Sequential, '3', {expression!r})"
    assert (
        CAM(small_network, small_network[3], parse(text) if "c" not in text else text).layer == "3"
    )


def test_auto_finds_the_layer_at_the_first_call(small_network, small_images):
    cam = CAM(small_network, "auto", "mean(G)")
    assert cam.layer == "auto"
    maps = cam(small_images)
    assert cam.layer == "3"
    assert torch.equal(maps, CAM(small_network, "3", "mean(G)")(small_images))


def test_the_package_exports_it():
    assert sycam.CAM is CAM


# --- invariants ----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    formula=st.sampled_from(FORMULAS),
    factor=st.sampled_from(["2", "0.5", "(1 + 2)", "(2 * 2 * 2)", "max(exp(0.5 * A - 0.5 * A))"]),
    flip=st.booleans(),
)
def test_a_positive_factor_leaves_the_heatmap(formula, factor, flip):
    text = f"({formula}) * {factor}" if flip else f"{factor} * ({formula})"
    plain = CAM(NETWORK, "1", formula)(IMAGES)
    torch.testing.assert_close(CAM(NETWORK, "1", text)(IMAGES), plain, rtol=0, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(1e-6, 1e6), formula=st.sampled_from(["mean(G)", "relu(G)", "G"]))
def test_the_scale_of_the_score_does_not_matter(scale, formula):
    cam = CAM(NETWORK, "1", formula)
    plain, scaled = cam(IMAGES, 1), cam(IMAGES, lambda row: scale * row[1])
    torch.testing.assert_close(scaled, plain, rtol=0, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(4)))
def test_images_do_not_see_each_other(order):
    cam = CAM(NETWORK, "1", "sum(G * A) / sum(A)")
    shuffled = cam(IMAGES[list(order)])
    torch.testing.assert_close(shuffled, cam(IMAGES)[list(order)], rtol=0, atol=1e-6)


def test_a_flat_map_is_zeros():
    """Of ``neg(A)`` no sum is positive; of a constant image all sums are alike."""
    assert not CAM(NETWORK, "1", "neg(A)")(IMAGES).any()
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sigmoid(), nn.Flatten(), nn.Linear(36, 3)).eval()
    flat = torch.full((2, 3, 3, 3), 0.3)
    big = nn.Sequential(nn.Upsample(3), *net)
    images = nn.functional.interpolate(flat, (50, 50))
    assert not CAM(big, "2", "max(A)")(images).any()


def test_the_callers_grad_mode_does_not_matter():
    cam = CAM(NETWORK, "1", "relu(G)")
    plain = cam(IMAGES)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            torch.testing.assert_close(cam(IMAGES), plain)


@pytest.mark.slow
def test_a_compiled_cam_agrees(small_network, small_images):
    layers, formula = ["1", "3"], "smooth(sum(G * A) / sum(A))"
    expected = CAM(small_network, layers, formula)(small_images)
    found = CAM(small_network, layers, formula, compile=True)(small_images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    with pytest.raises(ExpressionError, match="there is nothing to compile"):
        CAM(small_network, "3", "kpca-cam", compile=True)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda net, x: CAM(net, 3, "mean(G)"), "names or modules, got 3"),
        (lambda net, x: CAM(net, None, "mean(G)"), "names or modules, got None"),
        (lambda net, x: CAM(net, [["3"]], "mean(G)"), "names or modules"),
        (lambda net, x: CAM(net, ["3", "3"], "mean(G)"), "different layers"),
        (lambda net, x: CAM(net, "3", 7), "a formula is text"),
        (lambda net, x: CAM(net, ["1", "3"], "G", fusion=["a", "b"]), "one number per layer"),
        (lambda net, x: CAM(net, ["1", "3"], "G", fusion=None), "one number per layer"),
        (lambda net, x: CAM(net, "3", "G")(x, batch=0), "positive integer, got 0"),
        (lambda net, x: CAM(net, "3", "G")(x, batch=2.0), "positive integer, got 2.0"),
        (lambda net, x: CAM(net, "3", "G")(x, 10**20), "out of range"),
        (lambda net, x: CAM(net, "3", "G")(x, {1: 2}), "class indices or callables"),
        (lambda net, x: CAM(net, "3", "G")(x, True), "integers, got torch.bool"),
        (lambda net, x: CAM(net, "3", "G")(x, lambda row: row[99]), "callable target failed"),
        (lambda net, x: CAM("demo", "3", "G"), "must be a torch.nn.Module, got str"),
        (lambda net, x: CAM(torch.jit.trace(net, x), "3", "G")(x), "TorchScript"),
        (lambda net, x: CAM(net, "3", "cube(cube(cube(A)))")(x * 1e9), "overflows on these images"),
    ],
)
def test_bad_input_is_told_in_a_sentence(small_network, small_images, make, said):
    with pytest.raises(SycamError, match=said):
        make(small_network, small_images)


def test_a_tuple_of_outputs_is_cut_image_by_image(small_network, small_images):
    """Two images and two outputs were once mistaken for each other."""

    class WithAuxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = small_network

        def forward(self, images):
            outputs = self.body(images)
            return outputs, -outputs

    net = WithAuxiliary().eval()
    for layer in ("body.3", "last"):
        for count in (2, 3):
            images = small_images[:count]
            found = CAM(net, layer, "mean(G)")(images, lambda row: row[0][1] - 0 * row[1][1])
            torch.testing.assert_close(found, CAM(small_network, "3", "mean(G)")(images, 1))


@pytest.mark.parametrize("formula", ["G", "D", "S", "MI", "mean(G - 0.5 * H)", "fullgrad"])
def test_dear_leaves_in_the_callers_inference_mode(small_network, small_images, formula):
    expected = CAM(small_network, "3", formula)(small_images)
    with torch.inference_mode():
        assert torch.equal(CAM(small_network, "3", formula)(small_images), expected)


def test_blank_heatmaps_are_told(small_network, small_images):
    """They came without a word."""
    with pytest.warns(BlankHeatmapWarning, match="7 of 7 heatmaps are blank: .* at all places"):
        maps = CAM(small_network, "3", "neg(max(A))")(small_images, batch=2)
    assert not maps.any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CAM(small_network, "3", "max(A)")(small_images)
    table = sycam.evaluate(small_network, "3", small_images, ["max(A)", "neg(max(A))"], "insertion")
    lines = str(table).splitlines()
    assert [line.split()[-1] for line in lines] == ["flat", "0", "7"]
    assert "<th>flat</th>" in table._repr_html_() or ">flat<" in table._repr_html_()
    sound = sycam.evaluate(small_network, "3", small_images, ["max(A)"], "insertion")
    assert "flat" not in str(sound) + sound._repr_html_()
