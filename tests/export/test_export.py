"""Exported modules: torch alone, the engine's own heatmaps, nothing left on the network."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from any_text import check_exported
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import sycam
from sycam.errors import OptionError
from sycam.export import TARGETS
from sycam.export.templates import standalone
from sycam.grammar import load_grammar
from sycam.grammar.sampling import sample_expressions
from sycam.language import heatmap_latex, parse, to_text
from sycam.testing import isolated_operators

EXPLAINED = [0, 1, 2, 3, 4, 0, 1]


@pytest.fixture
def exported(tmp_path) -> Callable[..., type]:
    """``exported(text)``: the class of a formula, from a module that was written and imported."""

    def write_and_import(text: str, name: str = "SomeCAM") -> type:
        path = tmp_path / "some_cam.py"
        path.write_text(TARGETS["torch"].source(parse(text), name))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return getattr(module, name)

    return write_and_import


@pytest.fixture
def pooled_network() -> nn.Module:
    """``[N,3,16,16]`` to ``[N,4]`` by global average pooling and one linear layer."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    ).eval()  # fmt: skip


@pytest.fixture
def volume_network() -> nn.Module:
    """``[N,1,6,8,10]`` to ``[N,3]``; layer ``"1"`` is ``[N,5,3,4,5]``."""
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv3d(1, 5, 3, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(5 * 60, 3)
    ).eval()


