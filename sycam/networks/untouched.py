"""Use a network and leave no trace on it."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from types import GeneratorType
from typing import Any

import torch
from torch import Tensor, nn

from sycam.errors import NetworkError
from sycam.networks.contents import OF_MODULES, contents, refill
from sycam.networks.passes import alone


def dtype_of(network: nn.Module) -> torch.dtype:
    """The floating type of the network's parameters (or buffers); float32 if it has none."""
    for tensor in chain(network.parameters(), network.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float32


def device_of(network: nn.Module) -> torch.device:
    """Where the network's parameters (or buffers) live; the CPU for a network without any.

    Tensors on the meta device, which have a shape only, do not count.

    Raises:
        NetworkError: all are on the meta device.
    """
    device = None
    for tensor in chain(network.parameters(), network.buffers()):
        device = tensor.device
        if device.type != "meta":
            return device
    if device is not None:
        raise NetworkError(
            f"the weights of {type(network).__name__} are on the meta device, which holds no "
            "values; load them first (to_empty and load_state_dict)"
        )
    return torch.device("cpu")


def copied(network: nn.Module) -> nn.Module:
    """A deep copy; what cannot be copied of its attributes (locks, open files) is shared.

    Not generators, of which the copy would take what is the network's.

    Raises:
        NetworkError: the network cannot be copied.
    """
    try:
        with torch.no_grad():  # TorchScript's copies would have a graph
            return copy.deepcopy(network)
    except Exception as error:
        shared = {}
        for module in network.modules():
            for name, value in vars(module).items():
                if name not in OF_MODULES and not isinstance(
                    value, nn.Module | Tensor | GeneratorType
                ):
                    try:
                        copy.deepcopy(value)
                    except Exception:
                        shared[id(value)] = value
        try:
            with torch.no_grad():
                return copy.deepcopy(network, shared)
        except Exception:
            raise NetworkError(
                f"the network cannot be copied: {type(error).__name__}: {error}"
            ) from error


def moved(network: nn.Module, device: torch.device) -> nn.Module:
    """The network itself, with its tensors on a device; those on the meta device stay there."""
    if any(t.is_meta for t in chain(network.parameters(), network.buffers())):
        return network._apply(lambda tensor: tensor if tensor.is_meta else tensor.to(device))
    return network.to(device)


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

    Train/eval mode and attributes of every module, with what they hold (see
    :mod:`sycam.networks.contents`), buffers and the states of torch's generators are put back,
    also after an exception. Inside, torch's generators start from ``seed``, so that a network that
    samples gives the same outputs every time.

    One thread of the process is inside at a time, whatever the network; the same thread may enter
    again. Threads that use the network without asking here are not kept out. Their outputs and
    gradients are right where the network was in evaluation mode; what they change of its buffers
    and attributes meanwhile may be put back, and from train mode it is switched under them.

    Raises:
        NetworkError: another thread switched the network to train mode meanwhile, which stays so.
    """
    with alone():
        attributes = [(module, _attributes(module)) for module in network.modules()]
        held = contents(network)
        modes = [(module, _training(module)) for module in network.modules()]
        registries = [(module, dict(module._buffers)) for module in network.modules()]
        buffers = [(buffer, buffer.detach().clone()) for buffer in network.buffers()]
        with seeded(seed, device_of(network)), _eagerly(network):
            switched = False
            try:
                if any(training for _, training in modes):
                    network.eval()
                yield
            finally:
                switched = _training(network)
                if not switched:
                    for module, training in modes:
                        if _training(module) != training:
                            module.training = training
                for module, before in attributes:  # forward may keep tensors, with their graphs
                    now = vars(module)
                    for name in [n for n in _attributes(module) if n not in before]:
                        now.pop(name, None)
                    now.update({n: v for n, v in before.items() if now.get(n) is not v})
                refill(held)
                for module, before in registries:  # forward may have assigned or registered others
                    now = module._buffers
                    if len(now) != len(before) or any(now[n] is not before[n] for n in before):
                        now.clear()
                        now.update(before)
                with torch.no_grad():
                    for buffer, was in buffers:
                        if not buffer.is_meta and not torch.equal(buffer, was):
                            buffer.copy_(was)
            if switched:
                raise NetworkError(
                    f"another thread switched {type(network).__name__} to train mode while it was "
                    "explained; explain a copy (copy.deepcopy), or let one wait for the other"
                )


def _training(module: nn.Module) -> bool:
    """Whether it is in train mode; frozen TorchScript has no modes."""
    return getattr(module, "training", False)


def _attributes(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).copy().items() if name != "training"}
