"""Correlation of heatmaps, defined for flat ones too."""

from __future__ import annotations

import torch
from torch import Tensor

from sycam.metrics.pixel_order import ascending


def pearson(first: Tensor, second: Tensor) -> Tensor:
    """Pearson correlation over the last dimension, ``[..., X]`` to ``[...]`` in [-1, 1].

    It is 0 where one of the two is constant: that says nothing of the other.
    """
    first, second = (t.double() - t.double().mean(-1, keepdim=True) for t in (first, second))
    scale = first.square().sum(-1).sqrt() * second.square().sum(-1).sqrt()
    correlation = (first * second).sum(-1) / torch.where(scale > 0, scale, 1.0)
    return correlation.clamp(-1, 1).float()


def average_ranks(values: Tensor) -> Tensor:
    """Rank of each entry in its row ``[..., X]``, the smallest first; equal ones share the mean of
    their ranks, as Spearman's correlation wants it."""
    values = values.contiguous()
    order = ascending(values)
    below = torch.searchsorted(order, values)
    return (below + torch.searchsorted(order, values, right=True)).float() / 2
