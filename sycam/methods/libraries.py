"""What libraries compute under a CAM's name where their formula differs from its paper's."""

from __future__ import annotations

import torch

from sycam.evidence import Evidence
from sycam.heatmaps import Heatmaps
from sycam.methods.method import from_weights
from sycam.metrics import Context


def grad_cam_plus_plus(evidence: Evidence, context: Context) -> Heatmaps:
    """Grad-CAM++ of the grad-cam package 1.5: an absolute 1e-6 in the denominator.

    ``sum(relu(G) * G^2 / (2 G^2 + sum(A) G^3 + 1e-6))``, 0 where G is. Where gradients are small
    the 1e-6 is larger than the rest, so that the map depends on the scale of the score.
    """
    a, g = evidence.activations, evidence.gradients
    squared = g * g
    alpha = squared / (2 * squared + a.sum((-2, -1), keepdim=True) * squared * g + 1e-6)
    alpha = torch.where(g != 0, alpha, torch.zeros_like(alpha))
    return from_weights((alpha * g.clamp(min=0)).sum((-2, -1)), evidence, context)


def score_cam(evidence: Evidence, context: Context) -> Heatmaps:
    """Score-CAM of the grad-cam package 1.5: its masks are upsampled with aligned corners."""
    scores = evidence.leaves["masked_scores_aligned"][..., 0, 0]
    return from_weights(scores.softmax(1), evidence, context)


def ablation_cam(evidence: Evidence, context: Context) -> Heatmaps:
    """Ablation-CAM of the grad-cam package 1.5: a channel is not always set to 0.

    Where the batch's smallest activation is not 0, it is set to that minimum less 1e7, which is
    the next row's minimum: -1e7, -2e7, ... within a batch of 32 channels.
    """
    return from_weights(evidence.leaves["ablation_drops_lib"][..., 0, 0], evidence, context)
