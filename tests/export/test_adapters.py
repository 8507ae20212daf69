"""Adapters inside the libraries' own code: the engine's heatmaps, wherever one is taken."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sycam
from sycam.data import demo
from sycam.errors import OptionError, RunError, UnknownNameError
from sycam.evidence import find_layer
from sycam.export import TARGETS, export
from sycam.export.explained import Explained
from sycam.export.reshape_text import reshape_source
from sycam.export.target import classes
from sycam.heatmaps.heatmaps import norm01, upsample
from sycam.language import parse
from sycam.testing import isolated_operators

EXPLAINED = [0, 1, 2, 3, 4, 0, 1]
# Formulas of the recorded leaves A and G, of all sorts, and of each leaf that is measured besides.
RECORDED = ["mean(G)", "mean(relu(G)) * max(A)", "relu(G)", "smooth(G)", "channelsum(relu(G * A))",
            "sum(G * A) / sum(A)", "max(A)", "smooth(principal(abs(G) * A))"]  # fmt: skip
MEASURED = ["p * G + mean(A) / y", "softmax(S)", "D", "mean(G) * normalize(MI)", "mean(G - 0.5*H)"]
FORMULAS = RECORDED + MEASURED


@pytest.fixture
def engine(small_network, small_images):
    """The engine's heatmaps ``[N,H,W]`` of a formula, for the classes in EXPLAINED."""

    def heatmaps(text: str, targets=EXPLAINED, layer="3", fusion="mean") -> Tensor:
        cam = sycam.CAM(small_network, layer, text, fusion=fusion)
        maps = cam(small_images, targets)
        assert maps.amax((1, 2)).gt(0).any()
        return maps

    return heatmaps


def finished(cams: Tensor) -> Tensor:
    """Maps of the layer's size as the engine finishes them."""
    return norm01(upsample(cams.clamp(min=0)[None], (16, 16))[0])


def close(found, expected: Tensor) -> None:
    torch.testing.assert_close(torch.as_tensor(found), expected, rtol=0, atol=1e-5)


# --- pytorch-grad-cam ---------------------------------------------------------------------------


@pytest.fixture
def targets_of(grad_cam):
    target = grad_cam.utils.model_targets.ClassifierOutputTarget
    return lambda classes=EXPLAINED: [target(c) for c in classes]


@pytest.mark.parametrize("text", FORMULAS)
def test_grad_cam_gives_the_engines_heatmaps(
    text, module_of, engine, targets_of, small_network, small_images
):
    before = {name: tensor.clone() for name, tensor in small_network.state_dict().items()}
    with module_of(text, "grad-cam").SomeCAM(small_network, [small_network[3]]) as cam:
        close(cam(small_images, targets_of()), engine(text))
        close(cam(small_images, None), engine(text, None))
    assert all(torch.equal(before[n], t) for n, t in small_network.state_dict().items())
    assert not any(m._forward_hooks for m in small_network.modules())


@pytest.mark.parametrize("text", ["mean(relu(G)) * max(A)", "D"])
def test_grad_cam_fuses_layers_as_the_engine_does(
    text, module_of, engine, targets_of, small_network, small_images
):
    layers = [small_network[1], small_network[3]]
    cam = module_of(text, "grad-cam").SomeCAM(small_network, layers)
    close(cam(small_images, targets_of()), engine(text, layer=["1", "3"]))


@pytest.mark.parametrize("text", ["mean(relu(G)) * max(A)", "G - H", "softmax(S)"])
def test_grad_cam_refines_and_compares(
    text, module_of, engine, targets_of, grad_cam, small_network, small_images
):
    """RefineCAM multiplies layers, FinerCAM explains what tells a class from its neighbours."""
    some = module_of(text, "grad-cam").SomeCAM
    layers = [small_network[1], small_network[3]]
    refined = importlib.import_module("pytorch_grad_cam.refine_cam").RefineCAM(
        small_network, layers, base_method=some
    )
    found = refined(small_images, targets_of())
    close(found, engine(text, layer=["1", "3"], fusion="product"))

    finer = importlib.import_module("pytorch_grad_cam.finer_cam").FinerCAM
    with finer(small_network, layers[1:], base_method=some) as cam:
        found = cam(small_images)
    order = small_network(small_images).argsort(1, descending=True)
    weighted = grad_cam.utils.model_targets.FinerWeightedTarget
    contrasts = [weighted(int(row[0]), [int(i) for i in row[1:4]], 1) for row in order]
    close(found, engine(text, contrasts))


