"""Finding target layers: by name, by module, or by what their gradients look like."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from sycam.errors import LayerError, unknown_name
from sycam.evidence.layer import AUTO, LAST, SOUGHT, Layer
from sycam.evidence.layer_probe import LayerProbe, layout_told, may_be_map, probe
from sycam.networks.backward import scripted
from sycam.networks.layouts.places import Seen, layouts
from sycam.networks.layouts.reshaping import AUTO as DETECT
from sycam.networks.layouts.reshaping import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    TOKENS,
    Reshape,
    UserReshape,
    find_reshape,
    looks_channels_last,
)
from sycam.networks.untouched import COMPILED, uncompiled
from sycam.support.arguments import argument
from sycam.targets.resolve import Target

LEAST_SITES, MOST_SITES = 3, 6  # layers that a search of the whole network looks at
MOST_ROOM = 16 * 1024.0  # MiB that their activations and gradients may take on all images


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
        images: a few probe images ``[n,C,H,W]``, for ``"auto"`` and ``"last"``, and for layouts;
            where there is none, the layer is found by its name only.
        reshape: makes the layer's output a map; None and ``"auto"`` tell its layout, as do
            ``"tokens"``; not for layers that are sought, whose layout is always told.
        target: what is explained on those images; classes count as the predicted ones.

    Raises:
        UnknownNameError: no layer or reshape has that name; the nearest names are told.
        LayerError: the module is not part of the network, no layer suits ``"auto"``, or the
            layer's output is no map.
    """
    reshape = _opened(reshape)
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
                return _laid_out(network, Layer(name, module, reshape=reshape), images)
        raise LayerError(
            f"the layer given ({type(layer).__name__}) is no part of the network; "
            "pass one of network.named_modules()"
        )
    if layer in modules and layer:
        return _laid_out(network, Layer(layer, modules[layer], reshape=reshape), images)
    if layer not in SOUGHT:
        known = [*SOUGHT, *filter(None, modules)]
        raise unknown_name("layer", str(layer), known, "or 'auto'")
    if reshape is not None:
        raise LayerError(
            f"layer {layer!r} is sought with its layout; leave out {argument('reshape')}, or name "
            "the layer"
        )
    return _deepest(network, images, target, layer == LAST)


def _opened(reshape: Reshape) -> Reshape:
    """A reshape that is checked, once: a user's file is imported, and what need not be said is
    None."""
    function = find_reshape(reshape)
    if reshape == DETECT:
        return None
    return function if isinstance(function, UserReshape) else reshape


@torch.inference_mode(False)  # as the pass that counts
def _laid_out(network: nn.Module, layer: Layer, images: Tensor) -> Layer:
    """The layer with the layout of its output, told by a pass of the images where it is not said.

    Raises:
        LayerError: the output is no map, or its layout cannot be told.
    """
    if layer.reshape == CHANNELS_FIRST:
        return replace(layer, reshape=None)
    if layer.reshape not in (None, TOKENS) or not len(images) or scripted(layer.module):
        return layer
    seen = layouts(network, images, [layer.module]).get(layer.name)
    if seen is None or seen.runs > 1 or len(seen.shape) < 3 or math.prod(seen.shape[2:]) < 2:
        return layer  # it did not run once, or returned no map: the pass that measures it says so
    layout = seen.layout or _by_looks(seen, layer, network, images)
    if layer.reshape == TOKENS and not layout.startswith(TOKENS):
        layout = ""
    if not layout:
        raise _no_map(layer, seen, images)
    if layout == CHANNELS_FIRST:
        return replace(layer, reshape=None)
    return replace(layer, reshape=layout, note=f"layer {layer.name}: {layout_told(layout, seen)}")


def _by_looks(seen: Seen, layer: Layer, network: nn.Module, images: Tensor) -> str:
    """The layout of an output whose places are not known: it is what it usually is, unless it
    looks otherwise."""
    usual = may_be_map(seen, images)
    return CHANNELS_FIRST if usual and not looks_channels_last(seen.shape, network) else ""


def _no_map(layer: Layer, seen: Seen, images: Tensor) -> LayerError:
    """Why a layer's output cannot be read as a map, and how a user says how it can."""
    known = f"layer {layer.name!r} ({type(layer.module).__name__}) returned {seen.shape}"
    if len(seen.shape) == images.ndim and not seen.placed:
        return LayerError(
            f"{known}, which looks like channels last, (N,h,w,K): say "
            f"{argument('reshape', CHANNELS_LAST)}, or {argument('reshape', CHANNELS_FIRST)}"
        )
    why = (
        "whose places do not form one grid over the image"
        if seen.placed
        else "whose places in the image are not known"
    )
    ways = f"{argument('reshape', 'tokens:prefix=1,grid=8x16')} for tokens (N,T,K), or a function"
    return LayerError(
        f"{known} for images of {images.shape[-2]}x{images.shape[-1]}, {why}: choose another "
        f"layer ({AUTO!r} finds one), or say by {argument('reshape')} where they are: {ways} to "
        "(N,K,h,w), in a command FILE.py:NAME"
    )


