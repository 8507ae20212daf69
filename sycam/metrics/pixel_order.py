"""Pixels in the order of their heat: sorted once for all metrics that only look at the order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sycam.metrics.context import Context


@dataclass(frozen=True)
class LabelledOrder:
    """The pixels of each heatmap from cold to hot, each with its label: whether the mask has it.

    Attributes:
        keys: ``[P,N,X]`` int32, ascending: the bits of a pixel's heat, then one bit of its label.
        inside: ``[P,N,X+1]`` int32: how many of the i coldest pixels the mask has.
    """

    keys: Tensor
    inside: Tensor

    @property
    def pixels(self) -> int:
        """X, the number of pixels of a heatmap."""
        return self.keys.shape[-1]

    def colder(self, bits: Tensor) -> Tensor:
        """``[P,N,T]`` how many pixels are colder than each heat.

        Args:
            bits: ``[T]`` or ``[P,N,T]`` int32, the heats' bits as float32.
        """
        wanted = (bits << 1).expand(*self.keys.shape[:2], -1).contiguous()
        return torch.searchsorted(self.keys, wanted)

    def hits(self, colder: Tensor) -> Tensor:
        """``[P,N,T]`` how many pixels of the mask are not among the ``colder`` coldest."""
        return self.inside[..., -1:] - self.inside.gather(-1, colder)


def labelled_order(maps: Tensor, context: Context) -> LabelledOrder:
    """Sort heatmaps ``[P,N,H,W]`` in [0, 1]; shared by the metrics of one batch of heatmaps."""

    def sort() -> LabelledOrder:
        labels = context.ground_truth.flatten(1).int()
        heats = maps.flatten(2).float()
        keys = torch.empty(heats.shape, dtype=torch.int32, device=maps.device)
        inside = keys.new_zeros((*keys.shape[:2], keys.shape[-1] + 1))
        for heat, key, count in zip(heats, keys, inside, strict=True):
            # Non-negative floats are ordered as their bits are; up to 1 they leave the highest two
            # bits free, one for the label. -0.0 loses its sign there.
            key.copy_(ascending(torch.add(labels, heat.view(torch.int32), alpha=2)))
            torch.cumsum(key & 1, -1, dtype=torch.int32, out=count[:, 1:])
        return LabelledOrder(keys, inside)

    return context.shared((__name__, "labelled order"), maps, sort)


def ascending(values: Tensor) -> Tensor:
    """The values of each row ``[..., X]`` in ascending order."""
    if values.device.type != "cpu" or values.dtype == torch.bfloat16:  # unknown to numpy
        return values.sort(-1).values
    # numpy sorts with SIMD instructions, torch does not: a tenth of the time.
    return torch.from_numpy(np.sort(values.numpy(), axis=-1))
