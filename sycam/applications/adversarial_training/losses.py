"""What adversarial training makes small: plain, TRADES and MART."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

Logits = Tensor  # [N,classes]


def plain(_natural: Logits | None, attacked: Logits, labels: Tensor, _beta: float) -> Tensor:
    """Mean cross-entropy of attacked images (Madry et al., 2018)."""
    return F.cross_entropy(attacked, labels)


def trades(natural: Logits, attacked: Logits, labels: Tensor, beta: float) -> Tensor:
    """Mean of ``CE(x, y) + beta KL(p(x) || p(x'))`` (Zhang et al., 2019).

    Args:
        natural, attacked: logits of images x and of attacked ones x'.
        labels: ``[N]``.
        beta: weight of the divergence.
    """
    return F.cross_entropy(natural, labels) + beta * _divergences(natural, attacked).mean()


def mart(natural: Logits, attacked: Logits, labels: Tensor, beta: float) -> Tensor:
    """Mean of ``BCE(x', y) + beta KL(p(x) || p(x')) (1 - p_y(x))`` (Wang et al., 2020).

    ``BCE(x', y) = -log p_y(x') - log(1 - max_{k != y} p_k(x'))``, computed without the constants
    that keep the logarithm finite in public code. Arguments as for :func:`trades`.
    """
    chances = attacked.log_softmax(1)
    own = F.one_hot(labels, attacked.shape[1]).bool()
    rival = chances.masked_fill(own, -torch.inf).argmax(1, keepdim=True)
    rest = chances.scatter(1, rival, -torch.inf).logsumexp(1)  # log(1 - p of the rival)
    boosted = F.nll_loss(chances, labels, reduction="none") - rest
    doubt = 1 - natural.softmax(1).gather(1, labels[:, None])[:, 0]
    return (boosted + beta * _divergences(natural, attacked) * doubt).mean()


def _divergences(natural: Logits, attacked: Logits) -> Tensor:
    """``[N]`` KL(p(x) || p(x'))."""
    each = F.kl_div(
        attacked.log_softmax(1), natural.log_softmax(1), reduction="none", log_target=True
    )
    return each.sum(1)


@dataclass(frozen=True)
class Objective:
    """A loss, and how its attack is made.

    Attributes:
        title: what training with a CAM's budgets is called.
        loss: of logits on images and attacked images, labels and beta.
        natural: whether it needs the logits on the images.
        diverging: whether the attack makes the divergence large, not the cross-entropy.
    """

    title: str
    loss: Callable[..., Tensor]
    natural: bool = True
    diverging: bool = False


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "at": Objective("PART", plain, natural=False),
        "trades": Objective("PART-T", trades, diverging=True),
        "mart": Objective("PART-M", mart),
    }
)
