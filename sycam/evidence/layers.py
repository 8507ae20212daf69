"""Finding the target layer: by name, by module, or by what its gradients look like."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sycam.errors import LayerError, OptionError, unknown_name
from sycam.networks.backward import accumulator, differentiate, reaches, scripted, where_lost
from sycam.networks.forward import forward
from sycam.networks.passes import hooked
from sycam.networks.reshaping import Reshape, find_reshape, looks_channels_last
from sycam.networks.untouched import COMPILED, device_of, uncompiled, untouched
from sycam.support.arguments import argument
from sycam.targets.resolve import Target, is_callable, read_as, reading_of, resolve

_TOGETHER = 32  # images whose gradients are looked at together
CONSTANT = 1e-3  # gradients whose spread over places is at most this share of the largest


@dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Attributes:
        name: its name in ``network.named_modules()``.
        module: the module itself.
        note: for a layer found by ``auto`` or ``last``, why it was taken.
        reshape: makes its output a map, see :func:`sycam.networks.reshaping.to_map`.
    """

    name: str
    module: nn.Module
    note: str = ""
    reshape: Reshape = None


def layer_of(layer: Layer | nn.Module) -> Layer:
    """A layer, of which the module alone may be given."""
    return layer if isinstance(layer, Layer) else Layer("", layer)


Layers = str | nn.Module | Sequence[str | nn.Module]
AUTO, LAST, SITES = "auto", "last", "sites"
SOUGHT = (AUTO, LAST)  # a layer that is found by looking at what the network does
LEAST_SITES, MOST_SITES = 3, 6  # layers that a search of the whole network looks at


def as_layers(layer: Layers) -> list[str | nn.Module]:
    """One or several layers as a list, none twice.

    Raises:
        OptionError: there is none, or one is named twice.
    """
    if isinstance(layer, str | nn.Module) and not isinstance(layer, nn.ModuleList):
        return [layer]
    layers = list(layer) if isinstance(layer, Iterable) else [layer]
    named = all(isinstance(one, str | nn.Module) for one in layers)
    if not layers or not named or len(set(layers)) < len(layers):
        raise OptionError(
            f"layers must be one or several different layers, names or modules, got {layer!r}"
        )
    return layers


def find_layer(
    network: nn.Module,
    layer: str | nn.Module,
    images: Tensor,
    reshape: Reshape = None,
    target: Target = None,
) -> Layer:
    """The target layer.

    Args:
        network: the classifier.
        layer: a name of ``network.named_modules()`` (with or without the ``_orig_mod.`` of
            ``torch.compile``), a module of the network, ``"auto"`` (the
            deepest layer whose gradients vary over places) or ``"last"`` (the deepest layer with
            spatial output).
        images: a few probe images ``[n,C,H,W]``, for ``"auto"`` and ``"last"``.
        reshape: makes the layer's output a map; not for layers that are sought.
        target: what is explained on those images; classes count as the predicted ones.

    Raises:
        UnknownNameError: no layer or reshape has that name; the nearest names are told.
        LayerError: the module is not part of the network, or no layer suits ``"auto"``.
    """
    find_reshape(reshape)
    if scripted(network):
        raise LayerError(
            "the network is TorchScript, whose layers cannot be watched; give the torch.nn.Module "
            "that it was made from"
        )
    modules = dict(network.named_modules())
    if isinstance(layer, str) and layer not in modules:
        layer = _as_compiled(layer, modules)
    elif isinstance(layer, nn.Module):
        layer = uncompiled(layer)
    if isinstance(layer, nn.Module):
        for name, module in modules.items():
            if module is layer:
                return Layer(name, module, reshape=reshape)
        raise LayerError(
            f"the layer given ({type(layer).__name__}) is no part of the network; "
            "pass one of network.named_modules()"
        )
    if layer in modules and layer:
        return Layer(layer, modules[layer], reshape=reshape)
    if layer not in SOUGHT:
        known = [*SOUGHT, *filter(None, modules)]
        raise unknown_name("layer", str(layer), known, "or 'auto'")
    if reshape is not None:
        raise LayerError(f"layer {layer!r} is sought among convolutional layers; name the layer")
    return _deepest(network, images, target, layer == "last")


