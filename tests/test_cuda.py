"""The whole path on a GPU, against the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sycam
from sycam.applications import train_segmenter
from sycam.data import demo
from sycam.methods import METHODS
from sycam.metrics import METRICS, find_metric
from sycam.problem.images import demo_images

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
FORMULAS = ["grad-cam", "layer-cam", "mean(relu(G)) * max(A)"]


@pytest.fixture(autouse=True)
def float32_as_on_the_cpu():
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def scores(metric: str, device: str) -> np.ndarray:
    images = demo_images("heldout", 6, 0)
    table = sycam.evaluate("demo", demo.LAYER, images, FORMULAS, [metric], device=device)
    return np.stack(list(table.scores.values()))


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_scores_as_on_the_cpu(name):
    if name == "rm":
        pytest.importorskip("skimage", reason="superpixels need scikit-image")
    found, expected = scores(name, "cuda"), scores(name, "cpu")
    # Noise that is drawn is drawn on the CPU for both; rankings may differ where values tie to
    # the last bit, which moves single pixels.
    tolerance = 5e-3 * max(1.0, np.nanmax(np.abs(expected)))
    close = np.isclose(found, expected, atol=tolerance, rtol=0, equal_nan=True)
    assert close.mean() >= 0.9, (found, expected)
    assert abs(np.nanmean(found) - np.nanmean(expected)) <= tolerance


def test_the_class_draws_what_it_draws_on_the_cpu():
    network = demo.network()
    images = demo_images("heldout", 4, 0).images
    for name, method in METHODS.items():
        if method.expression is None or not method.leaves <= {"A", "G", "y", "p"}:
            continue
        expected = sycam.CAM(network, demo.LAYER, name)(images)
        found = sycam.CAM(demo.network().cuda(), demo.LAYER, name)(images.cuda())
        assert found.device.type == "cuda"
        torch.testing.assert_close(found.cpu(), expected, atol=1e-3, rtol=0)


def test_a_search_ends_as_on_the_cpu_and_is_verified(tmp_path):
    def run(device: str):
        return sycam.synthesize(
            "demo", demo.LAYER, "demo", metric="road", budget=40, max_cost=3, mode="exact",
            search_images=16, heldout=16, device=device, out=tmp_path / device,
        )  # fmt: skip

    on_gpu, on_cpu = run("cuda"), run("cpu")
    scored = {f.expression: f.score for f in on_cpu.hall}
    both = [f for f in on_gpu.hall if f.expression in scored]
    assert len(both) >= 15
    for formula in both:
        assert formula.score == pytest.approx(scored[formula.expression], abs=2e-3)
    assert sycam.verify(tmp_path / "cuda", device="cuda").holds


def test_lower_precision_and_compilation_serve_a_search():
    metric = find_metric("road:percentiles=50")
    found = sycam.synthesize(
        "demo", demo.LAYER, "demo", metric=metric, budget=20, max_cost=2, search_images=16,
        heldout=16, device="cuda", precision="bfloat16",
    )  # fmt: skip
    assert found.hall


def test_adversarial_training_goes_as_on_the_cpu():
    from sycam.applications import part

    train, test = demo_images("train", 32, 0), demo_images("heldout", 16, 0)
    how = {"layer": demo.LAYER, "test": test, "epochs": 2, "warm_up": 1, "steps": 2, "batch": 16,
           "learning_rate": 0.001, "progress": False}  # fmt: skip
    found = part("demo", train, "grad-cam", device="cuda", **how)
    expected = part("demo", train, "grad-cam", device="cpu", **how)
    assert next(found.module.parameters()).device.type == "cuda"
    for row, other in zip(found.epochs, expected.epochs, strict=True):
        assert row.loss == pytest.approx(other.loss, rel=0.05)
        assert row.marked == pytest.approx(other.marked, abs=0.02)
    assert found.accuracy.natural == pytest.approx(expected.accuracy.natural, abs=0.1)


def test_a_segmenter_learns_as_on_the_cpu():
    def heat(device: str) -> np.ndarray:
        trained = train_segmenter(
            "demo", "demo", count=64, epochs=1, attention_epochs=1, device=device
        )
        return trained.heatmaps(demo.normalise(demo.scenes("heldout", 8).images))["AME-CAM"]

    np.testing.assert_allclose(heat("cuda"), heat("cpu"), atol=0.02)
