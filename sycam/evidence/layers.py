"""Finding the target layer: by name, by module, or by what its gradients look like."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from sycam.errors import LayerError, OptionError, unknown_name
from sycam.networks.backward import (
    accumulator,
    bottlenecks,
    differentiate,
    reachable,
    scripted,
    where_lost,
)
from sycam.networks.forward import forward
from sycam.networks.layouts.places import Seen, layouts
from sycam.networks.layouts.reshaping import AUTO as DETECT
from sycam.networks.layouts.reshaping import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    TOKENS,
    Reshape,
    TokenGrid,
    UserReshape,
    find_reshape,
    looks_channels_last,
    to_map,
)
from sycam.networks.passes import hooked
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
        note: for a layer found by ``auto`` or ``last``, why it was taken; for one whose output is
            no map (N,K,h,w), how it is read.
        reshape: makes its output a map, see :func:`sycam.networks.layouts.reshaping.to_map`; None
            where it is one.
    """

    name: str
    module: nn.Module
    note: str = ""
    reshape: Reshape = None


def layer_of(layer: Layer | nn.Module) -> Layer:
    """A layer, of which the module alone may be given."""
    return layer if isinstance(layer, Layer) else Layer("", layer)


Layers = str | nn.Module | Sequence[str | nn.Module]
SHARED = (
    "where one encoder reads several inputs (Siamese networks), wrap the network so that it "
    "encodes the images alone, and the others' features are held fixed"
)
AUTO, LAST, SITES = "auto", "last", "sites"
SOUGHT = (AUTO, LAST)  # a layer that is found by looking at what the network does
FLATTENED = "order=NKT"
PASSED = 3  # layers passed over that are named
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
    return _deepest(network, images, target, layer == "last")


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
    return replace(layer, reshape=layout, note=f"layer {layer.name}: {_told(layout, seen)}")


def _by_looks(seen: Seen, layer: Layer, network: nn.Module, images: Tensor) -> str:
    """The layout of an output whose places are not known: it is what it usually is, unless it
    looks otherwise."""
    usual = _may_be_map(seen, images)
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


