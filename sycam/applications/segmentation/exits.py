"""An encoder with exits: after several of its layers a map of the object, and its mean as logit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sycam.errors import LayerError
from sycam.networks.layouts.reshaping import Reshape, to_map

ENCODER = "encoder"  # under which its layers stand in the network with exits


@dataclass(frozen=True)
class ExitPlace:
    """Where an exit stands.

    Attributes:
        layer: a name of the encoder's ``named_modules()``.
        channels: of its output.
        reshape: makes its output a map; None where it is one.
    """

    layer: str
    channels: int
    reshape: Reshape = None


class MultiExit(nn.Module):
    """An encoder with exits, of which the deepest one classifies.

    Called, it returns ``[N,1]``: the logit of the deepest exit, the last of ``places``.

    Args:
        encoder: a network; it is taken as it is, not copied. What it returns is not read.
        places: of the exits, in the order in which their layers run.
    """

    def __init__(self, encoder: nn.Module, places: Sequence[ExitPlace]):
        super().__init__()
        self.encoder = encoder
        self.places = tuple(places)
        self.exits = nn.ModuleList(nn.Conv2d(place.channels, 1, 1) for place in places)

    def forward(self, images: Tensor) -> Tensor:
        return logits_of(self.maps(self.features(images)))[:, -1:]

    def logit(self, images: Tensor) -> Tensor:
        """``[N]``: the logit of the deepest exit."""
        return self(images)[:, 0]

    def features(self, images: Tensor) -> list[Tensor]:
        """``[N,K,h,w]`` at each exit.

        Raises:
            LayerError: a layer did not run.
        """
        found: dict[str, Tensor] = {}
        with self._watched(found):
            self.encoder(images)
        missing = [place.layer for place in self.places if place.layer not in found]
        if missing:
            raise LayerError(
                f"layer {missing[0]!r} did not run, so that no exit can stand there; name others"
            )
        return [found[place.layer] for place in self.places]

    def maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        """``[N,h,w]`` of each exit, before any scaling: a 1x1 convolution of its features."""
        return [exit_(one)[:, 0] for exit_, one in zip(self.exits, features, strict=True)]

    @contextmanager
    def _watched(self, found: dict[str, Tensor]) -> Iterator[None]:
        def keep(place: ExitPlace, module: nn.Module, _given: object, output: object) -> None:
            # A copy, as what follows may work in place (ReLU).
            found[place.layer] = to_map(output, place.reshape, module).clone()

        hooks = [
            self.encoder.get_submodule(place.layer).register_forward_hook(partial(keep, place))
            for place in self.places
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def logits_of(maps: Sequence[Tensor]) -> Tensor:
    """``[N,E]``: the mean of each of E exits' maps."""
    return torch.stack([one.flatten(1).mean(1) for one in maps], 1)


def scaled(maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """``[N,E,H,W]`` in [0, 1]: the exits' maps at the images' size (bilinear), each scaled between
    its own extremes."""
    large = [F.interpolate(one[:, None], tuple(size), mode="bilinear") for one in maps]
    return between_extremes(torch.cat(large, 1))


def between_extremes(maps: Tensor) -> Tensor:
    """Maps ``[...,H,W]`` in [0, 1], each scaled between its own extremes; a flat one is 0."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    span = high - low
    # Not a clamp: rounding errors of a flat map must not fill it.
    flat = span <= 1e-6 * torch.maximum(low.abs(), high.abs())
    return torch.where(flat, 0.0, (maps - low) / span.where(~flat, 1.0))