@pytest.mark.parametrize("text", ["mean(relu(G)) * max(A)", "p * G"])
def test_grad_cam_metrics_take_it(text, module_of, targets_of, small_network, small_images):
    metrics = importlib.import_module("pytorch_grad_cam.metrics.road")
    drops = importlib.import_module("pytorch_grad_cam.metrics.cam_mult_image")
    arcc = importlib.import_module("pytorch_grad_cam.metrics.arcc")
    images, targets = small_images[:2], targets_of(EXPLAINED[:2])
    cam = module_of(text, "grad-cam").SomeCAM(small_network, [small_network[3]])
    maps = cam(images, targets)
    assert not np.array_equal(maps, cam(images, targets, aug_smooth=True))
    for metric in (
        metrics.ROADCombined(percentiles=[40, 60]),
        drops.DropInConfidence(),
        arcc.ARCC(cam, road_percentiles=[40]),
    ):
        assert np.isfinite(metric(images, maps, targets, small_network)).all()


def test_grad_cam_smooths_by_the_principal_component(
    module_of, targets_of, grad_cam, small_network, small_images
):
    """The same as the package's own Grad-CAM."""
    ours = module_of("mean(G)", "grad-cam").SomeCAM(small_network, [small_network[3]])
    theirs = grad_cam.GradCAM(small_network, [small_network[3]])
    found, expected = (c(small_images, targets_of(), eigen_smooth=True) for c in (ours, theirs))
    # A component has no sign, and the sign that comes out may differ by rounding.
    same = np.abs(found - expected).max((1, 2)) < 1e-4
    assert same.mean() > 0.5
    heat = module_of("channelsum(relu(G))", "grad-cam").SomeCAM(small_network, [small_network[3]])
    with pytest.raises(ValueError, match=r"eigen_smooth needs .* channel weights"):
        heat(small_images, targets_of(), eigen_smooth=True)


class Tokens(nn.Module):
    """(N,3,16,16) to 17 tokens of 6 channels and 4 classes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.block = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 6)
        self.head = nn.Linear(17 * 6, 4)

    def forward(self, images):
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
        return self.head(self.block(tokens).tanh().flatten(1))


class ChannelsLast(nn.Module):
    """(N,3,16,16) to (N,4,4,6) and 4 classes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.block = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 6)
        self.head = nn.Linear(96, 4)

    def forward(self, images):
        return self.head(self.block(self.embed(images).movedim(1, -1)).tanh().flatten(1))


@pytest.mark.parametrize(
    ("kind", "reshape", "recorded"),
    [
        (Tokens, "tokens", "tokens"),
        (Tokens, "tokens", "tokens:prefix=1,grid=4x4"),
        (ChannelsLast, "channels-last", "channels-last"),
    ],
)
@pytest.mark.parametrize("base", ["grad-cam", "torchcam"])
def test_a_transformers_class_brings_its_reshape(
    base, kind, reshape, recorded, module_of, torchcam, small_images
):
    """The file advised a reshape_transform of 'tokens', which is no callable."""
    network = kind().eval()
    expected = sycam.CAM(network, "block", "mean(G) * A", reshape=reshape)(small_images)
    some = module_of("mean(G) * A", base, reshape=recorded).SomeCAM
    if base == "grad-cam":
        found = some(network, [network.block])(small_images, None)
    else:
        with some(network, "block") as extractor:
            scores = network(small_images)
            found = finished(extractor(scores.argmax(1).tolist(), scores)[0])
    close(found, expected)


