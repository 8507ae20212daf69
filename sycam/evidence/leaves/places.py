"""Recipro-CAM's heat: what the network says when it is left a single place of the layer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sycam.networks.layouts.reshaping import Reshape, find_reshape, to_map


def place_scores(
    grid: torch.Size, score_with: Callable[[Tensor], Tensor], batch: int = 64
) -> Tensor:
    """``R_ij``: the score with all places of the layer zero but one (Byun and Lee, Recipro-CAM,
    CVPR Workshops 2024, without the Gaussian that may spread the place).

    Args:
        grid: ``(h, w)`` or ``(d, h, w)`` of the layer.
        score_with: scores ``[B]`` of the image with the places ``[B]`` alone, one in each row,
            counted row by row.
        batch: rows a forward pass.

    Returns:
        Tensor[*grid].
    """
    parts = torch.arange(grid.numel()).split(batch)
    return torch.cat([score_with(part) for part in parts]).view(grid)


def keep_places(output: Tensor, places: Tensor, reshape: Reshape, layer: nn.Module) -> Tensor:
    """The layer's output for B images with all places of the map zero but ``places[b]`` in row b.

    What the map leaves out, as class tokens, stays as it is. A reshape selects and reorders
    entries, so the entries of the other places are those that their derivative reaches.
    """
    rows = torch.arange(len(places), device=output.device)
    places = places.to(output.device)

    def others(maps: Tensor) -> Tensor:
        grid = maps.shape[2:]
        mask = torch.ones(len(maps), grid.numel(), dtype=torch.bool, device=maps.device)
        mask[rows, places] = False
        return mask.view(len(maps), 1, *grid)

    if find_reshape(reshape) is None:
        return output.masked_fill(others(output), 0)
    with torch.enable_grad():
        probe = torch.zeros_like(output).requires_grad_()
        maps = to_map(probe, reshape, layer)
        (reached,) = torch.autograd.grad((maps * others(maps)).sum(), probe)
    return output.masked_fill(reached != 0, 0)
