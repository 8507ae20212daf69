"""Which pixels have the full budget: those where the heat of a CAM stands out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from sycam.applications.adversarial_training.options import BudgetOptions
from sycam.errors import BlankHeatmapWarning
from sycam.methods import CAM


def marked_pixels(heat: Tensor, threshold: float) -> Tensor:
    """Where the z-score of the heat, over the pixels of its image, is above a threshold.

    A heatmap that is the same everywhere says nothing of its image: all of its pixels are marked.
    (Zhang et al., 2024; the treatment of flat heatmaps is ours.)

    Args:
        heat: ``[N,H,W]``.
        threshold: a z-score.

    Returns:
        bool ``[N,H,W]``.
    """
    flat = heat.flatten(1).double()
    spread, mean = torch.std_mean(flat, 1, correction=0, keepdim=True)
    z = (flat - mean) / torch.where(spread > 0, spread, 1.0)
    return ((z > threshold) | (spread == 0)).reshape(heat.shape)


def budget_map(marked: Tensor, budget: BudgetOptions) -> Tensor:
    """``[N,H,W]`` how far each pixel may be moved: ``eps`` where it is marked, else ``eps_low``."""
    high = torch.full(marked.shape, budget.full, device=marked.device)
    return torch.where(marked, high, budget.low)


@dataclass(frozen=True, eq=False)
class CamBudgets:
    """Budgets of images from a CAM of the class that the network, as it now is, predicts for each.

    Attributes:
        cam: of the network.
        budget: how far the pixels may be moved.
    """

    cam: CAM
    budget: BudgetOptions

    def marked(self, images: Tensor) -> Tensor:
        """bool ``[N,H,W]`` of images ``[N,C,H,W]`` in the input scale."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BlankHeatmapWarning)  # all of their pixels are marked
            heat = self.cam(images, batch=len(images))
        return marked_pixels(heat, float(self.budget.threshold))

    def map(self, marked: Tensor) -> Tensor:
        """``[N,H,W]`` the budgets of marked pixels and of others."""
        return budget_map(marked, self.budget)