@pytest.mark.parametrize(
    ("order", "shape"), [("NTK", (2, 130, 3)), ("NKT", (2, 3, 130)), ("TNK", (130, 2, 3))]
)
def test_the_reshape_of_a_grid_that_is_no_square(order, shape, module_of, grad_cam):
    recorded = f"tokens:prefix=1,grid=8x16,order={order}"
    module = module_of("mean(G)", "grad-cam", reshape=recorded)
    output = torch.arange(780.0).reshape(shape)
    images_first = output.permute([order.index(letter) for letter in "NKT"])
    made = module.reshape_transform(output)
    assert made.shape == (2, 3, 8, 16)
    assert torch.equal(made.flatten(2), images_first[..., 1:129])
    assert reshape_source(None) == reshape_source("callable f 12ab") == ""


def test_grad_cam_explains_a_transformer(module_of, grad_cam, small_images):
    def places(output: Tensor) -> Tensor:
        return output[:, 1:].transpose(1, 2).unflatten(2, (4, 4))

    network = Tokens().eval()
    cam = module_of("mean(G)", "grad-cam").SomeCAM(network, [network.block], places)
    expected = sycam.CAM(network, "block", "mean(G)", reshape="tokens")(small_images)
    close(cam(small_images, None), expected)
    with pytest.raises(ValueError, match=r"S are measured .* no reshape_transform"):
        module_of("softmax(S)", "grad-cam").SomeCAM(network, [network.block], places)


def test_grad_cam_says_what_was_not_recorded(module_of, small_network, small_images, grad_cam):
    frozen = small_network.requires_grad_(False)
    cam = module_of("mean(G)", "grad-cam").SomeCAM
    with pytest.raises(ValueError, match="nothing was recorded as G at ReLU"):
        cam(frozen, [frozen[3]])(small_images, None)
    whole = cam(frozen, [frozen[3]], compute_input_gradient=True)
    close(whole(small_images, None), sycam.CAM(frozen, "3", "mean(G)")(small_images))
    frozen[-1].requires_grad_(True)
    with pytest.raises(ValueError, match="nothing was recorded as G at ReLU"):
        cam(frozen, [frozen[3]])(small_images, None)


# --- TorchCAM -----------------------------------------------------------------------------------


@pytest.fixture
def torchcam(grad_cam) -> ModuleType:
    """TorchCAM; it needs the torchvision that ``grad_cam`` has imported."""
    return pytest.importorskip("torchcam")


@pytest.mark.parametrize("text", FORMULAS)
def test_torchcam_gives_the_engines_heatmaps(
    text, module_of, engine, torchcam, small_network, small_images
):
    def energy(row: Tensor) -> Tensor:
        return row.square().sum()

    expected, of_energy = engine(text), engine(text, energy)
    with module_of(text, "torchcam").SomeCAM(small_network, "3") as extractor:
        scores = small_network(small_images)
        (maps,) = extractor(EXPLAINED, scores, retain_graph=True)
        assert maps.shape == (7, 8, 8)
        assert 0 <= float(maps.min()) <= float(maps.max()) <= 1
        close(finished(maps), expected)
        (raw,) = extractor(EXPLAINED, scores, normalized=False, retain_graph=True)
        close(finished(raw), expected)
        (other,) = extractor(scores=scores, targets=energy)
        close(finished(other), of_energy)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in small_network.modules())


@pytest.mark.parametrize("text", ["mean(relu(G)) * max(A)", "max(A)", "softmax(S)"])
def test_torchcam_takes_it_everywhere(text, module_of, torchcam, small_network, small_images):
    some = module_of(text, "torchcam").SomeCAM
    explained = importlib.import_module("torchcam.explain").explain(
        small_network, small_images[:1], method=some, target_layer="3", expected_class_idx=2
    )
    assert explained.method == "SomeCAM"
    assert all(torch.isfinite(maps[0]).all() for maps in explained.cams.values())

    metrics = importlib.import_module("torchcam.metrics")
    softmax = lambda logits: logits.softmax(1)  # noqa: E731
    for metric in (metrics.ClassificationMetric, metrics.DeletionInsertionMetric):
        with some(small_network, "3") as extractor:
            judge = metric(extractor, softmax)
            judge.update(small_images)
            assert all(np.isfinite(float(v)) for v in judge.summary().values() if v is not None)

    refine = importlib.import_module("torchcam.methods").RefineCAM
    with refine(small_network, ["1", "3"], base_method=some) as extractor:
        (maps,) = extractor(1, small_network(small_images))
    alone = []
    for layer in ("1", "3"):
        with some(small_network, layer) as extractor:
            (cam,) = extractor(1, small_network(small_images))
        alone.append(upsample(cam[None], (16, 16))[0])
    close(maps, norm01(alone[0] * alone[1]))


