"""What a pass over some images shows of a network's layers: outputs, gradients, ways around."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from sycam.errors import LayerError
from sycam.evidence.layer import SHARED, Layer
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
from sycam.networks.layouts.reshaping import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    TOKENS,
    TokenGrid,
    looks_channels_last,
    to_map,
)
from sycam.networks.passes import hooked
from sycam.networks.untouched import device_of, untouched
from sycam.support.arguments import argument
from sycam.support.files import MEBIBYTE
from sycam.targets.resolve import Target, is_callable, read_as, reading_of, resolve

FLATTENED = "order=NKT"
PASSED = 3  # layers passed over that are named
_TOGETHER = 32  # images whose gradients are looked at together
CONSTANT = 1e-3  # gradients whose spread over places is at most this share of the largest


@dataclass(frozen=True)
class LayerProbe:
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
        """Those of the layers with varying gradients that have a channel per class."""
        return [name for name, vary in self.varying.items() if vary and self.is_class_map(name)]

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

    def is_class_map(self, name: str) -> bool:
        """Whether a layer has a channel per class, of which one alone has gradients: there all
        formulas coincide."""
        gradients = self.gradients[name]
        assert gradients is not None  # it varies
        gradients = self._map(name, gradients)
        return gradients.shape[1] > 1 and int(gradients.flatten(2).any(2).sum(1).max()) == 1

    def far_before(self, name: str, other: str) -> bool:
        """Whether a layer lies in the first half of what leads to another."""
        order = list(self.outputs)
        return 2 * order.index(name) < order.index(other)

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

    def room(self, name: str) -> float:
        """MiB that an image's activations and gradients at a layer take."""
        return 2 * self.maps[name][:1].nbytes / MEBIBYTE

    def told(self, name: str) -> str:
        """How a layer's output is read, for people; empty where it is (N,K,h,w)."""
        layout = self._reshape(name)
        return f"layer {name}: {layout_told(layout, self.layouts[name])}" if layout else ""

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


def probe(network: nn.Module, images: Tensor, target: Target) -> LayerProbe:
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
    return LayerProbe(network, outputs, known, by_name, scores, pixels)


def _candidates(known: dict[str, Seen], images: Tensor) -> Collection[str]:
    """Layers whose output is a map. Where places are lost for good, as behind an operation of the
    network's own, what has the form of one counts as such. Maps that are only flattened do not:
    they stand beside what they were made from."""
    last = max((i for i, seen in enumerate(known.values()) if seen.layout), default=-1)
    return [
        name
        for i, (name, seen) in enumerate(known.items())
        if (seen.layout and not seen.layout.endswith(FLATTENED))
        or (i > last and may_be_map(seen, images))
    ]


def may_be_map(seen: Seen, images: Tensor) -> bool:
    """Whether an output of which no places are known has the form of a map."""
    return not seen.placed and len(seen.shape) == images.ndim and math.prod(seen.shape[2:]) > 1


def layout_told(layout: str, seen: Seen) -> str:
    """How an output is read, for people."""
    if layout.startswith(TOKENS):
        return TokenGrid.parse(layout).told(seen.shape)
    return f"{layout}, {'x'.join(map(str, seen.shape[1:-1]))} grid"


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
