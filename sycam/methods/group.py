"""Group-CAM: groups of channels as masks, weighted by what the image gains when it shows there."""

from __future__ import annotations

import torch
from torch import Tensor

from sycam.evidence import Evidence
from sycam.heatmaps import Heatmaps, finish
from sycam.methods.method import from_maps
from sycam.metrics import Context
from sycam.metrics.removal.baselines import blur_baseline

GROUPS = 32  # of neighbouring channels
KEPT = 0.3  # share of a group's places, the largest, that are not set to 0


def group_cam(evidence: Evidence, context: Context) -> Heatmaps:
    """Group-CAM (Zhang et al., arXiv:2103.13859, 2021), as its released code.

    Each group's sum of channels, weighted by Grad-CAM's weights, is a mask once its lower 70 % are
    set to 0. It is worth what the probability of the class gains over that of the blurred image
    when the image is sharp under the mask. The blur is 51x51 pixels with sigma 50 at 224 pixels.
    """
    weights = evidence.gradients.mean((-2, -1), keepdim=True)
    blurred = blur_baseline(context.images, 51, 50)
    clean = context.classifier.probability(blurred, context.targets)
    maps = [
        _heatmap(image, sums, context.subset(slice(i, i + 1)), evidence.depth, chance)
        for i, (image, sums, chance) in enumerate(
            zip(blurred, weights * evidence.activations, clean, strict=True)
        )
    ]
    return from_maps(torch.stack(maps))


def _heatmap(blurred: Tensor, sums: Tensor, context: Context, depth: int, chance: Tensor) -> Tensor:
    """``[*size]`` of one image before scaling; ``chance`` is the probability of the blurred one."""
    groups = torch.stack([group.sum(0) for group in sums.chunk(GROUPS)]).clamp(min=0)
    limits = groups.flatten(1).quantile(1 - KEPT, dim=1).view(-1, 1, 1)
    masks = finish(torch.where(groups > limits, groups, 0.0)[None], context.size, depth)[0]
    shown = torch.lerp(blurred, context.images, masks[:, None])
    gains = context.classifier.probability(shown, context.targets.expand(len(shown))) - chance
    return torch.tensordot(gains.to(masks), masks, 1).clamp(min=0)