# --- Captum -------------------------------------------------------------------------------------


@pytest.fixture
def captum() -> ModuleType:
    return pytest.importorskip("captum.attr")


@pytest.mark.parametrize("text", FORMULAS)
def test_captum_gives_the_engines_heatmaps(
    text, module_of, engine, captum, small_network, small_images
):
    cam = module_of(text, "captum").SomeCAM(small_network, small_network[3])
    maps = cam.attribute(small_images, target=EXPLAINED, relu_attributions=True)
    assert maps.shape == (7, 1, 8, 8)
    up = captum.LayerAttribution.interpolate(maps, (16, 16), "bilinear")
    close(norm01(up[:, 0]), engine(text))
    signed = cam.attribute(small_images, target=EXPLAINED)
    torch.testing.assert_close(signed.clamp(min=0), maps)


@pytest.mark.parametrize("text", ["mean(G)", "p * G"])
def test_captum_takes_it_everywhere(text, module_of, captum, small_network, small_images):
    cam = module_of(text, "captum").SomeCAM(small_network, small_network[3])
    torch.manual_seed(0)
    images = small_images[:2]
    tunnel = captum.NoiseTunnel(cam)
    options = {"nt_type": "smoothgrad", "nt_samples": 3, "stdevs": 0.1}
    assert tunnel.attribute(images, target=EXPLAINED[:2], **options).shape == (2, 1, 8, 8)
    sensitivity = importlib.import_module("captum.metrics").sensitivity_max
    found = sensitivity(lambda i, **more: (cam.attribute(i, **more),), images, target=EXPLAINED[:2])
    assert found.shape == (2,)
    assert (found > 0).all()
    if text == "mean(G)":
        theirs = captum.LayerGradCam(small_network, small_network[3])
        options = {"target": EXPLAINED, "attribute_to_layer_input": True}
        close(cam.attribute(small_images, **options), theirs.attribute(small_images, **options))


def test_captum_says_what_a_measuring_formula_cannot_take(module_of, captum, small_network,
                                                          small_images):  # fmt: skip
    some = module_of("softmax(S)", "captum").SomeCAM
    with pytest.raises(ValueError, match=r"give a torch\.nn\.Module, got function"):
        some(lambda x: small_network(x), small_network[3]).attribute(small_images, 0)
    with pytest.raises(ValueError, match="no additional_forward_args"):
        some(small_network, small_network[3]).attribute(small_images, 0, (1,))


# --- Quantus ------------------------------------------------------------------------------------


@pytest.fixture
def quantus(grad_cam) -> ModuleType:
    """Quantus; it needs the torchvision that ``grad_cam`` has imported."""
    return pytest.importorskip("quantus")


@pytest.mark.parametrize("text", FORMULAS)
def test_quantus_gets_the_engines_heatmaps(text, module_of, engine, small_network, small_images):
    explain = module_of(text, "quantus").explain
    maps = explain(model=small_network, inputs=small_images.numpy(), targets=np.array(EXPLAINED))
    assert maps.shape == (7, 1, 16, 16)
    close(maps[:, 0], engine(text))
    other = explain(small_network, small_images.numpy(), EXPLAINED, layer="1", method="anything")
    close(other[:, 0], engine(text, layer="1"))


def test_quantus_randomises_the_model_that_is_explained(module_of, quantus):
    """MPRT explains copies with other weights: their heatmaps are not the network's."""
    explain = module_of("mean(relu(G)) * max(A)", "quantus", layer=demo.LAYER).explain
    network, images = demo.network(), demo.normalise(demo.scenes("heldout", 3).images)
    classes = network(images).argmax(1).numpy()
    given = {"x_batch": images.numpy(), "y_batch": classes, "a_batch": None}
    metric = quantus.MPRT(disable_warnings=True)
    scores = metric(model=network, explain_func=explain, device="cpu", **given)
    assert np.allclose(scores.pop("original"), 1)
    alike = [np.mean(values) for values in scores.values()]
    assert max(alike) < 0.999
    assert min(alike) < 0.9
    stable = quantus.MaxSensitivity(nr_samples=2, disable_warnings=True)
    found = stable(model=network, explain_func=explain, device="cpu", **given)
    assert np.isfinite(found).all()
    assert min(found) > 0


