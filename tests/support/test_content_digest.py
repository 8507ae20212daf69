"""Equal digests only where the results are equal: what a run resumes by."""

from __future__ import annotations

import copy
import functools
import subprocess
import sys
from types import MethodType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sycam.errors import NetworkError, OptionError
from sycam.networks.sources.user_file import import_file
from sycam.support.content_digest import (
    content_digest,
    network_digest,
    tensor_digest,
    version_digest,
)
from sycam.targets import Similarity


def picks(index: int):
    return lambda row: row[index]


class Margin:
    def __init__(self, one: int, other: int):
        self.one, self.other = one, other

    def __call__(self, row: Tensor) -> Tensor:
        return row[self.one] - row[self.other]


def scaled(row: Tensor, factor: float = 1.0) -> Tensor:
    return factor * row[0]


DIFFERENT = {
    "closures": (picks(0), picks(1)),
    "defaults": (scaled, lambda row, factor=2.0: factor * row[0]),
    "partial applications": (
        functools.partial(scaled, factor=2),
        functools.partial(scaled, factor=3),
    ),
    "attributes": (Margin(1, 2), Margin(2, 1)),
    "tensors": (Similarity(torch.ones(3)), Similarity(torch.zeros(3))),
    "bound methods": (Margin(1, 2).__call__, Margin(1, 3).__call__),
    "arrays": (picks(np.arange(3)), picks(np.arange(4))),
    "shapes": (torch.zeros(2, 3), torch.zeros(3, 2)),
    "types": (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_what_differs_in_content_has_another_digest(kind):
    one, other = DIFFERENT[kind]
    assert content_digest(one) is not None
    assert content_digest(one) != content_digest(other)
    assert content_digest(one) == content_digest(one)


def test_alike_made_twice():
    assert content_digest(picks(1)) == content_digest(picks(1))
    assert content_digest(Margin(1, 2)) == content_digest(Margin(1, 2))


def test_what_cannot_be_read_has_none():
    assert content_digest(picks(iter([1]))) is None
    assert content_digest(object()) is None


@pytest.mark.slow
def test_the_same_in_another_process():
    """Addresses in memory must not enter: no run would ever resume."""
    code = (
        "from sycam.support.content_digest import content_digest, network_digest\n"
        "from sycam.data import demo\n"
        "f = lambda row, g=(lambda t: t + 1): g(row[0])\n"
        "print(network_digest(demo.network()), content_digest(f))"
    )
    said = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert said[0].stdout == said[1].stdout
    assert "None" not in said[0].stdout


PROGRAM = """
import functools
import numpy
import torch

TABLE = {"a": 1.0}

class Base:
    def factor(self): return inner(TABLE["a"])

class Scaler(Base):
    def __call__(self, t): return t * self.factor()

def inner(t): return t + 1

@functools.lru_cache
def outer(t): return again(t) + inner(numpy.abs(t))

def again(t): return 0 if t > 9 else outer(t + 1)

@torch.no_grad()
def metric(t): return Scaler()(outer(t))

def unused(t): return t
"""


@pytest.fixture
def metric_of(tmp_path):
    """The function ``metric`` of a program, in a module of the same name each time."""

    def load(program: str):
        path = tmp_path / "program.py"
        path.write_text(program)
        return import_file(path, "test", OptionError).metric

    return load


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"a": 1.0', '"a": 2.0'),  # a constant that a method of a base class reads
        ("return t + 1", "return t + 2"),  # a helper of a helper
        ("0 if t > 9", "1 if t > 9"),  # one of two functions that call each other
        ("return t * self", "return 2 * t * self"),  # a class
        ("Scaler()(outer(t))", "Scaler()(outer(-t))"),  # the function under its decorator
    ],
)
def test_what_a_function_uses_of_its_module_counts(old, new, metric_of):
    before = content_digest(metric_of(PROGRAM))
    assert before is not None
    assert content_digest(metric_of(PROGRAM)) == before
    assert (
        content_digest(metric_of(PROGRAM.replace("(t): return t\n", "(t): return 2\n"))) == before
    )
    assert PROGRAM.count(old) == 1
    assert content_digest(metric_of(PROGRAM.replace(old, new))) != before


def test_modules_of_users_count_by_their_text_and_installed_ones_by_name(metric_of, tmp_path,
                                                                         monkeypatch):  # fmt: skip
    program = (
        "import helpers, numpy, torch\ndef metric(t): return numpy.abs(helpers.f(torch.abs(t)))"
    )
    found = []
    for text in ("def f(t): return t", "def f(t): return -t"):
        (tmp_path / "helpers.py").write_text(text)
        monkeypatch.delitem(sys.modules, "helpers", raising=False)
        found.append(content_digest(metric_of(program)))
    assert None not in found
    assert found[0] != found[1]


def test_what_cannot_be_read_is_told_apart_by_process():
    lines = iter("ab")

    def one():
        return next(lines)

    def other():
        return next(lines)

    assert content_digest(one) is None
    assert version_digest(one) == version_digest(one) != version_digest(other)
    assert version_digest(scaled) == content_digest(scaled)


class Tempered(nn.Module):
    def __init__(self, temperature: float = 1.0, activation=torch.relu):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(4, 3)
        self.temperature, self.activation = temperature, activation
        self.register_buffer("shift", torch.zeros(3), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.activation(self.body(images)) / self.temperature + self.shift


class OtherForward(Tempered):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + 1


def test_networks_that_compute_something_else():
    base = Tempered()
    assert network_digest(base) == network_digest(Tempered()) == network_digest(copy.deepcopy(base))
    assert network_digest(base.train()) == network_digest(Tempered().eval())
    shifted, moved = Tempered(), Tempered()
    shifted.shift += 1
    with torch.no_grad():
        moved.body.weight[0, 0] += 1e-6
    others = [Tempered(2.0), Tempered(activation=torch.tanh), OtherForward(), shifted, moved]
    digests = {network_digest(n) for n in (base, *others)}
    assert len(digests) == 6
    assert tensor_digest(torch.zeros(2, 3)) != tensor_digest(torch.zeros(3, 2))


FORWARDS = """
import torch
from torch import nn

SCALE = {scale}

def scaled(x):
    return x * SCALE

class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self._private = {private}
        self.loader = iter([])  # nothing can read it

    def body(self, x):
        return x + {shift}

    def forward(self, x):
        return scaled(self.body(x)) * self._private
"""


def test_what_a_network_calls_counts(tmp_path):
    """Scores, and leaves on disk, of another version were taken for this one's: only the text of
    forward counted, and no attribute with an underscore."""
    base, digests = {"scale": 1, "private": 1, "shift": 1}, []
    for i, change in enumerate(({}, {}, {"scale": 2}, {"private": 2}, {"shift": 2})):
        file = tmp_path / f"version{i}.py"
        file.write_text(FORWARDS.format(**base | change), encoding="utf-8")
        network = vars(import_file(file, "network", NetworkError))["Plain"]()
        digests.append(network_digest(network))
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


def test_a_network_that_holds_itself():
    def with_forward(factor: int) -> nn.Module:
        network = nn.Sequential(nn.Identity())
        network.parts = [network]
        network.forward = MethodType(lambda self, x: self[0](x) * factor, network)
        return network

    assert network_digest(with_forward(2)) == network_digest(with_forward(2))
    assert network_digest(with_forward(2)) != network_digest(with_forward(3))
