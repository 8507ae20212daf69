"""Saliency maps of target layers, and what combines them, as plain torch functions.

A saliency map is a heat after the ReLU, scaled to a maximum of 1 in its image: ``[..., 1, h, w]``
on its layer's grid, like the values of :mod:`sycam.language.numerics`. Two maps of different
layers are combined on the finer of both grids.
"""

from __future__ import annotations

import torch
from torch import Tensor


def saliency(t: Tensor) -> Tensor:
    """The positive part of a heat, scaled to a maximum of 1; zeros where nothing is positive."""
    positive = t.clamp(min=0)
    peak = positive.amax((-2, -1), keepdim=True)
    scaled = positive / torch.where(peak > 0, peak, torch.ones_like(peak))
    # Beside a place that overflowed nothing can be told; like any overflow it becomes inf.
    return scaled.nan_to_num(nan=torch.inf, posinf=torch.inf)


def saliency_weighted(t: Tensor, activations: Tensor) -> Tensor:
    """The saliency map of the sum over channels of weights times activations."""
    # A sum that overflows both ways is NaN in floating point; like any overflow it becomes inf.
    total = (t * activations).sum(-3, keepdim=True)
    return saliency(total.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf))


def on_grid(t: Tensor, height: int, width: int) -> Tensor:
    """A map on another grid, bilinear, corners not aligned."""
    if t.shape[-2:] in ((height, width), (1, 1)):
        return t.expand(*t.shape[:-2], height, width)
    flat = t.reshape(-1, 1, *t.shape[-2:])
    resized = torch.nn.functional.interpolate(
        flat, (height, width), mode="bilinear", align_corners=False
    )
    return resized.reshape(*t.shape[:-2], height, width)


def add_saliency(a: Tensor, b: Tensor) -> Tensor:
    """a + b, on the finer of both grids."""
    height, width = max(a.shape[-2], b.shape[-2]), max(a.shape[-1], b.shape[-1])
    return on_grid(a, height, width) + on_grid(b, height, width)


def multiply_saliency(a: Tensor, b: Tensor) -> Tensor:
    """a * b, on the finer of both grids."""
    height, width = max(a.shape[-2], b.shape[-2]), max(a.shape[-1], b.shape[-1])
    return on_grid(a, height, width) * on_grid(b, height, width)


def maximum_saliency(a: Tensor, b: Tensor) -> Tensor:
    """The larger of both, place by place, on the finer of both grids."""
    height, width = max(a.shape[-2], b.shape[-2]), max(a.shape[-1], b.shape[-1])
    return torch.maximum(on_grid(a, height, width), on_grid(b, height, width))


def mirror(t: Tensor) -> Tensor:
    """The mean of each image's map and its partner's, flipped: ``[..., N, 1, h, w]`` of images in
    pairs, each followed by itself flipped left-right."""
    partners = t.unflatten(-4, (-1, 2)).flip(-4).flatten(-5, -4)
    return t / 2 + partners.flip(-1) / 2


def top(t: Tensor, percent: Tensor) -> Tensor:
    """1 in the highest places, that many percent of all, at least one; 0 elsewhere and where t is
    not positive. Places that tie rank in their order."""
    flat = t.flatten(-2)
    ranks = flat.sort(dim=-1, descending=True, stable=True).indices.argsort(-1)
    count = (percent.flatten(-2) / 100 * flat.shape[-1]).ceil().clamp(min=1)
    kept = (ranks < count) & (flat > 0)
    return kept.to(t.dtype).unflatten(-1, t.shape[-2:])
