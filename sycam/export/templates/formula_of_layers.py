"""The part of an exported module that is a formula of several layers; as it stands, an example.

The exporter writes in its place the formula's own :data:`LAYERS`, :data:`LEAVES` and its function.
"""

from __future__ import annotations

from torch import Tensor

from sycam.language.numerics import relu
from sycam.language.saliency import multiply_saliency, saliency_weighted

LAYERS = ("layer2", "layer4")  # that the formula reads
LEAVES = (("A", "G"), ("A", "G"))  # what it reads at each


def saliency_map(A0: Tensor, G0: Tensor, A1: Tensor, G1: Tensor, depth: int = 1) -> Tensor:
    """``cam[layer2](relu(G)) * cam[layer4](G)`` ``[N,h,w]`` from leaves ``[N,K,h,w]`` of both."""
    del depth  # of formulas that blur
    fine, deep = saliency_weighted(relu(G0), A0), saliency_weighted(G1, A1)
    return multiply_saliency(fine, deep)[..., 0, :, :]
