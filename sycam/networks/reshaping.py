"""A layer's output as a map: channels first, places behind, whatever layout the network uses."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sycam.errors import LayerError, unknown_name
from sycam.support.arguments import argument

EXTRA = 8  # class, distillation and register tokens in front of the places, at most
Reshape = str | Callable[[Tensor], Tensor] | None


def _tokens(output: Tensor) -> Tensor:
    """``(N,T,K)`` of a vision transformer: the last tokens that fill a square are the places."""
    if output.ndim != 3:
        raise LayerError(
            "reshape 'tokens' needs (N, tokens, channels), the layer returned "
            f"{tuple(output.shape)}"
        )
    side = math.isqrt(output.shape[1])
    if output.shape[1] - side * side > EXTRA:
        raise LayerError(
            f"{output.shape[1]} tokens are no square of places with at most {EXTRA} tokens in "
            "front; give a function from (N,T,K) to (N,K,h,w) as reshape"
        )
    places = output[:, output.shape[1] - side * side :]
    return places.transpose(1, 2).unflatten(2, (side, side))


def _channels_last(output: Tensor) -> Tensor:
    """``(N,h,w,K)`` of a Swin transformer, or ``(N,d,h,w,K)``."""
    return output.movedim(-1, 1)


RESHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "tokens": _tokens,
    "channels-last": _channels_last,
}


def find_reshape(reshape: Reshape) -> Callable[[Tensor], Tensor] | None:
    """A reshape by name; UnknownNameError, with the nearest names, where there is none."""
    if isinstance(reshape, str):
        if reshape not in RESHAPES:
            raise unknown_name("reshape", reshape, RESHAPES)
        return RESHAPES[reshape]
    return reshape


def to_map(output: object, reshape: Reshape, layer: nn.Module) -> Tensor:
    """The layer's output as ``(N,K,h,w)`` or, for volumes, ``(N,K,d,h,w)``.

    Args:
        output: what the layer returned.
        reshape: ``"tokens"`` (a vision transformer's ``(N,T,K)``: class and register tokens in
            front are left out), ``"channels-last"`` (a Swin transformer's ``(N,h,w,K)``), a
            function that selects and reorders entries (it is applied to gradients as well), or
            None where the output has this form already.
        layer: for the message.

    Raises:
        LayerError: there is no such map in it, or it has a single place.
    """
    function = find_reshape(reshape)
    if isinstance(output, Tensor) and function is not None:
        output = function(output)
    elif type(layer) is nn.LayerNorm and isinstance(output, Tensor) and output.ndim > 3:
        raise LayerError(
            f"the target layer (LayerNorm) returned {tuple(output.shape)}, and a layer norm has "
            f"its channels last: say {argument('reshape', 'channels-last')}"
        )
    if (
        not isinstance(output, Tensor)
        or output.ndim not in (4, 5)
        or math.prod(output.shape[2:]) < 2
    ):
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        tokens = argument("reshape", "tokens")
        hint = f"; for a transformer's tokens say {tokens}" if _is_tokens(output) else ""
        raise LayerError(
            f"the target layer ({type(layer).__name__}) returned {shape}, which has no places; "
            "expected (N,K,h,w) or (N,K,d,h,w) with more than one place: choose a convolutional "
            f"layer, or 'auto'{hint}"
        )
    return output


def looks_channels_last(output: Tensor, network: nn.Module) -> bool:
    """Whether an output is rather ``(N,h,w,K)``: a transformer's, or between permutations.

    K is then what a layer norm of the network normalises, which is over the last dimension, and
    no convolution or batch norm of it makes as many channels as the second dimension has.
    """
    normalised, made = set(), set()
    for module in network.modules():
        if type(module) is nn.LayerNorm:  # subclasses are of channels first (LayerNorm2d)
            normalised.add(module.normalized_shape[-1])
        made.add(getattr(module, "out_channels", None) or getattr(module, "num_features", None))
    return output.shape[-1] in normalised and output.shape[1] not in made


def _is_tokens(output: object) -> bool:
    return isinstance(output, Tensor) and output.ndim == 3


def folded(maps: Tensor) -> Tensor:
    """``(N,K,d,h,w)`` with its slices below one another, ``(N,K,d*h,w)``; a 2-D map as it is."""
    return maps.flatten(2, 3) if maps.ndim == 5 else maps


def zero_channels(output: Tensor, channels: Tensor, reshape: Reshape, layer: nn.Module) -> Tensor:
    """The layer's output ``[B, ...]`` with channel ``channels[b]`` of the map zero in row b.

    A reshape selects and reorders entries, so the entries of a channel are those that its
    derivative reaches.
    """
    if reshape is None:
        output[torch.arange(len(output), device=output.device), channels] = 0
        return output
    with torch.enable_grad():
        probe = torch.zeros_like(output).requires_grad_()
        maps = to_map(probe, reshape, layer)
        chosen = maps[torch.arange(len(output), device=output.device), channels]
        (reached,) = torch.autograd.grad(chosen.sum(), probe)
    return output.masked_fill(reached != 0, 0)
