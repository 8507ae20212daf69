"""PolyCAM: Score-CAM's weights with complement masks, joined from the coarsest layer to the finest.

Englebert, Cornu and De Vleeschouwer, Poly-CAM: High resolution class activation map for
convolutional neural networks, ICPR 2022; as its released code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sycam.evidence import Evidence
from sycam.heatmaps import Heatmaps, upsample
from sycam.methods.method import from_maps
from sycam.metrics import Context

BATCH = 64  # masked images a forward pass
_CUT = 1e-3  # share of a map's places, at either end, that are not told apart
_LEAST = 1e-12  # of what is divided by


def poly_cam(
    layers: Sequence[Evidence], context: Context, inside: bool = True, outside: bool = True
) -> Heatmaps:
    """PolyCAM of several layers.

    A channel's weight is the probability of the class where the image shows only what the channel
    marks, plus what of it is lost where that is hidden; one that is not positive is 0. The maps of
    the layers are joined coarse to fine: each, divided by its own local average at the
    resolution of those before, refines what they leave.

    Args:
        layers: of any order; with one of them it is that layer's map.
        context: of the same N images.
        inside: whether the first part counts (PCAM+ alone, PCAM± with the other).
        outside: whether the second does (PCAM- alone).
    """
    joined = None
    for layer in sorted(layers, key=lambda one: math.prod(one.activations.shape[2:])):
        grid = layer.activations.unflatten(2, (layer.depth, -1))  # [N,K,d,h,w]
        weights = _weights(grid, context, inside, outside)
        own = torch.einsum("nk,nkdhw->ndhw", weights.to(grid), grid).clamp(min=0)
        if joined is not None:
            local = _resized(_resized(own, joined.shape[1:]), own.shape[1:])
            own = own / local.clamp(min=_LEAST) * _resized(joined, own.shape[1:])
        joined = own
    assert joined is not None  # there is a layer
    maps = _resized(_cut(joined), _size(context))
    return from_maps(maps.view(len(context), *context.size))


def _size(context: Context) -> tuple[int, ...]:
    """``(D, H, W)``; of images D is 1."""
    return context.size if len(context.size) == 3 else (1, *context.size)


def _weights(grid: Tensor, context: Context, inside: bool, outside: bool) -> Tensor:
    """``[N,K]`` of a layer's activations ``[N,K,d,h,w]``; one or two passes per channel."""
    size, found = _size(context), []
    for i, channels in enumerate(grid):
        one, weights = context.subset(slice(i, i + 1)), []
        for part in channels.split(BATCH):
            masks = _resized(_cut(part), size).view(-1, 1, *context.size)
            targets, weight = one.targets.expand(len(part)), masks.new_zeros(len(part))
            if inside:
                weight = weight + context.classifier.probability(one.images * masks, targets)
            if outside:
                hidden = context.classifier.probability(one.images * (1 - masks), targets)
                weight = weight + one.clean - hidden
            weights.append(weight.clamp(min=0))
        found.append(torch.cat(weights))
    return torch.stack(found)


def _cut(maps: Tensor) -> Tensor:
    """Maps ``[B,d,h,w]`` less their least values, as shares of their largest, in [0, 1]."""
    flat = maps.flatten(1)
    ends = flat.new_tensor([_CUT, 1 - _CUT])
    # In parts: torch refuses quantiles of many values.
    low, high = torch.cat([part.quantile(ends, dim=1) for part in flat.split(BATCH)], 1)
    return ((flat - low[:, None]) / high[:, None].clamp(min=_LEAST)).clamp(0, 1).view_as(maps)


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps ``[B,d,h,w]`` on another grid, linear along each side, corners not aligned."""
    return upsample(maps.flatten(1, 2)[None], tuple(size), maps.shape[1])[0]
