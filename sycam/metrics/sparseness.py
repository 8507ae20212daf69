"""How concentrated a heatmap is, told without masks and without the network."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sycam.metrics.base import Metric, register
from sycam.metrics.context import Context
from sycam.metrics.pixel_order import ascending


@register
class Sparseness(Metric):
    """Gini index of the heat over the pixels."""

    name = "sparseness"
    family = "sanity"
    summary = "Gini index of the heat: 0 spread evenly, near 1 on a few pixels"
    source = (
        "Chalasani et al., Concise Explanations of Neural Networks using Adversarial Training, "
        "ICML 2020"
    )
    definition = (
        "The Gini index of the n pixels' heats: 0 where all are equal (a map of zeros, too), "
        "1 - 1/n where one pixel holds all. Quantus adds 1e-7 to each pixel first, which lowers "
        "the index of very sparse maps."
    )
    formula = r"\frac{\sum_{i=1}^n (2i - n - 1) L_{(i)}}{n \sum_i L_i}"
    traps = (
        "It knows nothing of the object or the network: the sparsest map is one pixel anywhere. A "
        "guard against maps that cover everything, not an objective."
    )

    def score(self, maps: Tensor, context: Context) -> Tensor:
        n = maps[0, 0].numel()
        weights = torch.arange(1 - n, n, 2, device=maps.device).to(maps.dtype) / n
        scores = []
        for heat in maps.flatten(2):  # a candidate at a time fits into the caches
            total = heat.sum(-1)
            spread = (ascending(heat) * weights).sum(-1)
            scores.append(spread / total.where(total > 0, 1))
        # Of equal heats rounding leaves a trace of either sign.
        return torch.stack(scores).clamp(min=0)

    def bound(self, context: Context) -> Tensor:
        best = 1 - 1 / math.prod(context.size)
        return torch.full((len(context),), best, device=context.images.device)


@register
class Entropy(Metric):
    """Entropy of the heat as a distribution over the pixels."""

    name = "entropy"
    family = "sanity"
    summary = "entropy of the heat over the pixels: 0 on one pixel, 1 spread evenly"
    source = "Bhatt et al., Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020"
    definition = (
        "The entropy of the heat, divided by its sum, over the n pixels, as a share of the largest "
        "that is possible, log n; so images of all sizes compare. The paper, which calls it "
        "complexity, and Quantus' Complexity give it in nats: log n times this. A map of zeros is "
        "taken as spread evenly: 1."
    )
    formula = r"-\frac{1}{\log n} \sum_i p_i \log p_i, \quad p_i = L_i / \sum_j L_j"
    traps = (
        "It knows nothing of the object or the network: the best map is one pixel anywhere. A "
        "guard against maps that cover everything, not an objective."
    )
    higher_is_better = False

    def score(self, maps: Tensor, context: Context) -> Tensor:
        most = math.log(max(2, maps[0, 0].numel()))
        scores = []
        for heat in maps.flatten(2):  # a candidate at a time fits into the caches
            total = heat.sum(-1)
            # -sum p log p without the division of each pixel.
            nats = total.log() + torch.special.entr(heat).sum(-1) / total
            scores.append(nats.where(total > 0, most) / most)
        return torch.stack(scores).clamp(0, 1)
