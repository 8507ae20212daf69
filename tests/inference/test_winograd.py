"""Minimal filtering: the convolution that it replaces, whatever its size and what follows it."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sycam.data import demo
from sycam.inference import Classifier, winograd
from sycam.inference.winograd import MinimalConvolution, suits, with_minimal_filters

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler here"
)


def conv(channels: int, filters: int, size: int = 3, **options) -> nn.Conv2d:
    options = {"padding": 1} | options
    return nn.Conv2d(channels, filters, size, **options).eval().requires_grad_(False)


def minimal(network: nn.Module) -> int:
    return sum(isinstance(module, MinimalConvolution) for module in network.modules())


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 5),
    size=st.tuples(st.integers(1, 11), st.integers(1, 11)),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    rest=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    threads=st.sampled_from([1, 2, 5]),
    seed=st.integers(0, 1000),
)
def test_it_is_the_convolution(count, size, channels, rest, threads, seed):
    torch.manual_seed(seed)
    lanes = winograd.convolution_library().lanes()
    biased, summed, rectified = rest
    plain = conv(channels[0] * lanes, channels[1] * lanes, bias=biased)
    x = torch.randn(count, plain.in_channels, *size)
    more = torch.randn(count, plain.out_channels, *size) if summed else None
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = MinimalConvolution(plain)(x, more, rectified)
    finally:
        torch.set_num_threads(before)
    bias = None if plain.bias is None else plain.bias.double()
    expected = F.conv2d(x.double(), plain.weight.double(), bias, padding=1)
    expected = expected if more is None else expected + more
    expected = expected.relu() if rectified else expected
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_what_is_not_finite_stays_so():
    """A rectifier must not hide it: the probabilities are checked for it."""
    x = torch.ones(1, 16, 6, 6)
    x[0, 0, 0, 0] = torch.nan
    found = MinimalConvolution(conv(16, 16))(x, None, True)
    assert found[0, :, :2, :2].isnan().all()
    assert found[0, :, 2:, 2:].isfinite().all()


@pytest.mark.parametrize("more", [(1, 16, 6, 6), (16, 1, 1)])
def test_what_is_added_is_broadcast(more):
    plain, x, more = conv(16, 16), torch.randn(3, 16, 6, 6), torch.randn(more)
    torch.testing.assert_close(MinimalConvolution(plain)(x, more), plain(x) + more)


@pytest.mark.parametrize(
    "given",
    [
        [torch.rand(2, 16, 6, 6, dtype=torch.bfloat16)],
        [torch.rand(2, 16, 6, 6), torch.rand(2, 16, 6, 6, dtype=torch.float64)],
        [torch.rand(2, 3, 6, 6)],
        [torch.rand(16, 16, 6)],
    ],
)
def test_other_tensors_are_refused(given):
    """They would be read and written beyond their ends."""
    with pytest.raises(TypeError, match="float32 of 16 channels"):
        MinimalConvolution(conv(16, 16))(*given)


def test_threads_that_ask_at_once_register_the_operator_once():
    """In a process of its own, where nobody has asked yet."""
    code = """
from concurrent.futures import ThreadPoolExecutor
from torch import nn
from sycam.inference.winograd import suits
plain = nn.Conv2d(16, 16, 3, padding=1)
with ThreadPoolExecutor(4) as pool:
    assert all(pool.map(suits, [plain] * 8))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_other_convolutions_are_left_to_torch():
    assert suits(conv(16, 48))
    assert suits(conv(16, 16, padding="same", bias=False))
    others = [
        conv(16, 16, size=1, padding=0),
        conv(16, 16, size=5, padding=2),
        conv(16, 16, stride=2),
        conv(16, 16, padding=0),
        conv(16, 16, dilation=2),
        conv(16, 16, groups=16),
        conv(16, 16, padding_mode="reflect"),
        conv(3, 16),
        conv(16, 17),
        conv(16, 16).double(),
        conv(512, 512),  # the transformed weights would not stay in the caches
        nn.Conv1d(16, 16, 3, padding=1),
    ]
    watched = conv(16, 16)
    watched.register_forward_hook(lambda *_: None)

    class Other(nn.Conv2d):
        """May do anything, such as standardise its weights."""

    for other in (*others, watched, Other(16, 16, 3, padding=1)):
        assert not suits(other), other