@pytest.mark.parametrize(
    "text",
    [
        "mean(relu(G)) * max(A)", "G", "sum(relu(G) / (2 + sum(A) * G))", "mean(above(A, 2))",
        "normalize(std(A)) - softmax(topmean(G))", "minmax(A) * normalize(symsqrt(G))",
        "exp(mean(G)) / (1 + min(A))", "smooth(relu(G))", "channelsum(relu(G * A))",
        "smooth(smooth(max(G)))", "sign(G) * cube(A) + square(symlog(G))", "abs(neg(G))",
        "mean(G - 0.5 * H)", "p * G + mean(A) / y",
        "softmax(S)", "D", "mean(G) * normalize(MI)", "S * D + MI", "principal(G * A)",
    ],
)  # fmt: skip
def test_every_kind_of_expression_agrees_with_the_engine(
    text, exported, small_network, small_images
):
    cam = exported(text)(small_network, small_network[3])
    expected = sycam.CAM(small_network, "3", text)(small_images, EXPLAINED)
    assert expected.amax((1, 2)).gt(0).any()
    torch.testing.assert_close(cam(small_images, EXPLAINED), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(cam(small_images, EXPLAINED, batch=3), expected, rtol=0, atol=1e-5)


def test_the_original_cam_agrees(exported, pooled_network, small_images):
    expected = sycam.CAM(pooled_network, "1", "C")(small_images)
    found = exported("C")(pooled_network, "1")(small_images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_the_original_cam_needs_its_head(exported, small_network, small_images):
    with pytest.raises(ValueError, match="leaf C needs a linear head"):
        exported("C")(small_network, "3")(small_images)


@pytest.mark.parametrize("text", ["mean(G)", "smooth(G)", "S", "D", "MI", "G - 0.5 * H"])
def test_volumes_agree_with_the_engine(text, exported, volume_network):
    images = torch.rand(2, 1, 6, 8, 10, generator=torch.Generator().manual_seed(0))
    expected = sycam.CAM(volume_network, "1", text)(images)
    found = exported(text)(volume_network, "1")(images)
    assert found.shape == (2, 6, 8, 10)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("text", ["mean(G - 0.5 * H)", "p * G", "S", "D"])
def test_callable_targets_agree_with_the_engine(text, exported, small_network, small_images):
    def contrast(row: Tensor) -> Tensor:
        return row[1] - 0.6 * row[2].square()

    expected = sycam.CAM(small_network, "3", text)(small_images, contrast)
    found = exported(text)(small_network, "3")(small_images, contrast)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("text", ["mean(G)", "p * G", "C"])
def test_a_class_of_one_output_is_refused_as_by_the_engine(text, exported, pooled_network):
    """Class 0 once gave the positive class's map."""
    network = nn.Sequential(*list(pooled_network)[:-1], nn.Linear(6, 1))
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    cam = exported(text)(network, "1")
    expected = sycam.CAM(network, "1", text)(images)
    torch.testing.assert_close(cam(images), expected, rtol=0, atol=1e-5)
    for target in (0, 1, [0, 1, 0]):
        with pytest.raises(ValueError, match=r"class [01] cannot be told: .*one output.*-row\[0\]"):
            cam(images, target)


class Skipping(nn.Module):
    """What the target layer returns is joined with something that has a row per image."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.side = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(3, 4, 3, stride=2)
        self.last = nn.Linear(8 * 49, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(torch.cat([self.first(images), self.side(images)], 1).tanh().flatten(1))


def test_ablation_works_where_the_layer_is_joined_with_others(exported, small_images):
    network = Skipping().eval()
    expected = sycam.CAM(network, "first", "D")(small_images)
    found = exported("D")(network, "first")(small_images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_the_template_is_grad_cam(small_network, small_images):
    found = standalone.ExportedCAM(small_network, "3")(small_images)
    expected = sycam.CAM(small_network, "3", "grad-cam")(small_images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("text", ["mean(G)", "S * D", "G - H"])
def test_the_network_is_left_as_it_was(text, exported, small_network, small_images):
    small_network.train()
    small_network[1].eval()
    before = {name: tensor.clone() for name, tensor in small_network.state_dict().items()}
    with torch.inference_mode():
        exported(text)(small_network, "3")(small_images.clone())
    assert [m.training for m in small_network] == [True, False, *[True] * 6]
    assert all(torch.equal(before[n], t) for n, t in small_network.state_dict().items())
    assert all(p.grad is None for p in small_network.parameters())
    assert not any(m._forward_hooks for m in small_network.modules())
    assert torch.is_grad_enabled()


def test_the_module_needs_torch_alone(tmp_path, small_network, small_images):
    path = tmp_path / "lonely.py"
    path.write_text(TARGETS["torch"].source(parse("softmax(S) * D + MI * mean(H)"), "Lonely"))
    code = "import sys, lonely; print([m for m in sys.modules if m.startswith('sycam')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    nodes = [*ast.walk(ast.parse(path.read_text()))]
    named = {n.module for n in nodes if isinstance(n, ast.ImportFrom)}
    named |= {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    standard = {"__future__", "collections", "contextlib", "threading", "warnings"}
    assert {name.split(".")[0] for name in named} == {*standard, "torch"}


def test_only_what_the_formula_needs_is_written():
    source = TARGETS["torch"].source(parse("mean(G)"), "SomeCAM")
    for name in ("masked_scores", "ablation_drops", "smooth", "divide", "class_weights"):
        assert name not in source
    expensive = TARGETS["torch"].source(parse("D * MI"), "SomeCAM")
    assert "def ablation_drops" in expensive
    assert "def mutual_information" in expensive
    assert "masked_scores" not in expensive


@pytest.mark.parametrize("text", ["mean(G)", "smooth(smooth(S)) ", "C * D + MI * 2"])
def test_exported_source_is_clean(text, tmp_path):
    path = tmp_path / "clean.py"
    path.write_text(TARGETS["torch"].source(parse(text), "Clean"))
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--isolated", "--select", "E,F,I,B", "--ignore", "E501"],
                    ["format", "--isolated", "--check", "--line-length", "100"]):  # fmt: skip
        done = subprocess.run([*ruff, *command, path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


FORMULAS = [to_text(e) for e in sample_expressions(load_grammar("full"), 8, 200, seed=3)]


@settings(max_examples=60, deadline=None)
@given(formula=st.sampled_from(FORMULAS), provenance=st.text(max_size=80))
@example("mean(G)", '"""\nimport os\nos.abort()\n"""')
@example("mean(G)", "ends in a backslash \\")
@example("mean(G)", "null \x00, surrogate \udcff, right to left \u202e")
def test_nothing_in_an_exported_file_runs_but_definitions(formula, provenance):
    """Names of networks and grammars are users' text, and stand in the docstring alone."""
    assert check_exported(formula, "SomeCAM", provenance)


@pytest.mark.parametrize("name", ["torch", "ｔorch", "Tensor", "len", "__name__", "weighted_sum"])
def test_a_class_does_not_hide_what_its_module_uses(name):
    with pytest.raises(OptionError, match="would mean two things in the module"):
        TARGETS["torch"].source(parse("mean(G)"), name)


def test_the_docstring_says_formula_prices_and_provenance():
    expression = parse("mean(relu(G)) * softmax(S)")
    document = ast.get_docstring(
        ast.parse(TARGETS["torch"].source(expression, "RoadCAM", "Found on Friday."))
    )
    assert document.startswith("RoadCAM: class activation maps by the weights mean(relu(G)) *")
    assert heatmap_latex(expression) in document
    assert re.search(r"S: .*K forward\s+passes", document, re.DOTALL)
    assert document.rstrip().endswith("Found on Friday.")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"targets": [0, 1]}, "7 images need as many targets, got 2"),
        ({"targets": 5}, "class 5 is out of range: the network has 5 classes"),
        ({"images": torch.rand(3, 16, 16)}, "images must be"),
    ],
)
def test_errors_of_the_exported_class(given, said, exported, small_network, small_images):
    cam = exported("mean(G)")(small_network, "3")
    with pytest.raises(ValueError, match=said):
        cam(**({"images": small_images} | given))
    with pytest.raises(ValueError, match="the network has no layer 'nowhere'"):
        exported("mean(G)")(small_network, "nowhere")


