"""Measuring leaves no trace on the user's network or on the random state."""

from __future__ import annotations

import copy
import re
import threading
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sycam
from sycam import CAM
from sycam.errors import DataError, LayerError, NetworkError
from sycam.evidence import measure
from sycam.inference import Classifier


class Touchy(nn.Module):
    """Everything that a careless user of a network disturbs."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.layer = nn.Conv2d(4, 5, 3, stride=2)
        self.drop = nn.Dropout(0.5)
        self.frozen = nn.BatchNorm2d(5)
        self.head = nn.Linear(5 * 49, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("replaced", torch.zeros(2))
        self.register_buffer("nothing", None)
        self.fail = False

    def forward(self, x):
        self.calls += 1
        self.replaced = self.replaced + 1  # another tensor object under the same name
        if "late" not in self._buffers:
            self.register_buffer("late", torch.ones(1))
        x = self.drop(self.layer(self.norm(self.first(x)).relu()))
        noise = torch.randn_like(x)
        if self.fail:
            raise ValueError("no such luck")
        return self.head(F.relu(self.frozen(x + 0 * noise)).flatten(1))


def touchy() -> Touchy:
    torch.manual_seed(5)
    network = Touchy().train()
    network.frozen.eval()  # a module whose mode differs from the network's
    network.first.weight.requires_grad_(False)
    network.head.bias.grad = torch.full((3,), 7.0)
    network.to(memory_format=torch.channels_last)
    network.layer.register_forward_hook(lambda *_: None)
    network.layer.register_full_backward_hook(lambda *_: None)
    return network


def state(network: nn.Module) -> dict[str, object]:
    """All that must be as before, by name."""
    out: dict[str, object] = {}
    for name, module in network.named_modules():
        out[f"{name} training"] = module.training
        for hooks in (a for a in vars(module) if re.search("hook", a)):
            out[f"{name} {hooks}"] = copy.copy(vars(module)[hooks])
        out[f"{name} buffer objects"] = {k: id(v) for k, v in module._buffers.items()}
        out[f"{name} attributes"] = sorted(vars(module))
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        out[name] = tensor.detach().clone()
        out[f"{name} facts"] = (
            id(tensor),
            tensor.requires_grad,
            tensor.dtype,
            tensor.device,
            tensor.stride(),
            tensor.data_ptr(),
            None if tensor.grad is None else tensor.grad.clone(),
        )
    out["random"] = torch.get_rng_state()
    out["threads"] = (torch.get_num_threads(), torch.get_num_interop_threads())
    out["grad"] = (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    out["dtype"] = torch.get_default_dtype()
    return out


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def changed(before: dict[str, object], after: dict[str, object]) -> list[str]:
    return [k for k in {**before, **after} if not same(before.get(k), after.get(k))]


def test_no_trace_is_left_on_the_network():
    network, images = touchy(), torch.rand(6, 3, 16, 16)
    before = state(network)
    first = measure(network, network.layer, images, batch=2)
    assert changed(before, state(network)) == []
    torch.rand(3)
    second = measure(network, network.layer, images)
    torch.testing.assert_close(first.gradients, second.gradients)


def test_no_trace_after_an_exception_in_forward():
    network, images = touchy(), torch.rand(6, 3, 16, 16)
    network.fail = True
    before = state(network)
    with pytest.raises(
        NetworkError, match=r"failed on images .*ValueError: no such luck"
    ) as caught:
        measure(network, network.layer, images)
    assert isinstance(caught.value.__cause__, ValueError)
    assert changed(before, state(network)) == []


@pytest.mark.parametrize("layer", ["head", "unused"])
def test_no_trace_after_a_layer_error(layer):
    network, images = touchy(), torch.rand(6, 3, 16, 16)
    network.unused = nn.Conv2d(3, 3, 1)
    before = state(network)
    with pytest.raises(LayerError):
        measure(network, network.get_submodule(layer), images)
    assert changed(before, state(network)) == []


def test_no_trace_after_a_failing_target():
    network, images = touchy(), torch.rand(6, 3, 16, 16)
    before = state(network)

    def target(row: Tensor) -> Tensor:
        raise KeyError("of the user's own")

    with pytest.raises(DataError, match=r"the callable target failed on one row.*user's own"):
        measure(network, network.layer, images, target)
    assert changed(before, state(network)) == []


class Remembers(nn.Module):
    """Keeps what it saw last, as many networks do."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        self.seen = None

    def forward(self, images: Tensor) -> Tensor:
        self.seen = self.body(images).relu()
        self.late = self.seen.mean((2, 3))
        return self.head(self.late)


