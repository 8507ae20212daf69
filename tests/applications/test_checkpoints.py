"""The state of a training: tensors and facts come back, optimizers go on bit for bit."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from sycam.applications.checkpoints import (
    apart,
    keep_state,
    optimizer_tensors,
    refill_optimizer,
    take_up_state,
)
from sycam.errors import RunError

OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, 0.1),
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "plain": lambda p: torch.optim.SGD(p, 0.1),  # remembers nothing
}


def test_tensors_and_facts_come_back(tmp_path):
    file = tmp_path / "state.safetensors"
    assert take_up_state(file, {}) is None
    shared = torch.rand(3, 4)
    keep_state(file, {"a": shared, "b": shared, "c": shared.T}, [{"x": None}], {"seed": 1})
    tensors, facts = take_up_state(file, {"seed": 1})
    assert torch.equal(tensors["a"], shared)
    assert torch.equal(tensors["c"], shared.T)
    assert facts == [{"x": None}]
    with pytest.raises(RunError, match=r"seed \(there 1, now 2\), more \(there null, now 3\)"):
        take_up_state(file, {"seed": 2, "more": 3})


@pytest.mark.parametrize("cut", [0, 5, 40])
def test_a_broken_file_is_said(tmp_path, cut):
    file = tmp_path / "state.safetensors"
    keep_state(file, {"a": torch.rand(3)}, [], {})
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(RunError, match="delete it to begin anew"):
        take_up_state(file, {})


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_bit_for_bit(name, tmp_path):
    def steps(network: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            network(torch.ones(2, 3)).square().sum().backward()
            optimizer.step()

    torch.manual_seed(0)
    whole, file = nn.Linear(3, 2), tmp_path / "state.safetensors"
    optimizer = OPTIMIZERS[name](whole.parameters())
    steps(whole, optimizer, 2)
    keep_state(file, whole.state_dict() | optimizer_tensors(optimizer, "opt."), [], {})
    steps(whole, optimizer, 2)
    tensors, _ = take_up_state(file, {})
    again = nn.Linear(3, 2)
    again.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("opt.")})
    resumed = OPTIMIZERS[name](again.parameters())
    refill_optimizer(resumed, tensors, "opt.")
    steps(again, resumed, 2)
    assert torch.equal(whole.weight, again.weight)


def test_weights_in_any_order_of_memory_are_kept():
    """safetensors refuses strided ones, such as those of networks in channels-last."""
    strided = torch.rand(4, 3, 2, 2).to(memory_format=torch.channels_last)
    kept = load(save(apart({"weight": strided, "tied": strided})))
    assert all(torch.equal(kept[name], strided) for name in ("weight", "tied"))
