"""The part of an exported module that measures what the formula reads.

The exporter copies this file from the marker on into modules that measure for themselves, with the
``channel_leaves`` of :mod:`sycam.export.templates.channels` where the formula reads such leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sycam.export.templates.formula import LEAVES
from sycam.networks.passes import alone, hooked

# --- exported from here on ---


def channel_leaves(*_: object) -> dict[str, Tensor]:
    """Leaves that take further passes of the network: this formula reads none."""
    return {}


@torch.inference_mode(False)  # where the caller is in it, no gradient could be recorded
def measure(
    network: nn.Module, layer: nn.Module, images: Tensor, targets: Sequence, columns: bool = False
) -> tuple[list[Tensor], int]:
    """The formula's leaves at the layer, and the depth of its grid (1 for images).

    The backward pass stops at the layer; the network is left as it was. One thread measures at a
    time.

    Args:
        network: a classifier that returns ``(N, classes)``, or one that returns a tuple, list or
            dictionary of tensors with a row per image, for callable targets.
        layer: one of its modules, with an output ``(N,K,h,w)`` or ``(N,K,d,h,w)``.
        images: ``[N,C,H,W]`` or ``[N,C,D,H,W]``.
        targets: N of them: a class, a callable from a row of outputs to a scalar, or None for the
            predicted class.
        columns: classes are columns of the outputs, as packages count them; else class 0 or 1 of a
            network with one output is refused, which may be meant as a label.
    """
    found: list[Tensor] = []

    def cut(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        found.append(output.detach().clone().requires_grad_())
        torch.set_grad_enabled(True)
        return found[-1].clone()

    device = next((p.device for p in network.parameters()), images.device)
    images = images.clone().to(device)
    with _evaluated(network):
        hook = (layer.register_forward_hook, cut)
        with torch.no_grad(), hooked(hook):  # until the hook records
            outputs = _rows(network(images), len(images))
            if len(found) != 1 or found[0].ndim not in (4, 5):
                raise ValueError("the layer must run once, with an output (N,K,h,w) or (N,K,d,h,w)")
            explained = [_fixed(*pair, columns) for pair in zip(outputs, targets, strict=True)]
            y = torch.stack([_score(*pair) for pair in zip(outputs, explained, strict=True)])
            G, H = _derivatives(y, found[0])
        with torch.no_grad():
            A, y = found[0].detach(), y.detach()
            rows = zip(images, A, outputs, y, explained, strict=True)
            columns = [channel_leaves(network, layer, *row) for row in rows]
    leaves = {"A": A, "G": G, "H": H}
    leaves = {name: t.flatten(2, 3) if t.ndim == 5 else t for name, t in leaves.items()}
    p = [_probability(*row) for row in zip(outputs, explained, y, strict=True)]
    leaves |= {"y": y[:, None, None, None], "p": torch.stack(p).detach()[:, None, None, None]}
    for name in columns[0]:
        leaves[name] = torch.stack([c[name] for c in columns]).to(A)[..., None, None]
    return [leaves[name] for name in LEAVES], A.shape[2] if A.ndim == 5 else 1


@contextmanager
def _evaluated(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, for one thread at a time; the modes are put back."""
    with alone():
        modes = [(module, module.training) for module in network.modules()]
        switched = False
        try:
            if any(training for _, training in modes):
                network.eval()
            yield
        finally:
            switched = network.training  # by a thread that does not ask here: it stays so
            for module, training in [] if switched else modes:
                module.training = training
        if switched:
            raise RuntimeError(
                "another thread switched the network to train mode while it was explained; explain "
                "a copy (copy.deepcopy), or let one wait for the other"
            )


def _rows(outputs: object, count: int) -> list:
    """What the network returned for each image: the rows of a tensor; a tuple, list or dictionary
    with a row of each tensor; or the entries of a list of as many, as detectors return it."""

    def batch(one: object) -> bool:
        return isinstance(one, Tensor) and one.ndim > 0 and len(one) == count

    def row(one: object, i: int) -> object:
        return one[i] if batch(one) else one

    if batch(outputs):
        return list(outputs)
    if isinstance(outputs, Mapping) and any(map(batch, outputs.values())):
        rows = [{key: row(one, i) for key, one in outputs.items()} for i in range(count)]
        return rows if type(outputs) is dict else [type(outputs)(**one) for one in rows]
    images = isinstance(outputs, list) and len(outputs) == count  # one entry each
    if isinstance(outputs, tuple | list) and any(map(batch, outputs)):
        if images and count > 1:
            raise ValueError(
                f"the network returned a list of {count} tensors for {count} images: whether each "
                "is an image or a head cannot be told; explain another number of images"
            )
        make = getattr(outputs, "_make", type(outputs))
        return [make(row(one, i) for one in outputs) for i in range(count)]
    if images:
        return list(outputs)
    shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    raise ValueError(
        f"the network returned {shape} for {count} images: not one row per image; wrap it in a "
        "module that returns the class scores"
    )


def _fixed(row: Tensor, target: int | Tensor | Callable | None, columns: bool) -> int | Callable:
    """What is explained of an image, whatever the outputs of its altered copies are."""
    if callable(target):
        return target
    if not isinstance(row, Tensor) or row.ndim != 1:
        shape = tuple(row.shape) if isinstance(row, Tensor) else type(row).__name__
        raise ValueError(
            f"the network returned {shape} for an image, not class scores: give a callable target, "
            "from it to a scalar"
        )
    if len(row) == 1 and target is not None and not columns:
        raise ValueError(
            f"target class {int(target)} cannot be told: the network has one output, which is what "
            "target None explains (the positive class); for the other class give the callable "
            "lambda row: -row[0]"
        )
    index = int(row.argmax() if target is None else target)
    if not 0 <= index < len(row):
        raise ValueError(f"class {index} is out of range: the network has {len(row)} classes")
    return index


def _score(row: Tensor, target: int | Callable) -> Tensor:
    return target(row).reshape(()) if callable(target) else row[target]


def _probability(row: Tensor, target: int | Callable, score: Tensor) -> Tensor:
    """Of the class explained; a callable's own score."""
    if callable(target):
        return score
    return row.sigmoid()[0] if len(row) == 1 else row.softmax(0)[target]


def _derivatives(y: Tensor, activations: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the scores y; their Hessian times the activations, if the formula reads it."""
    wanted = "H" in LEAVES
    (G,) = torch.autograd.grad(y.sum(), activations, create_graph=wanted)
    H = None
    if wanted and G.requires_grad:
        (H,) = torch.autograd.grad(G, activations, activations.detach(), allow_unused=True)
    # Where the score is piecewise linear in the activations there is nothing to differentiate.
    return G.detach(), torch.zeros_like(G) if H is None else H
