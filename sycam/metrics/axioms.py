"""Axioms of XGrad-CAM: what channel weights should add up to."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sycam.errors import OptionError
from sycam.metrics.base import WEIGHTS, Metric, register
from sycam.metrics.context import Context


class _Axiom(Metric):
    """What both axioms share: they look at the weights, not at heatmaps."""

    family = "axiom"
    source = (
        "Fu et al., Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs, "
        "BMVC 2020; the normalisation is ours"
    )
    higher_is_better = False
    range = (0.0, math.inf)
    invariance = WEIGHTS

    def check(self, context: Context) -> None:
        """Refuse several layers, which have no common channels."""
        if context.source is not None and len(context.source.layers) > 1:
            raise OptionError(
                f"metric {self.name!r} is defined at one layer, not for several that are fused; "
                "name one"
            )


def _relative(error: Tensor, size: Tensor) -> Tensor:
    """``error / size``, ``[P,N]`` by ``[N]``; where the size is 0, 1 unless the error is 0, too."""
    otherwise = torch.where(error == 0, 1.0, error)  # NaN stays NaN
    return error / torch.where(size > 0, size, otherwise)


@register
class SensitivityAxiom(_Axiom):
    """``sum_k |d_k - w_k sum(A_k)| / sum_k |d_k|``."""

    name = "sensitivity-axiom"
    summary = "how far each channel's total is from what the score loses without the channel"
    definition = (
        "d_k is the drop of the explained score y when channel k is set to zero, w_k sum(A_k) the "
        "sum over places of the channel's part of the map before the ReLU: the sum of the absolute "
        "differences over channels, by the sum of |d_k|. Where all d_k are 0 it is 0 for a map "
        "whose totals are 0, too, and 1 for any other. It is defined for weightings of the "
        "activations only."
    )
    formula = (
        r"\frac{\sum_k |d_k - \sum_{ij} w_k A_{k,ij}|}{\sum_k |d_k|}, \quad d_k = y - y_{A_k := 0}"
    )
    traps = (
        "It sees each channel's total only, not where the heat lies. D itself as a weight does "
        "not fulfil it, D_k y / sum(A_k) does by definition."
    )
    leaves = frozenset({"ablation_drops", "score"})

    def score(self, maps: Tensor, context: Context) -> Tensor:
        again = context.again(self.name)
        # The leaf is relative to the score: (y - y_k) / y.
        drops = again.leaf("ablation_drops") * again.leaf("score")[:, None]
        error = (again.channel_totals() - drops).abs().sum(-1)
        return _relative(error, drops.abs().sum(-1))


@register
class ConservationAxiom(_Axiom):
    """``|y - sum_k w_k sum(A_k)| / |y|``."""

    name = "conservation-axiom"
    summary = "how far the map's total is from the explained score"
    definition = (
        "The absolute difference of the explained score y and the sum over channels and places of "
        "w_k A_k, the map before the ReLU, by |y|. Where y is 0 it is 0 for a map whose sum is 0, "
        "too, and 1 for any other. It is defined for weightings of the activations only."
    )
    formula = r"\frac{|y - \sum_k \sum_{ij} w_k A_{k,ij}|}{|y|}"
    traps = (
        "A single number per image: any map, scaled to the score's total, scores 0. The score "
        "counts the biases above the layer, which no channel carries."
    )
    leaves = frozenset({"score"})

    def score(self, maps: Tensor, context: Context) -> Tensor:
        again = context.again(self.name)
        y = again.leaf("score")
        return _relative((again.channel_totals().sum(-1) - y).abs(), y.abs())
