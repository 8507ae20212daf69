"""Exported formulas of several layers: the engine's heatmaps in every form that can say them."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from any_text import check_exported
from torch import Tensor, nn
from winners import winner_of

import sycam
from sycam.errors import ExpressionError, OptionError
from sycam.export import TARGETS, Winner
from sycam.export.target import classes
from sycam.heatmaps.heatmaps import norm01, upsample
from sycam.language import heatmap_latex, parse

EXPLAINED = [0, 1, 2, 0, 1]
PRODUCT = "cam[fine](relu(G)) * cam[deep.0](mean(G))"
FORMULAS = [
    PRODUCT,
    "maximum(smooth(cam[side](smooth(p * G))), 0.5 * cam[deep.0](A))",
    "cam[last](mean(G) * max(A)) + top(cam[deep.0](G), 20) * 0.3 + cam[last](A)",
    "cam[fine](mean(G - 0.5 * H)) * cam[deep.0](softmax(S)) + smooth(cam[last](D))",
]


class Branched(nn.Module):
    """``[N,3,17,14]`` to 3 classes, by layers of grids 17 x 14, 9 x 7 and 5 x 4."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.first, self.fine = nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(inplace=True)
        self.deep = nn.Sequential(nn.Conv2d(5, 6, 3, 2, 1), nn.ReLU())
        self.side = nn.Conv2d(5, 6, 3, 2, 1)
        self.second, self.last = nn.Conv2d(6, 7, 3, 2, 1), nn.Tanh()
        self.head = nn.Linear(7, 3)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.fine(self.first(images))
        fine.mul_(1.5)  # what the layer returned is changed in place
        joined = self.deep(fine) + self.side(fine)
        return self.head(self.last(self.second(joined)).mean((2, 3)))


@pytest.fixture
def network() -> nn.Module:
    return Branched().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(5, 3, 17, 14, generator=torch.Generator().manual_seed(9))


@pytest.fixture
def engine(network, images):
    """The engine's heatmaps ``[N,H,W]`` of a formula."""

    def heatmaps(text: str, targets=EXPLAINED) -> Tensor:
        maps = sycam.CAM(network, text)(images, targets)
        assert maps.amax((1, 2)).gt(0).any()
        return maps

    return heatmaps


def energy(row: Tensor) -> Tensor:
    return row[1] - 0.6 * row[2].square()


def close(found, expected: Tensor) -> None:
    torch.testing.assert_close(torch.as_tensor(found), expected, rtol=0, atol=1e-5)


def finished(cams: Tensor) -> Tensor:
    """Maps of a layer's size as the engine finishes them."""
    return norm01(upsample(cams.clamp(min=0)[None], (17, 14))[0])


def untouched(network: nn.Module) -> bool:
    hooks = [m._forward_hooks or m._forward_pre_hooks for m in network.modules()]
    return not any(hooks) and all(p.grad is None for p in network.parameters())


# --- torch alone --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", FORMULAS)
def test_the_class_gives_the_engines_heatmaps(text, module_of, engine, network, images):
    module = module_of(text)
    with module.SomeCAM(network) as cam:
        close(cam(images, EXPLAINED), engine(text))
        close(cam(images, batch=2), engine(text, None))
        close(cam(images, energy), engine(text, energy))
    assert untouched(network)
    named = {name: network.get_submodule(name) for name in reversed(module.LAYERS)}
    for layers in (named, list(module.LAYERS), dict.fromkeys(named) | {n: n for n in named}):
        close(module.SomeCAM(network, layers)(images, 1), engine(text, 1))


def test_other_layers_can_be_given_by_the_formulas_names(module_of, network, images):
    cam = module_of(PRODUCT).SomeCAM(network, {"fine": network.side, "deep.0": "last"})
    expected = sycam.CAM(network, "cam[side](relu(G)) * cam[last](mean(G))")(images)
    close(cam(images), expected)


