"""Images in pairs, each followed by itself flipped left-right: what ``mirror`` is computed from.

An expression that holds ``mirror`` is evaluated on both images of each pair at once, so that no
operator needs to know of it but ``mirror`` itself, which looks at an image's partner. Of the maps
that are made, those of the images themselves are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sycam.errors import ExpressionError
from sycam.heatmaps.evaluate import Pairs
from sycam.heatmaps.heatmaps import Heatmaps
from sycam.heatmaps.measured import Measured
from sycam.language import Expression
from sycam.language.mirroring import mirrored, split_mirrored


@dataclass(frozen=True)
class _Layer:
    """Leaves of pairs at one layer; a :class:`~sycam.heatmaps.measured.MeasuredLayer`."""

    leaves: Pairs
    depth: int
    name: str


@dataclass(frozen=True)
class _Paired:
    """Layers of pairs; a :class:`~sycam.heatmaps.measured.Measured`."""

    layers: tuple[_Layer, ...]
    fusion: str | Sequence[float]


def paired(expressions: Sequence[Expression], evidence: Measured) -> Measured:
    """Evidence of pairs from that of N images.

    Args:
        expressions: what is computed from it.
        evidence: with all the leaves that they read.

    Raises:
        ExpressionError: a leaf was not measured on the flipped images.
    """
    names = frozenset().union(*(one.leaves for one in expressions))
    layers = tuple(
        _Layer(pairs_of(names, layer.leaves), layer.depth, layer.name) for layer in evidence.layers
    )
    return _Paired(layers, evidence.fusion)


def pairs_of(names: frozenset[str], leaves: Mapping[str, Tensor]) -> Pairs:
    """Leaves of pairs, by plain names.

    Args:
        names: of leaves that are read, also on the flipped images.
        leaves: ``[N, ...]`` of the images and the flipped images, by their names.

    Raises:
        ExpressionError: a leaf was not measured on the flipped images.
    """
    plain, flipped = split_mirrored(names)
    lacking = sorted(name for name in flipped if mirrored(name) not in leaves)
    if lacking:
        raise ExpressionError(
            f"mirror(...) reads {', '.join(lacking)} of the images flipped left-right, which was "
            "not measured; name the expression's leaves when the evidence is measured"
        )
    made = Pairs()
    for name in {"activations", *plain} & leaves.keys():
        # What stands outside mirror(...) is kept of the images themselves: any partner will do.
        partner = leaves[mirrored(name)] if name in flipped else leaves[name]
        made[name] = torch.stack([leaves[name], partner], 1).flatten(0, 1)
    return made


def of_images(maps: Tensor) -> Tensor:
    """Of maps ``[..., 2N, h, w]`` of pairs those of the images themselves."""
    return maps[..., ::2, :, :]


def heatmaps_of_images(made: Heatmaps) -> Heatmaps:
    """Of heatmaps ``[P,2N,H,W]`` of pairs those of the images themselves."""
    return Heatmaps(made.maps[:, ::2], made.degenerate[:, ::2], made.finite)
