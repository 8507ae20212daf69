"""The part of an exported module that is the formula; as it stands it is Grad-CAM's.

The exporter writes in its place the formula's own :data:`LEAVES` and its function.
"""

from __future__ import annotations

from torch import Tensor

LEAVES = ("A", "G")  # what the formula reads


def weighted_sum(A: Tensor, G: Tensor, depth: int = 1) -> Tensor:
    """``sum_k w_k A_k`` ``[N,h,w]`` from activations A and gradients G ``[N,K,h,w]``."""
    return weighted_maps(A, G, depth).sum(1)


def weighted_maps(A: Tensor, G: Tensor, depth: int = 1) -> Tensor:
    """``w_k A_k`` ``[N,K,h,w]``, before the sum over channels."""
    return G.mean((-2, -1), keepdim=True) * A