@pytest.mark.parametrize("base", ["torch", "torch-export"])
def test_a_leaf_is_measured_where_the_formula_reads_it(base, module_of, tmp_path, network, images):
    """The original CAM's weights are those of a head, which follows one layer alone."""
    text, expected = "cam[last](C) + 0 * cam[second](A)", sycam.CAM(network, "last", "C")(images)
    if base == "torch":
        found = module_of(text).SomeCAM(network)(images)
    else:
        TARGETS[base].write(graph_winner(text, network=network), tmp_path / "cam.pt2", "")
        _, found = torch.export.load(tmp_path / "cam.pt2").module()(images)
    close(found, expected)


def test_all_layers_take_one_forward_and_one_backward_pass(module_of, network, images):
    passes = {"forward": 0, "backward": 0}
    network.first.register_forward_hook(lambda *_: passes.update(forward=passes["forward"] + 1))

    class Counted(torch.autograd.Function):
        @staticmethod
        def forward(context, t):
            return t.clone()

        @staticmethod
        def backward(context, gradient):
            passes["backward"] += 1
            return gradient

    network.last.register_forward_hook(lambda _module, _inputs, output: Counted.apply(output))
    module_of("cam[fine](G) * cam[side](mean(G)) + cam[deep.0](A)").SomeCAM(network)(images)
    assert passes == {"forward": 1, "backward": 1}


def test_the_network_is_left_as_it_was(module_of, network, images):
    network.train()
    network.deep.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.inference_mode():
        module_of(PRODUCT).SomeCAM(network)(images.clone())
    assert network.training
    assert not network.deep.training
    assert all(torch.equal(before[n], t) for n, t in network.state_dict().items())
    assert untouched(network)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (["fine"], r"reads 2 layers \(fine, deep\.0\): give one for each"),
        ({"fine": "fine"}, r"must be given for fine, deep\.0, got fine"),
        (["fine", "nowhere"], "the network has no layer 'nowhere'"),
        ("fine", "give one for each"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers, said, module_of, network):
    with pytest.raises(ValueError, match=said):
        module_of(PRODUCT).SomeCAM(network, layers)


def test_what_cannot_be_measured_is_told(module_of, network, images):
    some = module_of(PRODUCT).SomeCAM
    with pytest.raises(ValueError, match=r"layer deep\.0 must have an output \(N,K,h,w\)"):
        some(network, ["fine", "head"])(images)
    unused = nn.ModuleDict({"unused": nn.ReLU()})
    network.add_module("more", unused)
    with pytest.raises(ValueError, match=r"layer deep\.0 must run once, it ran 0 times"):
        some(network, {"fine": "fine", "deep.0": "more.unused"})(images)
    with pytest.raises(ValueError, match="class 3 is out of range"):
        some(network)(images, 3)


@pytest.mark.slow
def test_the_compiled_class_agrees(module_of, engine, network, images):
    try:
        torch.compile(torch.sin)(torch.zeros(3))
    except Exception:
        pytest.skip("torch finds no C++ compiler")
    cam = module_of(FORMULAS[1]).SomeCAM(network, compile=True)
    close(cam(images, EXPLAINED), engine(FORMULAS[1]))


# --- libraries ----------------------------------------------------------------------------------


@pytest.fixture
def targets(grad_cam) -> list:
    return [grad_cam.utils.model_targets.ClassifierOutputTarget(c) for c in EXPLAINED]


@pytest.mark.parametrize("text", FORMULAS)
def test_grad_cam_gives_them(text, module_of, engine, targets, network, images):
    module = module_of(text, "grad-cam")
    with module.SomeCAM(network) as cam:
        close(cam(images, targets), engine(text))
        close(cam(images, None), engine(text, None))
        close(cam(images, [energy] * 5), engine(text, energy))
    assert untouched(network)
    layers = [network.get_submodule(name) for name in module.LAYERS]
    close(module.SomeCAM(network, layers)(images, targets), engine(text))


