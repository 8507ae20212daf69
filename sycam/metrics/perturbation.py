"""Probabilities on images whose most or least relevant pixels were removed, for many candidates.

All perturbation metrics remove pixels whose rank lies in an interval, fill them somehow and run
the network. Equal masks of one image are filled and forwarded once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sycam.metrics.base import Context

Fill = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(images [B,C,H,W], removed [B,H,W] bool, index [B]) -> perturbed images [B,C,H,W]``;
``index`` says which image of the context each is."""

_ROUND = 512  # masks filled together: enough to share work, few enough for memory


def removal_probabilities(
    ranks: Tensor, intervals: Sequence[tuple[int, int]], fill: Fill, context: Context
) -> Tensor:
    """Probability of the target after the removal of the pixels with rank in each interval.

    Args:
        ranks: ``[P,N,H*W]`` from :func:`sycam.metrics.ranking.relevance_ranks`.
        intervals: M half-open intervals ``(first, end)`` of ranks to remove.
        fill: replaces the removed pixels.
        context: of the same N images.

    Returns:
        Tensor[P,N,M] float32.
    """
    P, N = ranks.shape[:2]
    keys = _mask_keys(ranks, intervals, context)
    _, inverse = torch.unique(keys.flatten(), return_inverse=True)
    jobs = int(inverse.max()) + 1
    # The first (candidate, image, interval) that shows each distinct mask stands for all.
    where = torch.arange(len(inverse), device=ranks.device)
    first = torch.full((jobs,), len(inverse), dtype=torch.int64, device=ranks.device)
    first.scatter_reduce_(0, inverse, where, "amin")
    first = first.sort().values
    bounds = torch.tensor(intervals, dtype=torch.int32, device=ranks.device)
    found = torch.empty(jobs, device=ranks.device)
    for start in range(0, jobs, _ROUND):
        job = first[start : start + _ROUND]
        interval, image = job % len(intervals), job // len(intervals) % N
        rank = ranks[job // len(intervals) // N, image]
        low, high = bounds[interval].unbind(1)
        removed = ((rank >= low[:, None]) & (rank < high[:, None])).view(-1, *context.size)
        perturbed = fill(context.images[image], removed, image)
        found[start : start + _ROUND] = context.classifier.probability(
            perturbed, context.targets[image]
        )
    slot = torch.empty(jobs, dtype=torch.int64, device=ranks.device)
    slot[inverse[first]] = torch.arange(jobs, device=ranks.device)
    return found[slot[inverse]].view(P, N, len(intervals))


def _mask_keys(ranks: Tensor, intervals: Sequence[tuple[int, int]], context: Context) -> Tensor:
    """A 64-bit key of each mask, ``[P,N,M]``: equal masks of one image have equal keys.

    Each pixel of each image gets a random integer; a mask's key is the sum over its pixels, read
    off cumulative sums in the order of ranks. Two of a billion different masks collide with
    probability under 0.03.
    """
    N, pixels = ranks.shape[1:]
    generator = torch.Generator().manual_seed(0x5CA3)
    tokens = torch.randint(-(2**63), 2**63 - 1, (N, pixels + 1), generator=generator)
    tokens = tokens.to(ranks.device)
    in_order = torch.empty(ranks.shape, dtype=torch.int64, device=ranks.device)
    in_order.scatter_(-1, ranks.long(), tokens[:, :pixels].expand(ranks.shape))
    sums = torch.nn.functional.pad(in_order.cumsum(-1), (1, 0))
    low, high = torch.tensor(intervals, device=ranks.device).unbind(1)
    return sums[..., high] - sums[..., low] + tokens[:, pixels:]
