"""The backward pass, and where a network's forward pass loses the gradient that it needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointFunction

from sycam.errors import NetworkError
from sycam.networks.outputs import tensors
from sycam.networks.passes import hooked
from sycam.networks.untouched import device_of, dtype_of, untouched

CHECKPOINT = "give torch.utils.checkpoint use_reentrant=False"
INFERENCE = "take torch.inference_mode out of the network's forward; put it around the call instead"
NO_GRAD = (
    "take torch.no_grad() (or set_grad_enabled(False)) out of the network's forward; parameters "
    "are frozen by requires_grad_(False)"
)
CUT = (
    "take .detach(), .data, argmax, rounding or the way through numpy out of the network's forward"
)
WITHOUT = "name the layer and take a method without gradients, like score-cam"
QUANTISED = "explain the network in floating point, as it was before it was quantised"


def scripted(module: nn.Module) -> bool:
    """Whether a module is TorchScript, which takes no hooks."""
    return isinstance(module, torch.jit.ScriptModule)


def differentiate(
    scores: Tensor, tensors: Sequence[Tensor], **options: bool
) -> tuple[Tensor | None, ...]:
    """Gradients of the sum of the scores; None where the scores do not depend on a tensor.

    Args:
        options: of ``torch.autograd.grad``.

    Raises:
        NetworkError: the backward pass failed.
    """
    if not scores.requires_grad or not tensors:
        return (None,) * len(tensors)
    try:
        return torch.autograd.grad(scores.sum(), tensors, allow_unused=True, **options)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a user's own autograd.Function raises anything
        reason = (str(error).splitlines() or [""])[0]
        if "use_reentrant" in reason:
            reason = f"reentrant checkpointing cannot be differentiated so; {CHECKPOINT}"
        elif "inplace operation" in reason:
            reason = f"{reason.partition(':')[0]}; take that out of the network's forward"
        else:
            reason = (
                f"{type(error).__name__}: {reason}; the network must be differentiable from the "
                "layer to its outputs"
            )
        raise NetworkError(
            f"the backward pass from the scores to the target layer failed: {reason}"
        ) from error


def reaches(root: object, leaf: object, around: object = None) -> bool:
    """Whether the autograd graph has a path from node ``root`` to ``leaf`` that avoids another."""
    return any(node is leaf for node in _nodes([root], around))


def reachable(roots: Iterable[object], around: object = None) -> set[object]:
    """The nodes of the autograd graph that paths from some nodes lead to, avoiding another."""
    return set(_nodes(roots, around))


def _nodes(roots: Iterable[object], around: object) -> Iterator[Any]:
    seen, waiting = {None, around}, list(roots)
    while waiting:
        node: Any = waiting.pop()
        if node not in seen:
            seen.add(node)
            yield node
            waiting.extend(edge[0] for edge in node.next_functions)


def bottlenecks(root: object, leaf: object) -> set[object]:
    """The nodes of the autograd graph that every path from ``root`` to ``leaf`` runs through.

    They are those through which as many paths run as there are.
    """
    order: list[Any] = []  # each node behind those that it leads to
    entered: set[object] = {None}
    waiting: list[tuple[Any, bool]] = [(root, False)]
    while waiting:
        node, left = waiting.pop()
        if left:
            order.append(node)
        elif node not in entered:
            entered.add(node)
            waiting.append((node, True))
            waiting.extend((edge[0], False) for edge in node.next_functions)
    to_leaf: dict[object, int] = {None: 0}
    for node in order:
        ways = sum(to_leaf[edge[0]] for edge in node.next_functions)
        to_leaf[node] = 1 if node is leaf else ways
    from_root = dict.fromkeys(order, 0) | {root: 1, None: 0}
    for node in reversed(order):
        for edge in node.next_functions:
            from_root[edge[0]] += from_root[node]
    return {node for node in order if from_root[node] * to_leaf[node] == to_leaf[root]}


def accumulator(leaf: Tensor) -> object:
    """The node of a leaf tensor in autograd graphs."""
    return torch.autograd.graph.get_gradient_edge(leaf).node


def where_lost(network: nn.Module, images: Tensor, layer: nn.Module | None = None) -> str:
    """Where the gradient is lost between a layer (the images if None) and the outputs, why, and
    the cure: the end of a sentence, found by another forward pass.

    Args:
        images: a few, as the network takes them.
    """
    steps = _Steps(layer)
    pixels = images[:1].detach().to(device_of(network), dtype_of(network)).clone()
    hooks = [
        (module.register_forward_hook, steps.watch(name))
        for name, module in network.named_modules()
        if not scripted(module)
    ]
    with untouched(network), torch.enable_grad(), hooked(*hooks):
        if layer is None:
            steps.start(pixels.requires_grad_())
        try:
            network(pixels)
        except Exception as error:  # the pass that is explained went through
            return f"the network failed when it was looked into: {type(error).__name__}: {error}"
    return steps.said()


class _Steps:
    """What the modules of a network do to the gradient, in the order in which they run."""

    def __init__(self, layer: nn.Module | None):
        self.layer = layer
        self.tensor: Tensor | None = None  # the gradient of which is followed
        self.leaf: object = None
        self.last = ""  # the module whose outputs depend on it last
        self.path = ""  # that module's name
        self.cut = ""  # the module that lost it since then, why, and the cure
        self.unrecorded = ""  # the first module of which autograd records nothing, whoever does
        self.sure = False  # that this is the reason

    def start(self, tensor: Tensor) -> None:
        with torch.inference_mode(False), torch.enable_grad():
            self.leaf = accumulator(tensor)
        self.tensor = tensor

    def watch(self, name: str) -> Callable:
        def hook(module: nn.Module, inputs: tuple, output: object) -> object:
            kind = f"{name!r} ({type(module).__name__})" if name else "the network"
            if module is self.layer and isinstance(output, Tensor) and self.tensor is None:
                self.unrecorded = _unrecorded(kind, module, output)
                self.sure = bool(self.unrecorded)
                with torch.inference_mode(False):
                    fresh = output.detach().clone().requires_grad_()
                self.start(fresh)
                self.last, self.path = kind, name
                return fresh
            if self.tensor is not None:
                self._look(kind, name, module, inputs, output)
            return None

        return hook

    def _look(self, kind: str, name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        within = self._depends(inputs)
        if within and not self.unrecorded:
            self.unrecorded = _unrecorded(kind, module, output)
        if self._depends(output):
            self.last, self.path, self.cut = kind, name, ""
        elif within and not self.cut and not f"{self.path}.".startswith(f"{name}." if name else ""):
            self.cut = _unrecorded(kind, module, output) or f"{kind}: {CUT}"
        elif within and not self.cut and not self.path:
            self.cut = f"{kind}: {CUT}"

    def _depends(self, values: object) -> bool:
        return any(
            t is self.tensor or (t.grad_fn is not None and reaches(t.grad_fn, self.leaf))
            for t in tensors(values)
        )

    def said(self) -> str:
        if self.unrecorded and (self.sure or (self.last == "the network" and not self.cut)):
            return f"the gradient is lost in {self.unrecorded}"
        if self.cut:
            return f"the gradient is lost in {self.cut}"
        if self.last == "the network":
            return (
                "the network's outputs have a gradient, what is explained of them has none: take "
                ".detach(), argmax, rounding or numpy out of the target"
            )
        later = "" if self.layer is None else "choose a later layer, or "
        return f"the gradient is lost after {self.last}: {later}{CUT}"


def _unrecorded(kind: str, module: nn.Module, output: object) -> str:
    """A module of which autograd records nothing, why and the cure; empty where it does."""
    if torch.is_inference_mode_enabled() or any(t.is_inference() for t in tensors(output)):
        return f"{kind}, which runs under torch.inference_mode: {INFERENCE}"
    if not torch.is_grad_enabled():
        code = CheckpointFunction.forward.__code__
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            if frame.f_code is code:
                return f"{kind}, which runs in a reentrant checkpoint: {CHECKPOINT}"
            frame = frame.f_back
        return f"{kind}, which runs under torch.no_grad(): {NO_GRAD}"
    if type(module).__module__.startswith(("torch.ao.", "torchao.", "torch.quantization")):
        return f"{kind}, which is quantised: {WITHOUT}, or {QUANTISED}"
    return ""