def test_tensors_that_a_network_keeps_leave_no_graph_behind():
    """A kept tensor with a graph once made the network impossible to copy."""
    network, images = Remembers().eval(), torch.rand(6, 3, 16, 16)
    measure(network, network.body, images)
    assert network.seen is None
    assert not hasattr(network, "late")
    copy.deepcopy(network)
    for method in ("eigen-cam", "fullgrad", "ablation-cam"):
        assert CAM(network, "body", method)(images).shape == (6, 16, 16)


def test_nan_in_a_buffer_stays():
    network = touchy().eval()
    network.replaced.fill_(torch.nan)
    measure(network, network.layer, torch.rand(2, 3, 16, 16))
    assert network.replaced.isnan().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_generators_are_left_alone(small_network, small_images):
    for network in (small_network, copy.deepcopy(small_network).cuda()):
        before = torch.cuda.get_rng_state()
        found = measure(network, network[3], small_images)
        assert torch.equal(torch.cuda.get_rng_state(), before)
        assert found.gradients.device == network[0].weight.device


class Collects(nn.Module):
    """Keeps state in whatever an attribute can be, and holds what cannot be copied."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.lock = threading.Lock()
        self.seen, self.last, self.kinds = [], {"all": []}, {1}
        self.recent, self.memory = deque([0], maxlen=2), torch.zeros(5)
        self.own, self.counts = SimpleNamespace(passes=0), np.zeros(2)
        self.generator = torch.Generator()
        self.unloaded = torch.empty(3, device="meta")
        self.register_buffer("later", torch.empty(3, device="meta"))

    def forward(self, images):
        with self.lock:
            outputs = self.network(images)
            self.seen.append(outputs)
            self.last["all"].append(len(images))
            self.last["one"] = outputs
            self.kinds.add(len(self.seen))
            self.recent.append(1)
            self.memory += outputs.detach()[0]
            self.own.passes += 1
            self.own.last = outputs
            self.counts[1] += 1
            torch.rand(1, generator=self.generator)
            return outputs


def test_what_forward_adds_to_containers_and_tensors_is_taken_back(small_network, small_images):
    network = Collects(small_network)
    held = network.seen, network.last, network.last["all"], network.kinds, network.memory
    state = network.generator.get_state()
    for formula in ("grad-cam", "D * A", "fullgrad"):
        found = CAM(network, "network.3", formula)(small_images[:2])
        expected = CAM(small_network, "3", formula)(small_images[:2])
        torch.testing.assert_close(found, expected)
    sycam.evaluate(network, "network.3", small_images, ["grad-cam"], ["road", "randomisation"])
    now = network.seen, network.last, network.last["all"], network.kinds, network.memory
    assert all(a is b for a, b in zip(held, now, strict=True))
    assert (network.seen, network.last, network.kinds) == ([], {"all": []}, {1})
    assert list(network.recent) == [0]
    assert not network.memory.any()
    assert vars(network.own) == {"passes": 0}
    assert not network.counts.any()
    assert torch.equal(network.generator.get_state(), state)


def test_what_forward_keeps_does_not_grow_in_the_classifiers_copy(small_network, small_images):
    classifier = Classifier(Collects(small_network), batch=2)
    expected = small_network(small_images).softmax(1)[:, 0].detach()
    found = classifier.probability(small_images, torch.zeros(7, dtype=torch.int64))
    torch.testing.assert_close(found, expected)
    assert classifier.network.seen == []


def test_weights_on_the_meta_device_are_refused(small_network, small_images):
    with pytest.raises(NetworkError, match="are on the meta device, which holds no values"):
        CAM(small_network.to("meta"), "3", "grad-cam")(small_images)
