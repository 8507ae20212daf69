"""Attacks by steps of the gradient's sign within a budget per pixel, and where they start."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sycam.applications.adversarial_training.options import MMA
from sycam.applications.pixels import Box

TARGETS = 3  # false classes that :func:`minimum_margin` aims at
Loss = Callable[[Tensor], Tensor]
"""Images ``[N,C,H,W]`` to one number, the sum over images of what the attack makes large."""


def starts(
    images: Tensor,
    budget: Tensor,
    box: Box,
    generators: Sequence[torch.Generator] | torch.Generator,
) -> Tensor:
    """Random places in the box, uniform within the budget and then put inside.

    Args:
        images: ``[N,C,H,W]``.
        budget: of the images' shape, in the input scale.
        box: of the budgets.
        generators: one for all images, or one per image, so that what is drawn does not depend
            on which images stand beside it.
    """
    if isinstance(generators, torch.Generator):
        drawn = torch.rand(images.shape, generator=generators)
    else:
        drawn = torch.stack([torch.rand(images.shape[1:], generator=g) for g in generators])
    return box.clamped(images + (2 * drawn.to(images) - 1) * budget)


def pgd(loss: Loss, start: Tensor, box: Box, steps: int, step: Tensor) -> Tensor:
    """Images in the box at which the loss is large (Madry et al., 2018, with a box of
    its own per pixel).

    Args:
        loss: what is made large.
        start: ``[N,C,H,W]`` in the input scale.
        box: where the pixels may go.
        steps: how many.
        step: how far each pixel goes in one, to be broadcast.

    Returns:
        ``[N,C,H,W]``, without a graph.
    """
    current = start.detach()
    for _ in range(steps):
        current.requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(loss(current), current)
        current = box.clamped(current.detach() + step * gradient.sign())
    return current


def attacked_by(
    attack: str,
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    start: Tensor,
    box: Box,
    step: Tensor,
    steps: int,
) -> Tensor:
    """Images in the box that an attack by its name found.

    Args:
        attack: ``"mma"`` for :func:`minimum_margin`, else :func:`pgd` on the cross-entropy.
        network, images, labels, start, box, step, steps: see :func:`minimum_margin`.

    Returns:
        ``[N,C,H,W]``, without a graph.
    """
    if attack == MMA:
        return minimum_margin(network, images, labels, start, box, step, steps)
    return pgd(lambda x: wrongness(network(x), labels), start, box, steps, step)


def minimum_margin(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    start: Tensor,
    box: Box,
    step: Tensor,
    steps: int,
) -> Tensor:
    """Images in the box at which the label leads by least, or is behind by most.

    The minimum-margin attack (Gao et al., ICML 2022), as the authors of PART train and test by it:
    from one start PGD towards each of the false classes that are likeliest on the clean image, by
    the target's logit less the label's; per image the outcome with the least margin to any class.

    Args:
        network: images to logits ``[N,classes]``.
        images: ``[N,C,H,W]``, clean.
        labels: ``[N]``.
        start, box, step, steps: see :func:`pgd`.

    Returns:
        ``[N,C,H,W]``, without a graph.
    """
    with torch.no_grad():
        others = network(images).scatter(1, labels[:, None], -torch.inf)
    found, least = start.detach(), torch.full(labels.shape, torch.inf, device=images.device)
    for target in others.topk(min(TARGETS, others.shape[1] - 1)).indices.T:

        def lead(current: Tensor, target: Tensor = target) -> Tensor:
            logits = network(current)
            return (logits.gather(1, target[:, None]) - logits.gather(1, labels[:, None])).sum()

        moved = pgd(lead, start, box, steps, step)
        with torch.no_grad():
            margins = margins_of(network(moved), labels)
        # What the network answers with no number counts as lost, as it does elsewhere.
        margins = torch.where(margins.isnan(), -torch.inf, margins)
        nearer = margins < least
        least = torch.where(nearer, margins, least)
        found = torch.where(nearer[:, None, None, None], moved, found)
    return found


def margins_of(logits: Tensor, labels: Tensor) -> Tensor:
    """``[N]`` by how much the label's logit leads the highest other one."""
    labels = labels[:, None]
    return logits.gather(1, labels)[:, 0] - logits.scatter(1, labels, -torch.inf).amax(1)


def wrongness(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum over images of the cross-entropy: large where the network misses the label."""
    return F.cross_entropy(logits, labels, reduction="sum")


def divergence(logits: Tensor, natural: Tensor) -> Tensor:
    """Sum over images of KL(p(x) || p(x')), what TRADES attacks by.

    Args:
        logits: ``[N,classes]`` of attacked images x'.
        natural: of the images x.
    """
    return F.kl_div(logits.log_softmax(1), natural.log_softmax(1), reduction="sum", log_target=True)