def test_grad_cams_wrappers_take_it(module_of, engine, targets, grad_cam, network, images):
    some = module_of(PRODUCT, "grad-cam").SomeCAM
    layers = [network.fine, network.get_submodule("deep.0")]
    finer = importlib.import_module("pytorch_grad_cam.finer_cam").FinerCAM
    with finer(network, layers, base_method=some) as cam:
        found = cam(images)
    order = network(images).argsort(1, descending=True)
    weighted = grad_cam.utils.model_targets.FinerWeightedTarget
    contrasts = [weighted(int(row[0]), [int(i) for i in row[1:]], 1) for row in order]
    close(found, engine(PRODUCT, contrasts))
    arcc = importlib.import_module("pytorch_grad_cam.metrics.arcc")
    cam = some(network, layers)
    maps = cam(images, targets, aug_smooth=True)
    assert not np.array_equal(maps, cam(images, targets))
    scores = arcc.ARCC(cam, road_percentiles=[40])(images, maps, targets, network)
    assert np.isfinite(scores).all()
    refine = importlib.import_module("pytorch_grad_cam.refine_cam").RefineCAM
    with pytest.raises(ValueError, match="reads 2 layers"):
        refine(network, layers, base_method=some)
    with pytest.raises(ValueError, match="eigen_smooth looks at the channels of one layer"):
        cam(images, targets, eigen_smooth=True)


@pytest.mark.parametrize("text", FORMULAS)
def test_torchcam_gives_them(text, module_of, engine, grad_cam, network, images):
    pytest.importorskip("torchcam")
    module = module_of(text, "torchcam")
    expected, of_energy = engine(text), engine(text, energy)
    with module.SomeCAM(network) as extractor:
        scores = network(images)
        (maps,) = extractor(EXPLAINED, scores)
        assert 0 <= float(maps.min()) <= float(maps.max()) <= 1
        close(finished(maps), expected)
        (raw,) = extractor(EXPLAINED, scores, normalized=False)
        close(finished(raw), expected)
        (other,) = extractor(scores=scores, targets=energy)
        close(finished(other), of_energy)
    assert untouched(network)
    with module.SomeCAM(network, list(module.LAYERS)) as extractor:
        (maps,) = extractor(1, network(images))
        close(finished(maps), engine(text, 1))


def test_torchcams_own_code_takes_it(module_of, grad_cam, network, images):
    pytest.importorskip("torchcam")
    some = module_of(PRODUCT, "torchcam").SomeCAM
    explained = importlib.import_module("torchcam.explain").explain(
        network, images[:1], method=some, target_layer=["fine", "deep.0"], expected_class_idx=2
    )
    assert explained.target_layers == ("fine", "deep.0")
    assert all(len(maps) == 1 for maps in explained.cams.values())
    metrics = importlib.import_module("torchcam.metrics")
    with some(network) as extractor:
        judge = metrics.ClassificationMetric(extractor, lambda logits: logits.softmax(1))
        judge.update(images)
        assert all(np.isfinite(float(v)) for v in judge.summary().values() if v is not None)
    with some(network) as extractor, pytest.raises(AssertionError, match="forwarded"):
        extractor(1, torch.zeros(5, 3))


@pytest.mark.parametrize("text", FORMULAS)
def test_captum_gives_them(text, module_of, engine, network, images):
    captum = pytest.importorskip("captum.attr")
    module = module_of(text, "captum")
    cam = module.SomeCAM(network)
    maps = cam.attribute(images, target=EXPLAINED, relu_attributions=True)
    up = captum.LayerAttribution.interpolate(maps, (17, 14), "bilinear")
    close(norm01(up[:, 0]), engine(text))
    layers = [network.get_submodule(name) for name in module.LAYERS]
    close(module.SomeCAM(network, layers).attribute(images, EXPLAINED).clamp(min=0), maps)
    assert untouched(network)