@pytest.mark.slow
def test_the_compiled_class_agrees(exported, small_network, small_images):
    try:
        torch.compile(torch.sin)(torch.zeros(3))
    except Exception:
        pytest.skip("torch finds no C++ compiler")
    text = "smooth(mean(relu(G)) * max(A))"
    compiled = exported(text)(small_network, "3", compile=True)
    expected = sycam.CAM(small_network, "3", text)(small_images, EXPLAINED)
    for batch in (7, 3):
        found = compiled(small_images, EXPLAINED, batch=batch)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_without_a_compiler_the_class_goes_on(exported, tmp_path):
    exported("mean(G)")
    code = """
import some_cam, torch, warnings
from torch import nn
net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
images = torch.rand(5, 3, 8, 8)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    maps = some_cam.SomeCAM(net, "1", compile=True)(images, batch=2)
said = [str(w.message) for w in seen if "cannot compile" in str(w.message)]
assert len(said) == 1, said
assert torch.equal(maps, some_cam.SomeCAM(net, "1")(images, batch=2))
"""
    bare = os.environ | {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "c")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# --- operators that users declare ---------------------------------------------------------------


def test_a_users_operator_goes_along(exported, small_network, small_images):
    with isolated_operators():

        @sycam.operator("map -> weight", name="spread")
        def span_of_places(t: Tensor) -> Tensor:
            """Largest minus smallest value."""
            return t.amax((-2, -1), keepdim=True) - t.amin((-2, -1), keepdim=True)

        text = "mean(G) * spread(A)"
        expected = sycam.CAM(small_network, "3", text)(small_images)
        found = exported(text)(small_network, "3")(small_images)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_name_that_would_mean_two_things_is_refused():
    with isolated_operators():

        @sycam.operator("map -> weight", name="other_mean")
        def mean(t: Tensor) -> Tensor:
            """Half the average."""
            return t.mean((-2, -1), keepdim=True) / 2

        with pytest.raises(OptionError, match="'mean' would mean two things"):
            TARGETS["torch"].source(parse("mean(G) + other_mean(G)"), "SomeCAM")

        @sycam.operator("map -> weight", name="finished")
        def heatmaps(t: Tensor) -> Tensor:
            """The average."""
            return t.mean((-2, -1), keepdim=True)

        with pytest.raises(OptionError, match="'heatmaps' would mean two things"):
            TARGETS["torch"].source(parse("finished(G)"), "SomeCAM")
    with pytest.raises(OptionError, match="'maximum' would mean two things"):
        TARGETS["torch"].source(parse("max(G)"), "maximum")


