"""Equal digests only where the results are equal: what a run resumes by."""

from __future__ import annotations

import copy
import functools
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sycam.digests import content_digest, network_digest, tensor_digest
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


def test_the_same_in_another_process():
    """Addresses in memory must not enter: no run would ever resume."""
    code = (
        "from sycam.digests import content_digest, network_digest\n"
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
