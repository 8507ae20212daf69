"""Exported classes on one network in several threads: right heatmaps, and no trace."""

from __future__ import annotations

import copy
import random
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sycam import CAM
from sycam.export import TARGETS
from sycam.export.target import classes
from sycam.language import parse
from sycam.networks.passes import alone

THREADS, CALLS = 8, 500
SEVERAL = "cam[2](relu(G)) * cam[4](mean(G))"
TEXTS = ["max(A)", "mean(G)", "D", "softmax(S)", SEVERAL]


@pytest.fixture(autouse=True)
def often_switched() -> Iterator[None]:
    """Threads take turns a hundred times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(80, 3),
    ).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def explainer_of(
    module_of, network, images, grad_cam
) -> Callable[[str, str], Callable[[int], Tensor]]:
    """``explainer_of(base, text)``: the map of class 1 of an image by one shared object."""

    def build(base: str, text: str) -> Callable[[int], Tensor]:
        if base in ("captum", "torchcam"):
            pytest.importorskip(base)
        module = module_of(text, base, layer="4")
        if base == "quantus":
            return lambda i: torch.from_numpy(module.explain(network, images[i : i + 1], [1]))
        several = len(parse(text).sites) > 1  # the formula says which
        if base == "torchcam":
            extractor = module.SomeCAM(network, None if several else "4")
            return lambda i: extractor(1, network(images[i : i + 1]))[0]
        if base == "captum":
            cam = module.SomeCAM(network, None if several else network[4])
            return lambda i: cam.attribute(images[i : i + 1], target=1).detach()
        if base == "grad-cam":
            cam = module.SomeCAM(network, None if several else [network[4]])
            targets = [grad_cam.utils.model_targets.ClassifierOutputTarget(1)]
            return lambda i: torch.from_numpy(np.asarray(cam(images[i : i + 1], targets)))
        cam = module.SomeCAM(network, None if several else "4")
        return lambda i: cam(images[i : i + 1], [1])

    return build


@pytest.mark.parametrize("base", classes(TARGETS))
def test_one_network_in_eight_threads_beside_its_own_training(base, explainer_of, network, images):
    """500 calls of shared objects give what each gives alone; two threads differentiate the network
    without asking, and their gradients, left in the parameters, are right, too."""
    explainers = {text: explainer_of(base, text) for text in TEXTS}
    jobs = [(text, i) for text in TEXTS for i in range(len(images))]
    expected = {(text, i): explainers[text](i) for text, i in jobs}
    calls = (jobs * (CALLS // len(jobs) + 1))[:CALLS]
    random.Random(0).shuffle(calls)
    parameters = list(network.parameters())
    assert all(p.grad is None for p in parameters)
    # As a training step leaves them: nothing may add to them or take them away.
    network(images).square().sum().backward()
    kept = [p.grad.clone() for p in parameters]

    def gradients() -> list[Tensor]:
        return list(torch.autograd.grad(network(images).square().sum(), parameters))

    right, stop, lost = gradients(), threading.Event(), []

    def own() -> int:
        passes = 0
        while not stop.is_set():
            lost.extend(not a.equal(b) for a, b in zip(gradients(), right, strict=True))
            passes += 1
        return passes

    with ThreadPoolExecutor(THREADS) as pool, ThreadPoolExecutor(2) as others:
        owns = [others.submit(own) for _ in range(2)]
        try:
            found = [pool.submit(explainers[text], i) for text, i in calls]
            wrong = [
                c for c, f in zip(calls, found, strict=True) if not f.result().equal(expected[c])
            ]
        finally:
            stop.set()
        assert sum(future.result() for future in owns) > 20
    assert not wrong
    assert not any(lost)
    assert all(p.grad.equal(before) for p, before in zip(parameters, kept, strict=True))
    assert not any(module.training for module in network.modules())


def test_sycam_and_exported_classes_wait_for_each_other(explainer_of, network, images):
    """They switch the same modes, and share a lock although they share no module."""
    exported, ours = explainer_of("torch", "mean(G)"), CAM(network, "4", "mean(G)")
    network.train()
    expected = exported(0)
    torch.testing.assert_close(ours(images[:1], [1]), expected)
    kinds = [lambda: exported(0), lambda: ours(images[:1], [1])]
    with ThreadPoolExecutor(THREADS) as pool:
        found = [future.result() for future in [pool.submit(kind) for kind in kinds * 60]]
    assert all(torch.allclose(maps, expected, atol=1e-6) for maps in found)
    assert all(module.training for module in network.modules())
    with ThreadPoolExecutor(1) as pool:
        with alone():
            waiting = pool.submit(exported, 0)
            assert not waiting.done()
        assert waiting.result().equal(expected)


@pytest.mark.parametrize("text", ["mean(G)", SEVERAL])
@pytest.mark.parametrize("base", ["grad-cam", "torchcam"])
def test_a_model_with_its_hooks_can_be_copied(base, text, explainer_of, network, images):
    """Those of these bases stay on the model as long as the object does."""
    explainer = explainer_of(base, text)
    twin = copy.deepcopy(network)
    assert twin(images).equal(network(images))
    assert explainer(0).isfinite().all()


def test_a_thread_that_trains_meanwhile_is_told(module_of, network, images):
    def other_thread(row: Tensor) -> Tensor:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(network.train).result()
        return row[0]

    cam = module_of("mean(G)", "torch", layer="4").SomeCAM(network, "4")
    with pytest.raises(RuntimeError, match=r"switched the network to train mode.*copy"):
        cam(images, other_thread)
    assert all(module.training for module in network.modules())