def _as_compiled(layer: str, modules: Iterable[str]) -> str:
    """A layer's name with or without what ``torch.compile`` puts before those of a network or a
    part, as ``named_modules`` has it; unknown names as they are."""

    def plain(name: str) -> str:
        return ".".join(part for part in name.split(".") if part != COMPILED)

    found = [name for name in modules if name and plain(name) == plain(layer)]
    return found[-1] if found else layer  # a compiled part itself, rather than its wrapper


@torch.inference_mode(False)  # where the caller is in it, no gradient could be recorded
def find_sites(network: nn.Module, images: Tensor, target: Target = None) -> tuple[Layer, ...]:
    """The layers that a search of the whole network looks at, the deepest first.

    Of each resolution the deepest layer that a CAM can weight sensibly, as for ``"auto"``, and
    always the deepest of all, be its gradients constant or not; where there are few resolutions,
    the next deepest. At most :data:`MOST_SITES`.

    Args:
        network: the classifier.
        images: a few probe images ``[n,C,H,W]``.
        target: what is explained on those images; classes count as the predicted ones.

    Raises:
        LayerError: no layer suits.
    """
    seen = _look(network, images, target)
    outputs, constant, whole = seen.outputs, seen.constant, seen.sensible
    by_grid: dict[tuple[int, ...], list[str]] = {}
    for name in whole:
        by_grid.setdefault(tuple(outputs[name].shape[2:]), []).append(name)
    chosen = [_after_relu(names, outputs) for names in by_grid.values()]
    chosen = list(dict.fromkeys([*filter(None, [constant]), *chosen]))
    for name in whole:
        further = outputs[name].min() >= 0 and len(chosen) < LEAST_SITES
        if further and not any(_same(outputs[name], outputs[other]) for other in chosen):
            chosen.append(name)
    order = list(outputs)
    chosen = sorted(chosen, key=order.index, reverse=True)[:MOST_SITES]
    if scraps := [name for name in chosen if looks_channels_last(outputs[name], network)]:
        raise LayerError(
            f"layer {scraps[0]} returns {tuple(outputs[scraps[0]].shape)}, which looks like "
            f"(N,h,w,K), channels last: name the layers, with "
            f"{argument('reshape', 'channels-last')}"
        )
    note = f"{len(chosen)} layers are searched, the deepest first: {', '.join(chosen)}"
    notes = [note, *[""] * (len(chosen) - 1)]
    return tuple(
        Layer(name, network.get_submodule(name), said)
        for name, said in zip(chosen, notes, strict=True)
    )


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two layers return the same, as a block and its last part do."""
    return one.shape == other.shape and bool(torch.equal(one, other))


@torch.inference_mode(False)  # where the caller is in it, no gradient could be recorded
def _deepest(network: nn.Module, images: Tensor, target: Target, any_gradients: bool) -> Layer:
    """The deepest layer whose gradients vary over places, and that a CAM can weight sensibly.

    Args:
        any_gradients: take the deepest layer that the score depends on, whatever its gradients.
    """
    seen = _look(network, images, target)
    if any_gradients and (deepest := seen.deepest):
        return Layer(
            deepest, network.get_submodule(deepest), f"deepest layer with places: {deepest}"
        )
    outputs, constant = seen.outputs, seen.constant
    chosen = _after_relu(seen.sensible, outputs)
    if looks_channels_last(outputs[chosen], network):
        raise LayerError(
            f"the deepest layer with places, {chosen}, returns {tuple(outputs[chosen].shape)}, "
            "which looks like (N,h,w,K), channels last: name a layer by "
            f"{argument('layer')}, with {argument('reshape', 'channels-last')}"
        )
    note = f"deepest layer with gradients that vary over places: {chosen}"
    if constant:
        note += (
            f" (at {constant} they are constant over places, so that Grad-CAM, XGrad-CAM, "
            "HiResCAM and CAM would coincide there)"
        )
    return Layer(chosen, network.get_submodule(chosen), note)


@dataclass(frozen=True)
class _Seen:
    """Layers with spatial output on which the score depends, by their gradients.

    Attributes:
        outputs: of all modules with spatial output that run once, in the order of execution.
        deepest: of all; empty where the score depends on none.
        constant: the deepest whose gradients are constant over places; empty where none is.
        varying: the others, the deepest first.
        whole: those of them that no path from the image to the score goes round.
    """

    outputs: dict[str, Tensor]
    deepest: str
    constant: str
    varying: list[str]
    whole: list[str]

    @property
    def sensible(self) -> list[str]:
        """What a CAM can weight sensibly, the deepest first.

        A layer inside a residual branch explains only what that branch adds: each path from the
        image to the score should run through the layer, if there is such a one.

        Raises:
            LayerError: there is none.
        """
        if not self.varying:
            raise LayerError(
                "at every layer with spatial output the gradients are zero or constant over "
                f"places; name a layer by {argument('layer')}"
            )
        return self.whole or self.varying


def _look(network: nn.Module, images: Tensor, target: Target) -> _Seen:
    """The layers of a network, by what their gradients look like on some images.

    Raises:
        LayerError: no layer has spatial output, or no gradient reaches one.
    """
    outputs, scores, pixels, severed = _trace(network, images, target)
    if not outputs and not severed:
        scripts = [name for name, module in network.named_modules() if scripted(module)]
        raise LayerError(
            "no layer of the network has a spatial output (N,K,h,w); class activation maps need a "
            "convolutional network"
            + (f" ({scripts[0]!r} is TorchScript, which cannot be watched)" if scripts else "")
        )
    gradients = differentiate(scores, list(outputs.values()), retain_graph=True)
    if all(gradient is None for gradient in gradients):
        raise LayerError(
            "the gradient of the explained score reaches no layer with spatial output: "
            + where_lost(network, images)
        )
    felt = {
        name: varies(gradient)
        for name, gradient in zip(reversed(outputs), reversed(gradients), strict=True)
        if gradient is not None and gradient.abs().max() > 0
    }
    varying = [name for name, vary in felt.items() if vary]
    leaf = accumulator(pixels)
    return _Seen(
        outputs,
        deepest=next(iter(felt), ""),
        constant=next((name for name, vary in felt.items() if not vary), ""),
        varying=varying,
        whole=[n for n in varying if not reaches(scores.grad_fn, leaf, outputs[n].grad_fn)],
    )


def _after_relu(names: list[str], outputs: dict[str, Tensor]) -> str:
    """The first name whose output is nowhere negative, if its grid is close to the first's.

    Before its ReLU a layer has negative activations, which the formulas do not expect; it gives way
    to a layer after a ReLU unless that is more than twice as fine.
    """
    side = outputs[names[0]].shape[-1]
    for name in names:
        if outputs[name].shape[-1] <= 2 * side and outputs[name].min() >= 0:
            return name
    return names[0]


def varies(gradients: Tensor) -> bool:
    """Whether gradients [n,K,h,w] (or [n,K,d,h,w]) differ between the places of any channel."""
    spread, most = 0.0, 0.0
    for part in gradients.split(_TOGETHER):  # all may be more than memory holds
        flat = part.flatten(2)
        spread = max(spread, float((flat - flat.mean(-1, keepdim=True)).abs().max()))
        most = max(most, float(part.abs().max()))
    return spread > CONSTANT * most


def _trace(
    network: nn.Module, images: Tensor, target: Target
) -> tuple[dict[str, Tensor], Tensor, Tensor, bool]:
    """One forward pass: spatial outputs of modules that run once, in the order of execution, the
    scores, the pixels, and whether there are spatial outputs without a gradient."""
    outputs: dict[str, Tensor] = {}
    severed = False
    calls: dict[str, int] = {}

    def watch(name: str) -> Callable:
        def hook(_module: nn.Module, _inputs: tuple, output: object) -> Tensor | None:
            nonlocal severed
            calls[name] = calls.get(name, 0) + 1
            if not isinstance(output, Tensor) or output.ndim != pixels.ndim:
                return None
            if output.shape[2:].numel() < 2:
                return None
            if not output.requires_grad:
                severed = True
                return None
            outputs[name] = output
            return output.clone()  # an in-place operation after the layer changes the copy only

        return hook

    pixels = images.detach().to(device_of(network)).clone().requires_grad_()
    hooks = [
        (module.register_forward_hook, watch(name))
        for name, module in network.named_modules()
        if name and not scripted(module)
    ]
    with untouched(network), torch.enable_grad(), hooked(*hooks):
        reading = reading_of(target)
        found = forward(network, pixels, reading)
        explained = target if is_callable(target) else read_as(None, reading)
        scores = resolve(explained, found, len(images)).scores(found)
    return {n: t for n, t in outputs.items() if calls[n] == 1}, scores, pixels, severed