def test_captums_own_code_takes_it(module_of, network, images):
    captum = pytest.importorskip("captum.attr")
    some = module_of(PRODUCT, "captum").SomeCAM
    cam = some(network)
    tunnel = captum.NoiseTunnel(cam)
    found = tunnel.attribute(images, target=1, nt_type="smoothgrad", nt_samples=3, stdevs=0.1)
    assert found.shape == (5, 1, 17, 14)
    with pytest.raises(ValueError, match="target is missing: the network has 3 classes"):
        cam.attribute(images)
    with pytest.raises(ValueError, match="no additional_forward_args"):
        cam.attribute(images, 0, (1,))
    with pytest.raises(ValueError, match=r"give a torch\.nn\.Module, got function"):
        some(lambda x: network(x), [network.fine, network.last])


@pytest.mark.parametrize("text", FORMULAS)
def test_quantus_gets_them(text, module_of, engine, network, images):
    module = module_of(text, "quantus")
    found = module.explain(model=network, inputs=images.numpy(), targets=np.array(EXPLAINED))
    assert found.shape == (5, 1, 17, 14)
    close(found[:, 0], engine(text))
    named = module.explain(network, images.numpy(), EXPLAINED, layers=module.LAYERS, method="any")
    close(named[:, 0], engine(text))


def test_quantus_randomises_the_model_that_is_explained(module_of, grad_cam, network, images):
    quantus = pytest.importorskip("quantus")
    explain = module_of(PRODUCT, "quantus").explain
    classes_of = network(images).argmax(1).numpy()
    given = {"x_batch": images.numpy(), "y_batch": classes_of, "a_batch": None}
    metric = quantus.MPRT(disable_warnings=True)
    scores = metric(model=network, explain_func=explain, device="cpu", **given)
    assert np.allclose(scores.pop("original"), 1)
    assert min(np.mean(values) for values in scores.values()) < 0.999


# --- transformers -------------------------------------------------------------------------------


