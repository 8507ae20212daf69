"""Heatmaps of several layers to one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sycam.errors import OptionError, unknown_name
from sycam.heatmaps.evaluate import KeptValues
from sycam.heatmaps.heatmaps import Heatmaps, heatmaps, norm01
from sycam.heatmaps.measured import Measured
from sycam.heatmaps.pairs import heatmaps_of_images, paired
from sycam.heatmaps.sites import sited_heatmaps
from sycam.language import Expression
from sycam.support.arguments import argument

FUSIONS = ("mean", "max", "product")
Fusion = str | Sequence[float]


def check_fusion(fusion: Fusion, layers: int) -> str | tuple[float, ...]:
    """A fusion that suits a number of layers.

    Args:
        fusion: ``"mean"``, ``"max"``, ``"product"``, or one weight per layer (also as text,
            ``"0.3,0.7"``), none negative and not all zero.
        layers: how many there are.

    Raises:
        UnknownNameError, OptionError: no such fusion, or weights that do not fit.
    """
    if isinstance(fusion, str) and fusion in FUSIONS:
        return fusion
    try:
        weights = tuple(map(float, fusion.split(",") if isinstance(fusion, str) else fusion))
    except (TypeError, ValueError):
        if isinstance(fusion, str):
            listing = "or one weight per layer, like 0.3,0.7"
            raise unknown_name("fusion", fusion, FUSIONS, listing) from None
        raise OptionError(
            f"{argument('fusion')} must be {', '.join(FUSIONS)} or one number per layer, got "
            f"{fusion!r}"
        ) from None
    usable = len(weights) == layers and all(0 <= w < float("inf") for w in weights)
    if not usable or not sum(weights):
        raise OptionError(
            f"weights of {argument('fusion')} must be {layers} numbers that are not negative, one "
            f"per layer, got {weights}"
        )
    return weights


def fuse(layers: Sequence[Heatmaps], fusion: Fusion) -> Heatmaps:
    """One heatmap per candidate and image from those of several layers, scaled to [0, 1] again.

    Args:
        layers: heatmaps of the same P candidates and N images.
        fusion: ``mean`` (pytorch-grad-cam), ``max`` (LayerCAM), ``product`` (RefineCAM), or
            weights of a mean.

    A fused map is degenerate where it is flat: for a product, where any layer's is.
    """
    if len(layers) == 1:
        return layers[0]
    stacked = torch.stack([layer.maps for layer in layers])
    maps = norm01(_combined(stacked, fusion), stacked.ndim - 3)
    flat = maps.flatten(2).amax(-1) <= 0
    return Heatmaps(maps, flat, torch.stack([layer.finite for layer in layers]).all(0))


def _combined(maps: Tensor, fusion: Fusion) -> Tensor:
    if fusion == "max":
        return maps.amax(0)
    if fusion == "product":
        return maps.prod(0)
    if fusion == "mean":
        return maps.mean(0)
    return torch.tensordot(maps.new_tensor(fusion), maps, 1)


def maps_of(
    expressions: Sequence[Expression],
    evidence: Measured,
    size: tuple[int, ...],
    kept: Sequence[KeptValues] | None = None,
) -> Heatmaps:
    """Heatmaps of P expressions from evidence of one or several layers.

    An expression that names the layers that it reads is computed once; of others the heatmaps of
    all layers are fused.

    Args:
        expressions: of any sort that makes a heatmap.
        evidence: ``Evidence`` or ``Stack`` of N images.
        size: of the images.
        kept: values of earlier batches on this evidence, one store per layer.
    """
    in_pairs = [expression.pairs for expression in expressions]
    if not any(in_pairs):
        return _maps_of(expressions, evidence, size, kept)
    if not all(in_pairs):
        return _in_order(expressions, in_pairs, lambda some: maps_of(some, evidence, size, kept))
    # What is kept are values of the images, not of pairs.
    return heatmaps_of_images(_maps_of(expressions, paired(expressions, evidence), size))


def _maps_of(
    expressions: Sequence[Expression],
    evidence: Measured,
    size: tuple[int, ...],
    kept: Sequence[KeptValues] | None = None,
) -> Heatmaps:
    """:func:`maps_of` of expressions that are all computed from pairs, or none."""
    sited = [bool(expression.sites) for expression in expressions]
    if all(sited):
        return sited_heatmaps(expressions, evidence, size, kept)
    if any(sited):
        return _in_order(expressions, sited, lambda some: _maps_of(some, evidence, size, kept))
    parts = [
        heatmaps(expressions, e.leaves, size, e.depth, store)
        for e, store in zip(evidence.layers, kept or [None] * len(evidence.layers), strict=True)
    ]
    return fuse(parts, evidence.fusion)


def _in_order(
    expressions: Sequence[Expression],
    apart: Sequence[bool],
    make: Callable[[Sequence[Expression]], Heatmaps],
) -> Heatmaps:
    """Of expressions of two kinds, which are made apart, in the order given."""
    places = [[i for i, one in enumerate(apart) if one is kind] for kind in (True, False)]
    parts = [make([expressions[i] for i in some]) for some in places]
    order = torch.tensor([*places[0], *places[1]]).argsort().to(parts[0].maps.device)
    return Heatmaps(
        torch.cat([part.maps for part in parts])[order],
        torch.cat([part.degenerate for part in parts])[order],
        torch.cat([part.finite for part in parts])[order],
    )
