"""Use a network and leave no trace on it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import nn

from sycam.errors import NetworkError
from sycam.evidence.passes import alone


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


COMPILED = "_orig_mod"  # where the wrapper of torch.compile keeps the network


def uncompiled(network: nn.Module) -> nn.Module:
    """The network inside wrappers of ``torch.compile``; any other as it is."""
    while _is_compiled(network):
        network = getattr(network, COMPILED)
    return network


def _is_compiled(module: nn.Module) -> bool:
    made = sys.modules.get("torch._dynamo.eval_frame")  # not imported: nothing is compiled
    return made is not None and isinstance(module, made.OptimizedModule)


def _eagerly(network: nn.Module) -> AbstractContextManager:
    """Parts that ``torch.compile`` made, or ``Module.compile``, run as they are written: hooks
    that come after their first pass are not seen by what was compiled then."""
    stance = getattr(torch.compiler, "set_stance", None)  # since torch 2.6
    parts = any(
        _is_compiled(m) or getattr(m, "_compiled_call_impl", None) for m in network.modules()
    )
    return stance("force_eager") if parts and stance is not None else nullcontext()


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Torch's generators start from ``seed``, and are put back; one thread at a time.

    Threads that do not ask here draw from the same generators: nothing keeps them out.

    Args:
        seed: of the CPU's generator, and of the device's.
        device: a CUDA device whose generator is meant, too.
    """
    cuda = device is not None and device.type == "cuda"
    with alone(), torch.random.fork_rng(devices=[device] if cuda else []):
        # Not torch.manual_seed, which would seed the devices that are not put back, too.
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def untouched(network: nn.Module, seed: int = 0) -> Iterator[None]:
    """Evaluation mode inside; the network and the random state as before outside.

    Train/eval mode and attributes of every module, buffers and the states of torch's generators
    are put back, also after an exception. Inside, torch's generators start from ``seed``, so that
    a network that samples gives the same outputs every time.

    One thread of the process is inside at a time, whatever the network; the same thread may enter
    again. Threads that use the network without asking here are not kept out. Their outputs and
    gradients are right where the network was in evaluation mode; what they change of its buffers
    and attributes meanwhile may be put back, and from train mode it is switched under them.

    Raises:
        NetworkError: another thread switched the network to train mode meanwhile, which stays so.
    """
    with alone():
        attributes = [(module, _attributes(module)) for module in network.modules()]
        modes = [(module, module.training) for module in network.modules()]
        registries = [(module, dict(module._buffers)) for module in network.modules()]
        buffers = [(buffer, buffer.detach().clone()) for buffer in network.buffers()]
        with seeded(seed, device_of(network)), _eagerly(network):
            switched = False
            try:
                if any(training for _, training in modes):
                    network.eval()
                yield
            finally:
                switched = network.training
                if not switched:
                    for module, training in modes:
                        if module.training != training:
                            module.training = training
                for module, before in attributes:  # forward may keep tensors, with their graphs
                    now = vars(module)
                    for name in [n for n in _attributes(module) if n not in before]:
                        now.pop(name, None)
                    now.update({n: v for n, v in before.items() if now.get(n) is not v})
                for module, before in registries:  # forward may have assigned or registered others
                    now = module._buffers
                    if len(now) != len(before) or any(now[n] is not before[n] for n in before):
                        now.clear()
                        now.update(before)
                with torch.no_grad():
                    for buffer, before in buffers:
                        if not torch.equal(buffer, before):
                            buffer.copy_(before)
            if switched:
                raise NetworkError(
                    f"another thread switched {type(network).__name__} to train mode while it was "
                    "explained; explain a copy (copy.deepcopy), or let one wait for the other"
                )


def _attributes(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).copy().items() if name != "training"}
