"""The part of an exported module that measures what a formula of several layers reads.

Its definitions stand in place of those of the same names in
:mod:`sycam.export.templates.measuring`; see :func:`sycam.export.module.module_source`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from sycam.export.templates.formula_of_layers import LAYERS, LEAVES
from sycam.export.templates.measuring import (
    _evaluated,
    _fixed,
    _probability,
    _rows,
    _score,
    channel_leaves,
)
from sycam.networks.passes import hooked

# --- exported from here on ---


def modules_of(
    network: nn.Module,
    layers: Mapping[str, str | nn.Module] | Sequence[str | nn.Module] | None = None,
) -> list[nn.Module]:
    """The modules of the network that LAYERS stand for, in the same order.

    Args:
        network: that they are part of.
        layers: names or modules, by the names in LAYERS or in their order; those of these names if
            None.
    """
    if layers is None:
        layers = LAYERS
    if isinstance(layers, Mapping):
        if layers.keys() != set(LAYERS):
            raise ValueError(
                f"layers must be given for {', '.join(LAYERS)}, got {', '.join(layers) or 'none'}"
            )
        layers = [layers[name] for name in LAYERS]
    if isinstance(layers, str | nn.Module) or len(layers) != len(LAYERS):
        raise ValueError(
            f"the formula reads {len(LAYERS)} layers ({', '.join(LAYERS)}): give one for each"
        )
    modules = dict(network.named_modules())
    for layer in layers:
        if isinstance(layer, str) and layer not in modules:
            known = ", ".join(filter(None, modules))  # the network itself has no name
            raise ValueError(f"the network has no layer {layer!r}; it has {known}")
    return [modules[layer] if isinstance(layer, str) else layer for layer in layers]


def measure(
    network: nn.Module,
    layers: Sequence[nn.Module],
    images: Tensor,
    targets: Sequence,
    columns: bool = False,
    reshape: Callable | Sequence[Callable | None] | None = None,
) -> tuple[list[Tensor], int]:
    """The formula's leaves, layer by layer, and the depth of the layers' grids, 1.

    All layers are measured in one forward and one backward pass, which stops at the first of them;
    the network is left as it was. One thread measures at a time.

    Args:
        network: a classifier that returns ``(N, classes)``, or one that returns a tuple, list or
            dictionary of tensors with a row per image, for callable targets.
        layers: modules of it in the order of LAYERS, with outputs ``(N,K,h,w)``.
        images: ``[N,C,H,W]``.
        targets: N of them: a class, a callable from a row of outputs to a scalar, or None for the
            predicted class.
        columns: classes are columns of the outputs, as packages count them; else class 0 or 1 of a
            network with one output is refused, which may be meant as a label.
        reshape: makes the layers' outputs maps: one function for all, or one (or None) per layer.
    """
    found: list[list[Tensor]] = [[] for _ in layers]
    reshapes = [reshape] * len(layers) if reshape is None or callable(reshape) else list(reshape)
    measured = [name for names in LEAVES for name in names if name not in ("A", "G")]
    if len(reshapes) != len(layers) or (any(reshapes) and measured):
        raise ValueError(
            f"reshape must be one function or {len(layers)}, one per layer, and the formula one of "
            "A and G"
        )

    def cut_at(outputs: list[Tensor]) -> Callable:
        def cut(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
            if not (any(found) and output.requires_grad):  # else an earlier layer leads to it
                output = output.detach().clone().requires_grad_()
            outputs.append(output)
            torch.set_grad_enabled(True)
            return output.clone()

        return cut

    device = next((p.device for p in network.parameters()), images.device)
    images = images.clone().to(device)
    with _evaluated(network):
        hooks = [
            (layer.register_forward_hook, cut_at(outputs))
            for layer, outputs in zip(layers, found, strict=True)
        ]
        with torch.no_grad(), hooked(*hooks):  # until a hook records
            outputs = _rows(network(images), len(images))
            for name, ran in zip(LAYERS, found, strict=True):
                if len(ran) != 1:
                    raise ValueError(f"layer {name} must run once, it ran {len(ran)} times")
            explained = [_fixed(*pair, columns) for pair in zip(outputs, targets, strict=True)]
            y = torch.stack([_score(*pair) for pair in zip(outputs, explained, strict=True)])
            taken = [ran[0] for ran in found]
            derived = _derivatives(y, taken)
        y = y.detach()
        p = [_probability(*row) for row in zip(outputs, explained, y, strict=True)]
        scalars = {
            "y": y[:, None, None, None],
            "p": torch.stack(p).detach()[:, None, None, None],
        }
        leaves: list[Tensor] = []
        for place, layer in enumerate(layers):
            maps = {"A": taken[place].detach(), **derived[place]}
            if reshapes[place] is not None:
                maps = {name: reshapes[place](t) for name, t in maps.items()}
            if maps["A"].ndim != 4:
                raise ValueError(
                    f"layer {LAYERS[place]} must have an output (N,K,h,w), it has "
                    f"{tuple(maps['A'].shape)}"
                )
            values = maps | scalars
            further = [name for name in LEAVES[place] if name not in values]
            with torch.no_grad():
                rows = zip(images, maps["A"], outputs, y, explained, strict=True)
                calls = [channel_leaves(network, layer, *row) for row in rows] if further else []
                for name in further:
                    numbers = torch.stack([call[name]() for call in calls])
                    values[name] = numbers.to(maps["A"])[..., None, None]
            leaves += [values[name] for name in LEAVES[place]]
    return leaves, 1


def _derivatives(y: Tensor, activations: Sequence[Tensor]) -> list[dict[str, Tensor]]:
    """Of each layer, gradients of the scores y; their Hessian times the layer's activations, if
    the formula reads it."""
    twice = any("H" in names for names in LEAVES)
    if not twice and not any("G" in names for names in LEAVES):
        return [{} for _ in activations]
    gradients = torch.autograd.grad(y.sum(), activations, create_graph=twice, allow_unused=True)
    found = []
    for name, read, G, A in zip(LAYERS, LEAVES, gradients, activations, strict=True):
        if G is None:
            if not {"G", "H"}.isdisjoint(read):
                raise ValueError(f"the target does not depend on layer {name}")
            found.append({})
            continue
        derived = {"G": G.detach()}
        if "H" in read:
            H = None
            if G.requires_grad:
                (H,) = torch.autograd.grad(G, A, A.detach(), retain_graph=True, allow_unused=True)
            # Where the score is piecewise linear in the activations there is nothing to
            # differentiate.
            derived["H"] = torch.zeros_like(G) if H is None else H
        found.append(derived)
    return found
