"""A target layer, as it is named and as it is found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from sycam.errors import OptionError
from sycam.networks.layouts.reshaping import Reshape

AUTO, LAST, SITES = "auto", "last", "sites"
SOUGHT = (AUTO, LAST)  # a layer that is found by looking at what the network does
SHARED = (
    "where one encoder reads several inputs (Siamese networks), wrap the network so that it "
    "encodes the images alone, and the others' features are held fixed"
)


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