class Residual(nn.Module):
    """Sums and rectifiers that can be done with a convolution, and others that cannot."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.first, self.second, self.third = (nn.Conv2d(16, 16, 3, padding=1) for _ in range(3))
        self.shared, self.wide = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(32, 5)
        self.shift = nn.Parameter(torch.randn(1, 16, 1, 1))
        self.places = nn.Parameter(torch.randn(1, 32, 9, 12))
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        y = self.second(F.relu(self.first(x)))
        y += x  # a shortcut
        x = self.relu(y)
        x = torch.relu(self.third(x) + self.shift)  # of another shape
        y = self.shared(x)
        x = y.relu() - y  # used twice
        x = self.shared(x).relu_() + self.shared(x).sigmoid()
        x = self.wide(x) + self.places  # of the shape of one image
        return self.head(F.gelu(x).mean((2, 3)))


@pytest.mark.parametrize("traced", [True, False])
def test_networks_answer_as_before(monkeypatch, traced):
    if not traced:
        monkeypatch.setattr(winograd, "_joined", lambda *_: 1 / 0)
    network, images = Residual(), torch.randn(3, 3, 9, 12)
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    twin = with_minimal_filters(network, images[:1])
    torch.testing.assert_close(twin(images), network(images), rtol=0, atol=1e-5)
    assert minimal(twin) == 5
    assert minimal(network) == 0
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())
    if traced:  # the stem's stays with it, and those of the sums with others
        left = [n for n in twin.graph.nodes if "relu" in f"{n.target}"]
        assert len(left) == 3
        assert not any("iadd" in f"{n.target}" for n in twin.graph.nodes)


def statements(conv, x):
    x.add_(conv(x))
    x.relu_()
    return x * 2


def input_that_is_changed_meanwhile(conv, x):
    y = conv(x)
    x = F.relu(x, inplace=True)
    return y + x


def summand_that_is_changed_meanwhile(conv, x):
    z = x * 2
    y = conv(x) + z
    z.mul_(0)
    return F.relu(y) + z


def mean_of_the_images(conv, x):
    return conv(x) + x.mean(0, keepdim=True)


def scaled(conv, x):
    return torch.add(conv(x), x, alpha=2).relu()


def twice(conv, x):
    y = conv(x)
    return (y + y).relu()


@pytest.mark.parametrize(
    "body",
    [
        statements,
        input_that_is_changed_meanwhile,
        summand_that_is_changed_meanwhile,
        mean_of_the_images,
        scaled,
        twice,
    ],
)
def test_what_is_no_plain_sum_stays_as_it_is(body):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv(16, 16)

        def forward(self, x: Tensor) -> Tensor:
            return body(self.conv, x)

    network, images = Network().eval(), torch.randn(3, 16, 6, 6)
    twin = with_minimal_filters(network, images[:1].clone())
    assert minimal(twin) == 1
    assert "GraphModule" in type(twin).__mro__[1].__name__  # it was traced
    expected = network(images.clone())
    torch.testing.assert_close(twin(images.clone()), expected, rtol=0, atol=1e-5)


def test_networks_without_such_convolutions_are_left_alone(monkeypatch):
    images = torch.randn(1, 3, 9, 12)
    assert with_minimal_filters(conv(3, 16), images) is None
    assert with_minimal_filters(conv(16, 16), torch.randn(1, 16, 9, 9)) is not None
    monkeypatch.setattr(winograd, "convolution_library", lambda: None)  # no C compiler
    assert with_minimal_filters(Residual(), images) is None


@pytest.mark.parametrize(("seconds", "taken"), [((2e-3, 1e-3), True), ((1e-3, 1.1e-3), False)])
def test_a_classifier_takes_them_where_they_are_faster(monkeypatch, seconds, taken):
    monkeypatch.setattr(
        "sycam.inference.classifier.seconds_of", lambda _, *works, **_options: seconds[: len(works)]
    )
    images, targets = torch.randn(8, 3, 9, 12), torch.arange(8) % 5
    classifier = Classifier(Residual(), batch=8)
    before = classifier.probability(images, targets)
    classifier.plan(63 * 8)
    assert minimal(classifier.network) == 0  # too few passes to try
    assert classifier.plan(64 * 8) == "eager"
    assert minimal(classifier.network) == (5 if taken else 0)
    assert minimal(classifier.plain) == 0
    torch.testing.assert_close(classifier.probability(images, targets), before, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("precision", "asked"), [("float32", 1), ("bfloat16", 0)])
def test_a_classifier_keeps_torchs_where_others_answer_differently(monkeypatch, precision, asked):
    """In bfloat16 they are not even asked."""
    networks = []

    def wrong(network: nn.Module, _image: Tensor) -> nn.Module:
        networks.append(network)
        return lambda images: network(images) * 2

    monkeypatch.setattr("sycam.inference.classifier.with_minimal_filters", wrong)
    classifier = Classifier(Residual(), batch=8, precision=precision)
    network = classifier.network
    classifier.probability(torch.randn(8, 3, 9, 12), torch.arange(8) % 5)
    for _ in range(2):  # it is tried once
        classifier.plan(10_000)
    assert classifier.network is network
    assert len(networks) == asked


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")
def test_they_are_part_of_a_compiled_network(monkeypatch):
    monkeypatch.setattr(
        "sycam.inference.classifier.seconds_of",
        lambda _, *works, **_options: [2.0, 1.0][: len(works)],
    )
    images, targets = demo.normalise(demo.scenes("heldout", 40).images), torch.arange(40) % 10
    classifier = Classifier(demo.network(), batch=16)
    before = classifier.probability(images, targets)
    assert classifier.plan(10**12) == "compiled"
    assert minimal(classifier.network) == 4
    torch.testing.assert_close(classifier.probability(images, targets), before, rtol=0, atol=1e-5)