@pytest.mark.parametrize("base", sorted(TARGETS))
def test_the_docstring_says_which_layer_to_give(base):
    """Nothing else does: a formula that names one layer is exported as one of any layer."""
    target = TARGETS[base]
    if target.writes_network or target.needs_sycam:
        return
    one = target.source(parse("smooth(abs(G))"), "SomeCAM", layer="features.5")
    assert "features.5" in ast.get_docstring(ast.parse(one))
    two = target.source(parse("cam[low](G) * cam[high](G)"), "SomeCAM", layer="low")
    said = ast.get_docstring(ast.parse(two))
    assert "SomeCAM(network) as" in said or "SomeCAM(model)" in said or "LAYERS" in said


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Wrapped(nn.Module):
    """A network whose outputs come in another form, or as ``outputs`` makes them."""

    def __init__(self, network: nn.Module, outputs: Callable):
        super().__init__()
        self.network, self.outputs = network, outputs

    def forward(self, images: Tensor) -> object:
        return self.outputs(self.network(images))


class Named(NamedTuple):
    """Class scores beside something that is no batch."""

    scores: Tensor
    version: str


FORMS = {
    "tuple": (lambda y: (y, y.sum(1)), lambda row: row[0].max() - 0.5 * row[1]),
    "dictionary": (lambda y: {"scores": y, "loss": None}, lambda row: row["scores"].max()),
    "named tuple": (lambda y: Named(y, "1"), lambda row: row.scores.max()),
    "list of heads": (lambda y: [y, 2 * y, y, y, y], lambda row: row[1].max()),
    "an entry per image": (
        lambda y: [{"scores": row} for row in y],
        lambda row: row["scores"].max(),
    ),
    "ordered": (lambda y: OrderedDict(scores=y), lambda row: row["scores"].max()),
}


LAYERS = "cam[network.0](abs(G)) * cam[network.1](A) + mirror(cam[network.1](abs(G) * A))"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", ["abs(G)", "abs(mean(G) * S) + abs(D)", LAYERS])
def test_outputs_of_any_form_are_explained_by_callable_targets(
    exported, pooled_network, images, form, text
):
    """As :class:`sycam.CAM` explains them, for as many images as heads, fewer and more."""
    make, target = FORMS[form]
    network = Wrapped(pooled_network, make).eval()
    layer = () if text == LAYERS else ("network.1",)
    cam, reference = exported(text)(network, *layer), sycam.CAM(network, *layer, text)
    for count in (1, 2, 3):
        expected = reference(images[:count], target)
        assert torch.allclose(cam(images[:count], target), expected, atol=1e-5)
        assert expected.max() == 1


def test_other_outputs_are_refused_in_words(exported, pooled_network, images):
    def cam(outputs: Callable) -> object:
        return exported("mean(G)")(Wrapped(pooled_network, outputs).eval(), "network.1")

    with pytest.raises(ValueError, match=r"returned tuple for an image, not class scores"):
        cam(lambda y: (y, y))(images)
    with pytest.raises(ValueError, match=r"returned \(4, 2\) for an image, not class scores"):
        cam(lambda y: torch.stack([y, y], 2))(images, 0)
    with pytest.raises(ValueError, match=r"returned \(4,\) for 3 images: not one row per image"):
        cam(lambda y: y.sum(0))(images[:3], 0)
    with pytest.raises(ValueError, match="whether each is an image or a head cannot be told"):
        cam(lambda y: [y, y, y])(images[:3], lambda row: row[0].max())


def test_layers_that_are_not_there_are_refused_with_those_that_are(exported, pooled_network):
    with pytest.raises(ValueError, match=r"no layer 'one'; it has 0, 1, 2, 3, 4$"):
        exported("mean(G)")(pooled_network, "one")