# --- the modules themselves ---------------------------------------------------------------------


@pytest.mark.parametrize("base", [base for base in classes(TARGETS) if base != "torch"])
@pytest.mark.parametrize("text", ["mean(relu(G)) * max(A)", "C * D + MI * 2", "smooth(S)"])
def test_the_source_is_clean_and_needs_one_library(text, base, tmp_path):
    path = tmp_path / "clean.py"
    path.write_text(TARGETS[base].source(parse(text), "Clean", "Found on Friday.", "layer4"))
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--isolated", "--select", "E,F,I,B", "--ignore", "E501"],
                    ["format", "--isolated", "--check", "--line-length", "100"]):  # fmt: skip
        done = subprocess.run([*ruff, *command, path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    tree = ast.parse(path.read_text())
    names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    roots = {name.split(".")[0] for name in names}
    library = {"grad-cam": "pytorch_grad_cam", "quantus": "numpy"}.get(base, base)
    standard = {"__future__", "collections", "contextlib", "threading", "warnings"}
    assert roots - standard - {"torch", "numpy"} <= {library}
    document = ast.get_docstring(tree)
    assert str(parse(text)) in document
    assert "Found on Friday." in document
    assert "\\mathrm{relu}" in document or r"\sum" in document


def test_a_users_operator_goes_along(module_of, engine, targets_of, small_network, small_images):
    with isolated_operators():

        @sycam.operator("map -> weight", name="spread")
        def span_of_places(t: Tensor) -> Tensor:
            """Largest minus smallest value."""
            return t.amax((-2, -1), keepdim=True) - t.amin((-2, -1), keepdim=True)

        text = "mean(G) * spread(A)"
        cam = module_of(text, "grad-cam").SomeCAM(small_network, [small_network[3]])
        close(cam(small_images, targets_of()), engine(text))


def test_volumes_have_their_grid(module_of, captum, torchcam):
    torch.manual_seed(2)
    network = nn.Sequential(
        nn.Conv3d(1, 5, 3, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(5 * 60, 3)
    ).eval()
    images = torch.rand(2, 1, 6, 8, 10, generator=torch.Generator().manual_seed(0))
    expected = sycam.CAM(network, "1", "mean(G)")(images, 0)
    cam = module_of("mean(G)", "captum").SomeCAM(network, network[1])
    maps = cam.attribute(images, target=0, relu_attributions=True)
    assert maps.shape == (2, 1, 3, 4, 5)
    up = nn.functional.interpolate(maps, (6, 8, 10), mode="trilinear", align_corners=False)
    close(norm01(up[:, 0], 3), expected)
    with module_of("mean(G)", "torchcam").SomeCAM(network, "1") as extractor:
        (maps,) = extractor(0, network(images))
    up = nn.functional.interpolate(maps[:, None], (6, 8, 10), mode="trilinear", align_corners=False)
    close(norm01(up[:, 0], 3), expected)
    cam = module_of("mean(G)", "grad-cam").SomeCAM(network, [network[1]])
    found = cam(images, None)
    assert found.shape == (2, 6, 8, 10)


# --- what is asked of an export -----------------------------------------------------------------


def run_of(text="mean(G)", layers=("a",), fusion="mean", reshape=None) -> SimpleNamespace:
    """What export reads of a run before it writes."""
    network = SimpleNamespace(layers=tuple(layers), fusion=fusion, reshape=reshape)
    record = SimpleNamespace(network=network)
    return SimpleNamespace(best=SimpleNamespace(expression=text), record=record)


@pytest.mark.parametrize(
    ("run", "options", "error", "said"),
    [
        ({}, {"base": "gradcam"}, UnknownNameError, "did you mean 'grad-cam'"),
        ({}, {"base": "captum", "path": "cam.onnx"}, OptionError, "say base 'onnx'"),
        ({}, {"network": "nets.py:resnet"}, OptionError, "network is for onnx and torch-export"),
        ({"layers": "ab"}, {"base": "torchcam"}, RunError, "base 'grad-cam' takes several"),
        ({"layers": "ab", "fusion": "max"}, {"base": "grad-cam"}, RunError, "fusion max"),
        ({"reshape": "tokens"}, {"base": "captum"}, RunError, "have a reshape_transform"),
        ({"reshape": "tokens", "text": "D"}, {"base": "grad-cam"}, RunError, "formulas of A and G"),
    ],
)
def test_what_a_base_cannot_say_is_refused(run, options, error, said, tmp_path):
    options = {"path": "cam.py", **options}
    path = tmp_path / options.pop("path")
    with pytest.raises(error, match=said):
        export(run_of(**run), path, **options)
    assert not path.exists()


@pytest.mark.parametrize("text", ["mean(G)", "D"])
@pytest.mark.parametrize("base", classes(TARGETS))
def test_a_name_may_hold_those_of_the_templates(base, text):
    for name in ("MyExportedCAM", "MyMeasuringCAM", "ExportedCAM"):
        tree = ast.parse(TARGETS[base].source(parse(text), name, "", "3"))
        classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
        assert classes[-1] == name
        helpers = {"_Here", "ThreadsApart", "OwnPasses"}
        assert [c for c in classes[:-1] if c not in helpers] in ([], [f"_Recorded{name}"])


def test_captum_must_be_told_the_class(small_network, small_images, module_of):
    pytest.importorskip("captum")
    cam = module_of("p * G", "captum").SomeCAM(small_network, small_network[3])
    with pytest.raises(ValueError, match="target is missing: the network has 5 classes"):
        cam.attribute(small_images)
    one = nn.Sequential(*small_network, nn.Linear(5, 1)).train()
    alone = module_of("p * G", "captum").SomeCAM(one, one[3])
    before = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    assert torch.equal(alone.attribute(small_images), alone.attribute(small_images, target=0))
    assert one.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in one.state_dict().items())


# --- layers that an operation in place follows ----------------------------------------------------


@pytest.fixture
def in_place() -> nn.Module:
    """Layer "1" is followed by an activation that overwrites its output."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Hardswish(inplace=True),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 64, 5),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("text", ["mean(G)", "max(A)", "relu(G)"])
@pytest.mark.parametrize("base", ["torch", "grad-cam", "torchcam", "captum"])
def test_what_follows_in_place_changes_nothing_recorded(
    base, text, module_of, grad_cam, in_place, small_images
):
    """MobileNets were off by 4e-3: the layer's output was recorded after it was overwritten."""
    expected = sycam.CAM(in_place, "1", text)(small_images)
    module = module_of(text, base, layer="1")
    classes = in_place(small_images).argmax(1).tolist()
    if base == "torch":
        found = module.SomeCAM(in_place, "1")(small_images)
    elif base == "grad-cam":
        found = module.SomeCAM(in_place, [in_place[1]])(small_images, None)
    elif base == "torchcam":
        with module.SomeCAM(in_place, "1") as extractor:
            scores = in_place(small_images)
            found = finished(extractor(classes, scores)[0])
    else:
        cams = module.SomeCAM(in_place, in_place[1]).attribute(small_images, target=classes)
        found = finished(cams[:, 0])
    close(found, expected)


def test_a_graph_keeps_what_an_operation_in_place_overwrites(in_place, small_images):
    layers = [find_layer(in_place, "1", small_images)]
    size = tuple(small_images.shape[2:])
    graph = Explained(in_place, layers, parse("max(A)"), "mean", size, None, small_images)
    close(graph(small_images)[1], sycam.CAM(in_place, "1", "max(A)")(small_images))


def test_grad_cam_of_a_mobilenet_at_autos_choice(module_of, grad_cam, small_images):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    network = models.mobilenet_v3_small(weights=None).eval()
    images = torch.nn.functional.interpolate(small_images[:4], 96)
    cam = sycam.CAM(network, "auto", "mean(relu(G)) * max(A)")
    expected = cam(images)
    written = module_of("mean(relu(G)) * max(A)", "grad-cam", layer=cam.layer).SomeCAM
    close(written(network, [network.get_submodule(cam.layer)])(images, None), expected)
