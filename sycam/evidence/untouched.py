"""Use a network and leave no trace on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn


def dtype_of(network: nn.Module) -> torch.dtype:
    """The floating type of the network's parameters (or buffers); float32 if it has none."""
    for tensor in chain(network.parameters(), network.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float32


def device_of(network: nn.Module) -> torch.device:
    """Where the network's parameters (or buffers) live; the CPU for a network without any."""
    for tensor in chain(network.parameters(), network.buffers()):
        return tensor.device
    return torch.device("cpu")


@contextmanager
def untouched(network: nn.Module, seed: int = 0) -> Iterator[None]:
    """Evaluation mode inside; the network and the random state as before outside.

    Train/eval mode and attributes of every module, buffers and the states of torch's generators
    are put back, also after an exception. Inside, torch's generators start from ``seed``, so that
    a network that samples gives the same outputs every time.
    """
    attributes = [(module, dict(vars(module))) for module in network.modules()]
    modes = [(module, module.training) for module in network.modules()]
    registries = [(module, dict(module._buffers)) for module in network.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in network.buffers()]
    device = device_of(network)
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        # Not torch.manual_seed, which would seed the devices that are not put back, too.
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        try:
            network.eval()
            yield
        finally:
            for module, training in modes:
                module.training = training
            for module, before in attributes:  # forward may keep tensors, with their graphs
                now = vars(module)
                for name in [n for n in now if n not in before]:
                    del now[name]
                now.update({n: v for n, v in before.items() if now.get(n) is not v})
            for module, before in registries:  # forward may have assigned or registered others
                now = module._buffers
                if len(now) != len(before) or any(now[name] is not before[name] for name in before):
                    now.clear()
                    now.update(before)
            with torch.no_grad():
                for buffer, before in buffers:
                    if not torch.equal(buffer, before):
                        buffer.copy_(before)
