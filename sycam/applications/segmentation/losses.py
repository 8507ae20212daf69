"""What the phases of the training make small: contrast of images, weighted cross-entropy of the
exits, contrast of fore- and background."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST = 1e-6  # of what a logarithm is taken


def nt_xent(vectors: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The loss of SimCLR, and how many views are known again (Chen et al., 2020, equation 1).

    The mean over all views i, with j the other view of i's image, of
    ``- log(exp(s_ij / t) / sum_{k != i} exp(s_ik / t))``, ``s`` the cosine.

    Args:
        vectors: ``[2N,D]`` of views; those of the second half are of the same images, in the same
            order, as those of the first.
        temperature: t, above 0.

    Returns:
        The loss, and the number of views to which no view is more alike than their other one.
    """
    count = len(vectors)
    vectors = F.normalize(vectors, dim=1)
    own = torch.eye(count, dtype=torch.bool, device=vectors.device)
    logits = (vectors @ vectors.T / temperature).masked_fill(own, -torch.inf)
    other = torch.arange(count, device=vectors.device).roll(count // 2)
    return F.cross_entropy(logits, other), (logits.argmax(1) == other).sum()


def exit_weights(exits: int) -> Tensor:
    """``[E]`` from the shallowest exit to the deepest: 1/E, 2/E, ..., 1; of four 0.25, 0.5, 0.75
    and 1, as AME-CAM has them."""
    return torch.arange(1, exits + 1) / exits


def exits_loss(logits: Tensor, present: Tensor, weights: Tensor, balance: float = 1.0) -> Tensor:
    """Sum over exits of their weight times the mean binary cross-entropy.

    Args:
        logits: ``[N,E]``.
        present: ``[N]`` 1 where the image shows the object, else 0.
        weights: ``[E]``.
        balance: what an image with the object counts, one without it counting 1.
    """
    each = F.binary_cross_entropy_with_logits(
        logits,
        present.to(logits)[:, None].expand_as(logits),
        reduction="none",
        pos_weight=logits.new_tensor(balance),
    )
    return (each.mean(0) * weights.to(logits)).sum()


def ground_vectors(heat: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """``[N,K]`` twice: the mean features of the foreground, and of the background.

    Args:
        heat: ``[N,H,W]`` in [0, 1]; brought to the features' grid by area.
        features: ``[N,K,h,w]``.
    """
    share = F.adaptive_avg_pool2d(heat[:, None], (features.shape[-2], features.shape[-1]))
    front, back = ((part * features).flatten(2).mean(2) for part in (share, 1 - share))
    return front, back


def contrastive_loss(front: Tensor, back: Tensor, alpha: float) -> Tensor:
    """Foregrounds alike, backgrounds alike, and both apart (Xie et al., C2AM, CVPR 2022).

    ``- mean_ij log(1 - s(f_i, b_j)) - mean_{i != j} w_ij log s(f_i, f_j)``, and the same of
    backgrounds, ``s`` the cosine, ``w_ij = exp(-alpha r)``, ``r`` from 0 the rank of j among the
    others by likeness to i. A batch of one image has the first term alone.

    Args:
        front, back: ``[N,K]``.
        alpha: how fast less alike pairs lose weight.
    """
    front, back = F.normalize(front, dim=1), F.normalize(back, dim=1)
    apart = -torch.log((1 - front @ back.T).clamp(min=_LEAST)).mean()
    return apart + _alike(front, alpha) + _alike(back, alpha)


def _alike(vectors: Tensor, alpha: float) -> Tensor:
    count = len(vectors)
    if count < 2:
        return vectors.sum() * 0
    others = ~torch.eye(count, dtype=torch.bool, device=vectors.device)
    likeness = (vectors @ vectors.T)[others].view(count, count - 1)
    order = likeness.detach().argsort(dim=1, descending=True, stable=True)
    weights = torch.exp(-alpha * order.argsort(dim=1))
    return -(weights * torch.log(likeness.clamp(min=_LEAST))).mean()