def _as_compiled(layer: str, modules: Iterable[str]) -> str:
    """A layer's name with or without what ``torch.compile`` puts before those of a network or a
    part, as ``named_modules`` has it; unknown names as they are."""

    def plain(name: str) -> str:
        return ".".join(part for part in name.split(".") if part != COMPILED)

    found = [name for name in modules if name and plain(name) == plain(layer)]
    return found[-1] if found else layer  # a compiled part itself, rather than its wrapper


@torch.inference_mode(False)  # where the caller is in it, no gradient could be recorded
def find_sites(
    network: nn.Module, images: Tensor, target: Target = None, count: int = 0
) -> tuple[Layer, ...]:
    """The layers that a search of the whole network looks at, the deepest first.

    Of each resolution the deepest layer that a CAM can weight sensibly, as for ``"auto"``, and
    the deepest of all even where its gradients are constant, unless it has a channel per class, so
    that all formulas coincide; where there are few resolutions, the next deepest. At most
    :data:`MOST_SITES`, and without the finest where all would take more than :data:`MOST_ROOM`.

    Args:
        network: the classifier.
        images: a few probe images ``[n,C,H,W]``.
        target: what is explained on those images; classes count as the predicted ones.
        count: of the images that will be measured.

    Raises:
        LayerError: no layer suits.
    """
    seen = probe(network, images, target)
    maps, constant, whole = seen.maps, seen.constant, seen.sensible
    by_grid: dict[tuple[int, ...], list[str]] = {}
    for name in whole:
        by_grid.setdefault(seen.grid(name), []).append(name)
    chosen = [_after_relu(names, seen) for names in by_grid.values()]
    if constant and not seen.is_class_map(constant):
        chosen = list(dict.fromkeys([constant, *chosen]))
    rectified = any(maps[name].min() >= 0 for name in whole)
    for name in whole:
        further = len(chosen) < LEAST_SITES and (maps[name].min() >= 0 or not rectified)
        if further and not any(_same(maps[name], maps[other]) for other in chosen):
            chosen.append(name)
    chosen = sorted(chosen, key=list(maps).index, reverse=True)[:MOST_SITES]
    chosen, finest = _in_room(chosen, seen, count)
    for name in chosen:
        seen.check(name)
    note = (
        f"{len(chosen)} layers are looked at, the deepest first: {', '.join(chosen)}; one forward "
        "and backward pass serves all, their activations and gradients take "
        f"{sum(map(seen.room, chosen)):.3g} MiB per image, {seen.room(chosen[0]):.3g} at the "
        "deepest alone"
    )
    if finest:
        note += (
            f"; left out: {', '.join(finest)}, with which {count} images would take more than "
            f"{MOST_ROOM / 1024:g} GiB (name layers by {argument('layer')}, or take fewer images, "
            "to have them)"
        )
    return tuple(
        seen.layer(name, note if name == chosen[0] else "", said=seen.told(name)) for name in chosen
    )


def _in_room(names: list[str], seen: LayerProbe, count: int) -> tuple[list[str], list[str]]:
    """Layers, the deepest first, whose measurements on so many images find room, the deepest of
    them in any case; and those left out, the largest first."""
    kept, out = list(names), []
    while len(kept) > 1 and count * sum(map(seen.room, kept)) > MOST_ROOM:
        largest = max(kept[1:], key=seen.room)
        kept.remove(largest)
        out.append(largest)
    return kept, out


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two layers return the same, as a block and its last part do."""
    return one.shape == other.shape and bool(torch.equal(one, other))


@torch.inference_mode(False)  # where the caller is in it, no gradient could be recorded
def _deepest(network: nn.Module, images: Tensor, target: Target, any_gradients: bool) -> Layer:
    """The deepest layer whose gradients vary over places, and that a CAM can weight sensibly.

    Args:
        any_gradients: take the deepest layer that the score depends on, whatever its gradients.
    """
    seen = probe(network, images, target)
    if any_gradients and (deepest := seen.deepest):
        return seen.layer(deepest, f"deepest layer with places: {deepest}")
    chosen = _after_relu(seen.sensible, seen)
    seen.check(chosen)
    note = f"deepest layer with gradients that vary over places: {chosen}"
    if seen.constant:
        note += (
            f" (at {seen.constant} they are constant over places, so that Grad-CAM, XGrad-CAM, "
            "HiResCAM and CAM would coincide there)"
        )
    if passed := seen.passed_over(chosen):
        note += f"; passed over: {passed}"
    return seen.layer(chosen, note)


def _after_relu(names: list[str], seen: LayerProbe) -> str:
    """The first name whose output is nowhere negative, if its grid is close to the first's.

    Before its ReLU a layer has negative activations, which the formulas do not expect; it gives way
    to a layer after a ReLU unless that is more than twice as fine, or in the first half of the way.
    Transformers have none.
    """
    if seen.layouts[names[0]].layout not in (CHANNELS_FIRST, ""):
        return names[0]
    side = seen.grid(names[0])[-1]
    for name in names:
        near = seen.grid(name)[-1] <= 2 * side and not seen.far_before(name, names[0])
        if near and seen.maps[name].min() >= 0:
            return name
    return names[0]