def _told(layout: str, seen: Seen) -> str:
    """How an output is read, for people."""
    if layout.startswith(TOKENS):
        return TokenGrid.parse(layout).told(seen.shape)
    return f"{layout}, {'x'.join(map(str, seen.shape[1:-1]))} grid"


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
    maps, constant, whole = seen.maps, seen.constant, seen.sensible
    by_grid: dict[tuple[int, ...], list[str]] = {}
    for name in whole:
        by_grid.setdefault(seen.grid(name), []).append(name)
    chosen = [_after_relu(names, seen) for names in by_grid.values()]
    chosen = list(dict.fromkeys([*filter(None, [constant]), *chosen]))
    rectified = any(maps[name].min() >= 0 for name in whole)
    for name in whole:
        further = len(chosen) < LEAST_SITES and (maps[name].min() >= 0 or not rectified)
        if further and not any(_same(maps[name], maps[other]) for other in chosen):
            chosen.append(name)
    chosen = sorted(chosen, key=list(maps).index, reverse=True)[:MOST_SITES]
    for name in chosen:
        seen.check(name)
    note = f"{len(chosen)} layers are searched, the deepest first: {', '.join(chosen)}"
    return tuple(
        seen.layer(name, note if name == chosen[0] else "", said=seen.told(name)) for name in chosen
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


@dataclass(frozen=True)
class _Look:
    """What a pass over some images shows of the layers whose output is a map.

    Attributes:
        network: looked at.
        outputs: of all such layers that run once, in the order of execution, as they are.
        layouts: of these outputs.
        gradients: of the explained score, by layer; None where it does not depend on one.
        scores: of the images.
        pixels: the images.
    """

    network: nn.Module
    outputs: dict[str, Tensor]
    layouts: dict[str, Seen]
    gradients: dict[str, Tensor | None]
    scores: Tensor
    pixels: Tensor

    @cached_property
    def maps(self) -> dict[str, Tensor]:
        """The outputs as maps, in the order of execution."""
        return {name: self._map(name, output) for name, output in self.outputs.items()}

    @cached_property
    def varying(self) -> dict[str, bool]:
        """The layers on which the score depends, the deepest first: whether their gradients
        vary over places."""
        felt = {}
        for name in reversed(self.outputs):
            gradient = self.gradients[name]
            gradient = None if gradient is None else self._map(name, gradient)
            if gradient is not None and gradient.abs().max() > 0:
                felt[name] = varies(gradient)
        return felt

    @property
    def deepest(self) -> str:
        """The deepest on which the score depends, inside a branch only if there is no other;
        empty where it depends on none."""
        felt = list(self.varying)
        return next(filter(self._rules_its_grid, felt), next(iter(felt), ""))

    @property
    def constant(self) -> str:
        """The deepest whose gradients are constant over places, not inside a branch; empty where
        none is."""
        constant = (name for name, vary in self.varying.items() if not vary)
        return next(filter(self._rules_its_grid, constant), "")

    @cached_property
    def class_maps(self) -> list[str]:
        """Layers with a channel per class, of which one alone has gradients: there all formulas
        coincide."""
        return [name for name, vary in self.varying.items() if vary and self._of_one(name)]

    @cached_property
    def sensible(self) -> list[str]:
        """What a CAM can weight sensibly, the deepest first.

        A layer inside a residual branch explains only what that branch adds: each path from the
        image to the score should run through the layer. Where several resolutions are joined
        behind it, as in heads for segmentation, such a layer lies far in front, if there is one:
        then no path should go round the layer within its resolution.

        Raises:
            LayerError: there is none.
        """
        varying = [name for name, vary in self.varying.items() if vary]
        if not varying:
            raise LayerError(
                "at every layer with spatial output the gradients are zero or constant over "
                f"places; name a layer by {argument('layer')}"
            )
        varying = [name for name in varying if name not in self.class_maps] or varying
        whole = [name for name in varying if not self._gone_round(name)]
        if whole and not self.far_before(whole[0], varying[0]):
            return whole
        return [name for name in varying if self._rules_its_grid(name)] or whole or varying

    def far_before(self, name: str, other: str) -> bool:
        """Whether a layer lies in the first half of what leads to another."""
        order = list(self.outputs)
        return 2 * order.index(name) < order.index(other)

    def _of_one(self, name: str) -> bool:
        gradients = self.gradients[name]
        assert gradients is not None  # it varies
        gradients = self._map(name, gradients)
        return gradients.shape[1] > 1 and int(gradients.flatten(2).any(2).sum(1).max()) == 1

    def _gone_round(self, name: str) -> bool:
        """Whether a path from the image to the score goes round a layer."""
        return self.outputs[name].grad_fn not in self._unavoidable

    @cached_property
    def _unavoidable(self) -> set[object]:
        return bottlenecks(self.scores.grad_fn, accumulator(self.pixels))

    def _rules_its_grid(self, name: str) -> bool:
        """Whether no path from the score goes round a layer to one of the same resolution that it
        is made from, as a shortcut does."""
        node = self.outputs[name].grad_fn
        beside, behind = reachable([self.scores.grad_fn], node), reachable([node])
        return not any(
            output.grad_fn in beside and output.grad_fn in behind
            for other, output in self.outputs.items()
            if self.grid(other) == self.grid(name)
        )

    def grid(self, name: str) -> tuple[int, ...]:
        """Sides of a layer's map."""
        return tuple(self.maps[name].shape[2:])

    def told(self, name: str) -> str:
        """How a layer's output is read, for people; empty where it is (N,K,h,w)."""
        layout = self._reshape(name)
        return f"layer {name}: {_told(layout, self.layouts[name])}" if layout else ""

    def layer(self, name: str, note: str, said: str | None = None) -> Layer:
        """A layer, with what is said of it."""
        notes = filter(None, (note, self.told(name) if said is None else said))
        module = self.network.get_submodule(name)
        return Layer(name, module, "; ".join(notes), self._reshape(name))

    def check(self, name: str) -> None:
        """Refuse a layer whose places are not known, and that looks like channels last."""
        shape = tuple(self.outputs[name].shape)
        if not self.layouts[name].layout and looks_channels_last(shape, self.network):
            raise LayerError(
                f"the deepest layer with places, {name}, returns {shape}, which looks like "
                f"(N,h,w,K), channels last: name a layer by {argument('layer')}, with "
                f"{argument('reshape', CHANNELS_LAST)}"
            )

    def passed_over(self, chosen: str) -> str:
        """Deeper layers than the chosen one that one might expect, and why they were not taken."""
        order = list(self.outputs)
        behind = order[order.index(chosen) + 1 :][::-1]
        said = []
        if behind and behind[0] not in self.varying:
            said.append(f"{behind[0]} (the score does not depend on its places)")
        if maps := [name for name in behind if name in self.class_maps]:
            said.append(f"{maps[0]} (one channel per class, so that all formulas coincide)")
        if self._gone_round(chosen):
            taken = {*self.class_maps, chosen}
            beside = [n for n in behind if self.varying.get(n) and n not in taken][:PASSED]
            if beside:
                said.append(
                    f"{', '.join(beside)} (of their resolution, paths go round them; finer "
                    f"resolutions go round {chosen} as well)"
                )
        return ", ".join(said)

    def _reshape(self, name: str) -> str | None:
        layout = self.layouts[name].layout
        return None if layout == CHANNELS_FIRST else layout or None

    def _map(self, name: str, values: Tensor) -> Tensor:
        return to_map(values.detach(), self._reshape(name), self.network.get_submodule(name))


def _look(network: nn.Module, images: Tensor, target: Target) -> _Look:
    """The layers of a network, by what their gradients look like on some images.

    Raises:
        LayerError: no layer has spatial output, or no gradient reaches one.
    """
    known = layouts(network, images)
    outputs, scores, pixels, severed = _trace(network, images, target, _candidates(known, images))
    if not outputs and not severed:
        scripts = [name for name, module in network.named_modules() if scripted(module)]
        shared = [n for n, s in known.items() if s.runs > 1 and len(s.shape) == images.ndim]
        raise LayerError(
            "no layer of the network has a spatial output (N,K,h,w), nor tokens that lie over the "
            "image; class activation maps need one"
            + (f" ({scripts[0]!r} is TorchScript, which cannot be watched)" if scripts else "")
            + (f"; {shared[-1]!r} runs several times in one pass: {SHARED}" if shared else "")
        )
    gradients = differentiate(scores, list(outputs.values()), retain_graph=True)
    if all(gradient is None for gradient in gradients):
        raise LayerError(
            "the gradient of the explained score reaches no layer with spatial output: "
            + where_lost(network, images)
        )
    by_name = dict(zip(outputs, gradients, strict=True))
    return _Look(network, outputs, known, by_name, scores, pixels)


def _candidates(known: dict[str, Seen], images: Tensor) -> Collection[str]:
    """Layers whose output is a map. Where places are lost for good, as behind an operation of the
    network's own, what has the form of one counts as such. Maps that are only flattened do not:
    they stand beside what they were made from."""
    last = max((i for i, seen in enumerate(known.values()) if seen.layout), default=-1)
    return [
        name
        for i, (name, seen) in enumerate(known.items())
        if (seen.layout and not seen.layout.endswith(FLATTENED))
        or (i > last and _may_be_map(seen, images))
    ]


def _may_be_map(seen: Seen, images: Tensor) -> bool:
    """Whether an output of which no places are known has the form of a map."""
    return not seen.placed and len(seen.shape) == images.ndim and math.prod(seen.shape[2:]) > 1


def _after_relu(names: list[str], seen: _Look) -> str:
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


def varies(gradients: Tensor) -> bool:
    """Whether gradients [n,K,h,w] (or [n,K,d,h,w]) differ between the places of any channel."""
    spread, most = 0.0, 0.0
    for part in gradients.split(_TOGETHER):  # all may be more than memory holds
        flat = part.flatten(2)
        spread = max(spread, float((flat - flat.mean(-1, keepdim=True)).abs().max()))
        most = max(most, float(part.abs().max()))
    return spread > CONSTANT * most


def _trace(
    network: nn.Module, images: Tensor, target: Target, candidates: Collection[str]
) -> tuple[dict[str, Tensor], Tensor, Tensor, bool]:
    """One forward pass: outputs of candidates that run once, in the order of execution, the
    scores, the pixels, and whether there are outputs without a gradient."""
    outputs: dict[str, Tensor] = {}
    severed = False
    calls: dict[str, int] = {}

    def watch(name: str) -> Callable:
        def hook(_module: nn.Module, _inputs: tuple, output: object) -> Tensor | None:
            nonlocal severed
            calls[name] = calls.get(name, 0) + 1
            if not isinstance(output, Tensor):
                return None
            if not output.requires_grad:
                severed = True
                return None
            # A copy, as an Identity returns what others may read as well; what follows gets
            # another, which in-place operations may change.
            outputs[name] = output.clone()
            return outputs[name].clone()

        return hook

    pixels = images.detach().to(device_of(network)).clone().requires_grad_()
    hooks = [
        (module.register_forward_hook, watch(name))
        for name, module in network.named_modules()
        if name in candidates
    ]
    with untouched(network), torch.enable_grad(), hooked(*hooks):
        reading = reading_of(target)
        found = forward(network, pixels, reading)
        explained = target if is_callable(target) else read_as(None, reading)
        scores = resolve(explained, found, len(images)).scores(found)
    return {n: t for n, t in outputs.items() if calls[n] == 1}, scores, pixels, severed
