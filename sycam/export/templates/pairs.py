"""The part of an exported module that also measures each image flipped left-right.

The exporter copies this file from the marker on behind the text that measures, whose ``measure`` it
names ``measure_each``, where the formula holds ``mirror``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sycam.export.templates.measuring import _evaluated, _rows
from sycam.export.templates.measuring import measure as measure_each

# --- exported from here on ---


def measure(
    network: nn.Module,
    layer: nn.Module | Sequence[nn.Module],
    images: Tensor,
    targets: Sequence,
    columns: bool = False,
    **options: Callable,
) -> tuple[list[Tensor], int]:
    """The formula's leaves ``[2N, ...]`` of each image and then of itself flipped left-right, of
    which the same class is explained.

    Args:
        network, layer, images, targets, columns, options: as for ``measure_each``.
    """
    if any(target is None for target in targets):
        device = next((p.device for p in network.parameters()), images.device)
        with _evaluated(network), torch.no_grad():
            rows = _rows(network(images.to(device)), len(images))
        targets = [
            int(row.argmax()) if target is None and _of_classes(row) else target
            for row, target in zip(rows, targets, strict=True)
        ]
    pairs = torch.stack([images, images.flip(-1)], 1).flatten(0, 1)
    twice = [target for target in targets for _ in range(2)]
    return measure_each(network, layer, pairs, twice, columns, **options)


def _of_classes(row: object) -> bool:
    """Whether None explains the highest class; of a network with one output it explains that."""
    return isinstance(row, Tensor) and row.ndim == 1 and len(row) > 1