class Mixed(nn.Module):
    """A convolution, then 17 tokens of 6 channels (one in front), then 4 classes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.block = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 6)
        self.later, self.head = nn.Linear(6, 6), nn.Linear(17 * 6, 4)

    def forward(self, images):
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
        return self.head(self.later(self.block(tokens).tanh()).tanh().flatten(1))


def places(output: Tensor) -> Tensor:
    return output[:, 1:].transpose(1, 2).unflatten(2, (4, 4))


def test_transformers_layers_are_reshaped(module_of, grad_cam, small_images):
    network, text = Mixed().eval(), "cam[block](relu(G)) + smooth(cam[later](G))"
    expected = sycam.CAM(network, text, reshape="tokens")(small_images)
    some = module_of(text, "grad-cam").SomeCAM
    close(some(network, None, places)(small_images, None), expected)
    close(some(network, None, [places, places])(small_images, None), expected)
    pytest.importorskip("torchcam")
    with module_of(text, "torchcam").SomeCAM(network, reshape_transform=places) as extractor:
        scores = network(small_images)
        (maps,) = extractor(scores.argmax(1).tolist(), scores)
    close(norm01(upsample(maps[None], (16, 16))[0]), expected)


def test_each_layer_may_have_a_reshape_of_its_own(module_of, grad_cam, small_images):
    network = Mixed().eval()
    cam = module_of("cam[embed](G) * cam[block](G)", "grad-cam").SomeCAM(
        network, None, [None, places]
    )
    reshape = lambda output: output if output.ndim == 4 else places(output)  # noqa: E731
    expected = sycam.CAM(network, "cam[embed](G) * cam[block](G)", reshape=reshape)(small_images)
    close(cam(small_images, None), expected)
    measured = module_of("cam[embed](G) * cam[block](S)", "grad-cam").SomeCAM
    with pytest.raises(ValueError, match="one per layer, and the formula one of A and G"):
        measured(network, None, places)(small_images, None)


# --- one graph ----------------------------------------------------------------------------------


graph_winner = partial(winner_of, layers=["last"], shape=(3, 17, 14))
GRAPHS = [
    "cam[fine](mean(A) * p) * smooth(cam[last](y * A))",
    "maximum(cam[side](A), 0.5 * cam[deep.0](smooth(max(A)))) + cam[side](channelsum(A))",
    "top(cam[fine](A), 20) + cam[last](principal(A))",
]


@pytest.mark.slow
@pytest.mark.parametrize("text", GRAPHS)
@pytest.mark.parametrize("base", ["torch-export", "onnx"])
def test_one_graph_gives_them(text, base, tmp_path, network, images):
    if base == "onnx":
        pytest.importorskip("onnxscript", reason="ONNX is written by onnxscript")
        runtime = pytest.importorskip("onnxruntime")
    path = tmp_path / f"cam{TARGETS[base].suffix}"
    winner = graph_winner(text, network=network)
    assert TARGETS[base].supports(winner, TARGETS) is None
    TARGETS[base].write(winner, path, "Found on Friday.")
    expected = sycam.CAM(network, text)(images)
    for count in (5, 1):
        if base == "onnx":
            session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            found = session.run(["scores", "heatmaps"], {"images": images[:count].numpy()})
            scores, heatmaps = map(torch.from_numpy, found)
        else:
            scores, heatmaps = torch.export.load(path).module()(images[:count])
        torch.testing.assert_close(scores, network(images[:count]), rtol=0, atol=1e-5)
        close(heatmaps, expected[:count])


def test_which_targets_can_say_it(network):
    def able(winner: Winner) -> set[str]:
        winner = replace(winner, network=None)
        return {n for n, t in TARGETS.items() if t.supports(winner, TARGETS) is None}

    every = {"torch", "grad-cam", "torchcam", "captum", "quantus"}
    assert able(graph_winner(PRODUCT, network=network)) == every
    assert able(graph_winner(GRAPHS[0], network=network)) == every | {"onnx", "torch-export"}
    assert able(graph_winner(PRODUCT, network=network, reshape="tokens")) == {
        "grad-cam",
        "torchcam",
    }
    with pytest.raises(OptionError, match=r"leaf G is a gradient.* export a class \(base torch"):
        raise TARGETS["onnx"].supports(graph_winner(PRODUCT, network=network), TARGETS)


# --- the modules themselves ---------------------------------------------------------------------


@pytest.mark.parametrize("base", classes(TARGETS))
@pytest.mark.parametrize(
    "text", [FORMULAS[1], "cam[a.b](S) + cam[a.c](D) + cam[a.d](MI) * cam[a](G)"]
)
def test_the_source_is_clean_and_says_what_it_is(text, base, tmp_path):
    path = tmp_path / "clean.py"
    path.write_text(TARGETS[base].source(parse(text), "Clean", "Found on Friday.", "layer4"))
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--isolated", "--select", "E,F,I,B", "--ignore", "E501"],
                    ["format", "--isolated", "--check", "--line-length", "100"]):  # fmt: skip
        done = subprocess.run([*ruff, *command, path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    tree = ast.parse(path.read_text())
    document = ast.get_docstring(tree)
    assert document.startswith(f"Clean: class activation maps by {parse(text)}\n")
    assert heatmap_latex(parse(text)) in document
    assert document.endswith("Found on Friday.")
    names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not any(name.startswith("sycam") for name in names)


@pytest.mark.parametrize(
    "layer",
    ['x""";import(os)#', "back\\slash", "quo'te\"s", "right\u202eleft", "ünïcode", "\U0001f600"],
)
def test_a_layers_name_is_text_alone(layer, module_of, tmp_path):
    """Names of layers are a network's, which may come from anywhere."""
    text = f"cam[{layer}](G) * cam[deep.0](A)"
    assert check_exported(text)
    for base in ("torch", "captum"):
        module = module_of(text, base)
        assert list(module.LAYERS) == [layer, "deep.0"]


def test_layers_by_name_and_one_without_are_refused():
    with pytest.raises(ExpressionError, match="one without"):
        TARGETS["torch"].source(parse("cam[a](G) * cam[b](G) * cam(G)"), "SomeCAM")
