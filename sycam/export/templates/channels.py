"""The part of an exported module that measures leaves by further passes, an image at a time.

The exporter copies this file from the marker on in place of the ``channel_leaves`` of
:mod:`sycam.export.templates.measuring`, and fills what it returns with the calls of
:mod:`sycam.evidence.leaves.table` of the leaves that the formula reads.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sycam.export.templates.measuring import _rows, _score
from sycam.networks.passes import hooked

# --- exported from here on ---


def channel_leaves(
    network: nn.Module,
    layer: nn.Module,
    image: Tensor,
    activations: Tensor,
    outputs: Tensor,
    clean: Tensor,
    target: int | Callable,
) -> dict[str, Tensor]:
    """Leaves of one image, a number per channel: ``[K]`` each.

    Args:
        network: in evaluation mode.
        layer: the target layer.
        image: ``[C,H,W]`` or ``[C,D,H,W]``.
        activations: ``[K,h,w]`` or ``[K,d,h,w]`` of the layer.
        outputs: ``[classes]`` of the image.
        clean: the target's score.
        target: class, or callable from a row of outputs to a scalar.
    """

    def score(images: Tensor) -> Tensor:
        """The target's scores ``[B]`` of altered images."""
        return torch.stack([_score(row, target) for row in _rows(network(images), len(images))])

    def score_without(channels: Tensor) -> Tensor:
        """The target's scores ``[B]`` of the image, each without one of the channels ``[B]``."""
        count = len(channels)

        def switch_off(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
            rows = output[:1].repeat(count, *(1,) * (output.ndim - 1))
            rows[torch.arange(count, device=rows.device), channels] = 0
            return rows

        with hooked((layer.register_forward_hook, switch_off)):
            try:
                found = network(image[None])  # up to the layer all rows are alike: one is enough
            except torch.OutOfMemoryError:
                raise
            except Exception:  # the network joins the layer's output with something a row per image
                found = network(image[None].expand(count, *image.shape))
        return torch.stack([_score(row, target) for row in _rows(found, count)])

    return {}
