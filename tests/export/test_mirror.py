"""Formulas with mirror(...) in every form that can run the network on the flipped images."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from winners import winner_of

import sycam
from sycam.errors import OptionError
from sycam.export import TARGETS
from sycam.heatmaps.heatmaps import norm01, upsample
from sycam.language import parse

FORMULAS = {
    "of several layers": "mirror(cam[1](relu(G)) * cam[3](p * mean(G))) + 0.2 * cam[3](A)",
    "of one": "mirror(cam(relu(G))) * cam(mean(G))",
}


@pytest.fixture(params=FORMULAS)
def formula(request) -> str:
    return FORMULAS[request.param]


@pytest.fixture
def expected(formula, small_network, small_images):
    """The engine's heatmaps ``[N,16,16]``."""

    def heatmaps(targets=None):
        named = [formula] if "cam[" in formula else ["3", formula]
        return sycam.CAM(small_network, *named)(small_images, targets)

    return heatmaps


def close(found, wanted) -> None:
    torch.testing.assert_close(torch.as_tensor(found), wanted, rtol=0, atol=1e-5)


def arguments(formula, network) -> tuple:
    """What the class of a library takes beside the network."""
    return () if "cam[" in formula else ([network[3]],)


def test_the_class_that_needs_torch_alone(
    module_of, formula, expected, small_network, small_images
):
    layer = () if "cam[" in formula else ("3",)
    cam = module_of(formula).SomeCAM(small_network, *layer)
    close(cam(small_images), expected())
    close(cam(small_images, 2, batch=3), expected(2))
    with torch.inference_mode():
        close(cam(small_images), expected())


def test_quantus(module_of, formula, expected, small_network, small_images):
    explain = module_of(formula, "quantus").explain
    found = explain(model=small_network, inputs=small_images.numpy(), targets=np.full(7, 2))
    close(found[:, 0], expected(2))


def test_grad_cam(module_of, formula, expected, grad_cam, small_network, small_images):
    cam = module_of(formula, "grad-cam").SomeCAM(small_network, *arguments(formula, small_network))
    targets = [grad_cam.utils.model_targets.ClassifierOutputTarget(2)] * 7
    close(cam(small_images, targets), expected(2))
    close(cam(small_images, None), expected())


def test_torchcam(module_of, formula, expected, grad_cam, small_network, small_images):
    pytest.importorskip("torchcam")
    some = module_of(formula, "torchcam").SomeCAM
    with some(small_network, *(("3",) if "cam[" not in formula else ())) as extractor:
        (maps,) = extractor(2, small_network(small_images))
    close(norm01(upsample(maps[None], (16, 16))[0]), expected(2))


def test_captum(module_of, formula, expected, small_network, small_images):
    pytest.importorskip("captum.attr")
    given = () if "cam[" in formula else (small_network[3],)
    cam = module_of(formula, "captum").SomeCAM(small_network, *given)
    maps = cam.attribute(small_images, target=2, relu_attributions=True)
    close(norm01(upsample(maps[:, 0][None], (16, 16))[0]), expected(2))


@pytest.mark.parametrize("base", ["torch", "grad-cam"])
def test_the_source_is_clean(base, formula, tmp_path):
    path = tmp_path / "clean.py"
    path.write_text(TARGETS[base].source(parse(formula), "SomeCAM", "Found on Friday."))
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--isolated", "--select", "E,F,I,B", "--ignore", "E501"],
                    ["format", "--isolated", "--check", "--line-length", "100"]):  # fmt: skip
        done = subprocess.run([*ruff, *command, path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "also of the image flipped left-right" in path.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("base", ["torch-export", "onnx"])
def test_one_graph_runs_the_network_on_both(base, tmp_path, small_network, small_images):
    text = "mirror(cam[1](p * A) * cam[3](channelsum(A))) + cam[3](max(A))"
    path = tmp_path / f"cam{TARGETS[base].suffix}"
    winner = winner_of(text, ["3"], small_network)
    assert TARGETS[base].supports(winner, TARGETS) is None
    TARGETS[base].write(winner, path, "Found on Friday.")
    if base == "onnx":
        runtime = pytest.importorskip("onnxruntime")
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        run = lambda x: map(torch.from_numpy, session.run(None, {"images": x.numpy()}))  # noqa: E731
    else:
        run = torch.export.load(path).module()
    expected = sycam.CAM(small_network, text)(small_images)
    for count in (7, 1):
        scores, heatmaps = run(small_images[:count])
        close(scores, small_network(small_images[:count]).detach())
        close(heatmaps, expected[:count])


def test_gradients_of_the_mirror_image_are_no_part_of_a_graph(small_network):
    winner = winner_of("mirror(cam[3](mean(G)))", ["3"], small_network)
    with pytest.raises(OptionError, match="leaf G is a gradient"):
        raise TARGETS["onnx"].supports(winner, TARGETS)
