"""A layer's output as a map: channels first, places behind, whatever layout the network uses.

A layout is text: ``"channels-first"``, ``"channels-last"``, or
``"tokens:prefix=P,grid=HxW,order=NTK"``. :mod:`sycam.networks.layouts.places` tells it of a
network.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sycam.errors import LayerError, OptionError, unknown_name
from sycam.networks.sources.user_file import import_function
from sycam.support.arguments import argument

AUTO, TOKENS = "auto", "tokens"  # layouts that are still to be told by the network
CHANNELS_FIRST, CHANNELS_LAST = "channels-first", "channels-last"
ORDERS = {"NTK": (0, 2, 1), "NKT": (0, 1, 2), "TNK": (1, 2, 0)}
"""How tokens lie in an output, and where its images, channels and tokens are."""

Reshape = str | Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class TokenGrid:
    """Tokens of a transformer, some of which are places of the image, row by row.

    Attributes:
        prefix: class, distillation and register tokens in front of the places; what is behind
            them is left out as well.
        height, width: of the grid of places.
        order: of the output's dimensions: images N, tokens T and channels K.
    """

    prefix: int
    height: int
    width: int
    order: str = "NTK"

    def __call__(self, output: Tensor) -> Tensor:
        """``(N,K,h,w)`` of an output ``(N,T,K)``, or in another order.

        Raises:
            LayerError: it has other dimensions, or fewer tokens.
        """
        shape, end = tuple(output.shape), self.prefix + self.height * self.width
        if output.ndim != 3 or output.shape[self.order.index("T")] < end:
            raise LayerError(
                f"{argument('reshape', str(self))} needs ({','.join(self.order)}) with "
                f"T = {end} tokens or more, the layer returned {shape}"
            )
        places = output.permute(ORDERS[self.order])[..., self.prefix : end]
        return places.unflatten(2, (self.height, self.width))

    def __str__(self) -> str:
        order = "" if self.order == "NTK" else f",order={self.order}"
        return f"{TOKENS}:prefix={self.prefix},grid={self.height}x{self.width}{order}"

    @classmethod
    def parse(cls, text: str) -> TokenGrid:
        """The grid of text like ``"tokens:prefix=1,grid=8x16"``.

        Raises:
            OptionError: it is not understood.
        """
        given = dict(part.partition("=")[::2] for part in text.partition(":")[2].split(","))
        grid = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", given.pop("grid", ""))
        prefix, order = given.pop("prefix", "0"), given.pop("order", "NTK")
        if grid is None or not re.fullmatch(r"\d{1,6}", prefix) or order not in ORDERS or given:
            raise OptionError(
                f"{argument('reshape')} {text!r} is not understood; expected tokens, or "
                "tokens:prefix=1,grid=8x16 (tokens in front of the places; rows and columns), "
                f"and where it is not NTK order={' or '.join(list(ORDERS)[1:])}"
            )
        return cls(int(prefix), int(grid[1]), int(grid[2]), order)

    def told(self, shape: tuple[int, ...]) -> str:
        """What an output of this shape holds, for people."""
        count, places = shape[self.order.index("T")], self.height * self.width
        behind = count - self.prefix - places
        return (
            f"{count} tokens = {self.prefix} prefix + {self.height}x{self.width} grid"
            + (f" + {behind} behind" if behind else "")
            + ("" if self.order == "NTK" else f", ({','.join(self.order)})")
        )


@dataclass(frozen=True)
class UserReshape:
    """A function of a user's file.

    Attributes:
        text: ``FILE.py:NAME``.
        function: from the layer's output to ``(N,K,h,w)``.
    """

    text: str
    function: Callable[[Tensor], Tensor]

    def __call__(self, output: Tensor) -> Tensor:
        """The output as a map."""
        return self.function(output)


def _channels_last(output: Tensor) -> Tensor:
    """``(N,h,w,K)`` of a Swin transformer, or ``(N,d,h,w,K)``."""
    return output.movedim(-1, 1)


def _untold(output: Tensor) -> Tensor:
    raise LayerError(
        f"where the tokens ({', '.join(map(str, output.shape))}) lie was not looked up; say "
        f"{argument('reshape', 'tokens:prefix=1,grid=8x16')}"
    )


RESHAPES: dict[str, Callable[[Tensor], Tensor] | None] = {
    AUTO: None,
    TOKENS: _untold,
    CHANNELS_FIRST: None,
    CHANNELS_LAST: _channels_last,
}


def find_reshape(reshape: Reshape) -> Callable[[Tensor], Tensor] | None:
    """What makes a map of an output; None where it is one already.

    Raises:
        OptionError: text that is not understood; an UnknownNameError tells the nearest names.
    """
    if not isinstance(reshape, str):
        return reshape
    if reshape.startswith(f"{TOKENS}:"):
        return TokenGrid.parse(reshape)
    if ".py:" in reshape:
        function = import_function(reshape, "reshape", OptionError)
        if not callable(function):
            raise OptionError(f"{argument('reshape')} {reshape!r} is no function")
        return UserReshape(reshape, function)
    if reshape not in RESHAPES:
        hint = "or tokens:prefix=1,grid=8x16, or FILE.py:NAME"
        raise unknown_name("reshape", reshape, RESHAPES, hint)
    return RESHAPES[reshape]


def to_map(output: object, reshape: Reshape, layer: nn.Module) -> Tensor:
    """The layer's output as ``(N,K,h,w)`` or, for volumes, ``(N,K,d,h,w)``.

    Args:
        output: what the layer returned.
        reshape: a layout, or a function that selects and reorders entries (it is applied to
            gradients as well); None where the output has this form already.
        layer: for the message.

    Raises:
        LayerError: there is no such map in it, or it has a single place.
    """
    function = find_reshape(reshape)
    if isinstance(output, Tensor) and function is not None:
        output = function(output)
    if (
        not isinstance(output, Tensor)
        or output.ndim not in (4, 5)
        or math.prod(output.shape[2:]) < 2
    ):
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise LayerError(
            f"the target layer ({type(layer).__name__}) returned {shape}, which has no places; "
            "expected (N,K,h,w) or (N,K,d,h,w) with more than one place: choose another layer, "
            "or 'auto'"
        )
    return output


def looks_channels_last(shape: tuple[int, ...], network: nn.Module) -> bool:
    """Whether an output of this shape, whose places are not known, is rather ``(N,h,w,K)``.

    K is then what a layer norm of the network normalises, which is over the last dimension, and
    no convolution or batch norm of it makes as many channels as the second dimension has.
    """
    normalised, made = set(), set()
    for module in network.modules():
        if type(module) is nn.LayerNorm:  # subclasses are of channels first (LayerNorm2d)
            normalised.add(module.normalized_shape[-1])
        made.add(getattr(module, "out_channels", None) or getattr(module, "num_features", None))
    return shape[-1] in normalised and shape[1] not in made


def folded(maps: Tensor) -> Tensor:
    """``(N,K,d,h,w)`` with its slices below one another, ``(N,K,d*h,w)``; a 2-D map as it is."""
    return maps.flatten(2, 3) if maps.ndim == 5 else maps


def rows_of(output: Tensor, count: int, reshape: Reshape) -> Tensor:
    """A layer's output for one image, or the first of several, as that of ``count`` such images."""
    function = find_reshape(reshape)
    images = function.order.index("N") if isinstance(function, TokenGrid) else 0
    times = [count if dim == images else 1 for dim in range(output.ndim)]
    return output.narrow(images, 0, 1).repeat(times)


def zero_channels(output: Tensor, channels: Tensor, reshape: Reshape, layer: nn.Module) -> Tensor:
    """The layer's output ``[B, ...]`` with channel ``channels[b]`` of the map zero in row b.

    A reshape selects and reorders entries, so the entries of a channel are those that its
    derivative reaches.
    """
    if find_reshape(reshape) is None:
        output[torch.arange(len(channels), device=output.device), channels] = 0
        return output
    with torch.enable_grad():
        probe = torch.zeros_like(output).requires_grad_()
        maps = to_map(probe, reshape, layer)
        chosen = maps[torch.arange(len(channels), device=output.device), channels]
        (reached,) = torch.autograd.grad(chosen.sum(), probe)
    return output.masked_fill(reached != 0, 0)
