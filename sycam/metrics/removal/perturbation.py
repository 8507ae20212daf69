"""Probabilities on perturbed images, for many candidates: the engine of all perturbation metrics.

Removal metrics take away the pixels whose rank lies in an interval, fill them somehow and run the
network; confidence metrics multiply the image by the heatmap. Equal removal masks of one image are
filled and forwarded once, and what one metric asked of a batch of heatmaps serves the next.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from numbers import Real

import torch
from torch import Tensor

from sycam.errors import OptionError
from sycam.metrics.context import Context
from sycam.metrics.removal.pixel_ranks import mask_keys, ranked_between, relevance_ranks

Fill = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(images [N,C,H,W], removed [B,H,W] bool, index [B]) -> perturbed images [B,C,H,W]``; the images
are the context's, and ``index`` says which of them each mask is of."""
Interval = tuple[int, int]

_ROUND = {"cpu": 512, "other": 4096}  # masks filled together, at most
# Bytes of their images: on a CPU they stay in the caches, a GPU is to be filled.
_ROUND_BYTES = {"cpu": 2**23, "other": 2**29}


def removal_probabilities(
    maps: Tensor,
    intervals: Sequence[Interval],
    fill: Fill,
    key: Hashable,
    context: Context,
    targets: Tensor | None = None,
) -> Tensor:
    """Probability of the target after the removal of the pixels with rank in each interval.

    Args:
        maps: ``[P,N,H,W]`` heatmaps.
        intervals: M half-open intervals ``(first, end)`` of ranks to remove; 0 is the most
            relevant pixel.
        fill: replaces the removed pixels.
        key: names the fill with its settings, and the targets where they are given, so that
            metrics that ask alike share passes.
        context: of the same N images.
        targets: ``[N,T]`` several classes an image; the context's targets if None.

    Returns:
        Tensor[P,N,M] float32, or ``[P,N,M,T]`` of several classes.
    """
    ranks = ranks_of(maps, context)
    known: dict[Interval, Tensor] = context.shared((__name__, "removal", key), maps, dict)
    missing = [interval for interval in dict.fromkeys(intervals) if interval not in known]
    if missing:
        bounds = torch.tensor(missing, dtype=torch.int32, device=ranks.device)
        bounds = bounds.expand(*ranks.shape[:2], -1, -1)
        measured = removed_between(ranks, bounds, fill, context, targets)
        known.update(zip(missing, measured.unbind(2), strict=True))
    return torch.stack([known[interval] for interval in intervals], 2)


def one_of(option: str, value: str, known: Sequence[str]) -> str:
    """The value of an option that has few; OptionError, naming them, where it is none of them."""
    if value not in known:
        expected = " or ".join(map(repr, known))
        raise OptionError(f"{option} {value!r} is not known; expected {expected}")
    return value


MOST = 10_000  # steps, samples or copies that an option may ask for


def count_of(option: str, value: object, otherwise: str = "") -> None:
    """OptionError unless the value is a whole number from 1 to ``MOST``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise OptionError(f"{option} must be a positive integer{otherwise}, got {value!r}")
    if value > MOST:
        raise OptionError(f"{option} must be at most {MOST}, got {value}")


def between(value: object, low: float, high: float) -> bool:
    """Whether an option is a number between the two, neither of them."""
    return isinstance(value, Real) and low < value < high


def intervals_at(intervals: Sequence[Interval], levels: Tensor, maps: Tensor) -> Tensor:
    """``[P,N,T,2]`` int32: of M intervals of ranks those that each image is seen at.

    Args:
        intervals: M.
        levels: ``[N,T]`` which of them.
        maps: ``[P,N,H,W]``.
    """
    bounds = torch.tensor(intervals, dtype=torch.int32, device=maps.device)
    return bounds[levels].expand(len(maps), -1, -1, -1)


def ranks_of(maps: Tensor, context: Context) -> Tensor:
    """Ranks of the pixels, shared by the metrics of one batch of heatmaps."""
    return context.shared(
        (__name__, "ranks"), maps, lambda: relevance_ranks(maps, context.shuffles)
    )


def masked_probabilities(maps: Tensor, context: Context, inverse: bool = False) -> Tensor:
    """Probability of the target on the images multiplied by their heatmaps.

    Args:
        maps: ``[P,N,H,W]`` heatmaps in [0, 1].
        context: of the same N images.
        inverse: multiply by ``1 - L`` instead.

    Returns:
        Tensor[P,N] float32.
    """

    def forward() -> Tensor:
        N, size, rows = len(context), _round(context), maps.flatten(0, 1)
        chances = torch.empty(len(rows), device=maps.device)
        for start in range(0, len(rows), size):
            shown = rows[start : start + size]
            image = torch.arange(start, start + len(shown), device=maps.device) % N
            masked = (
                context.images.index_select(0, image) * (1 - shown if inverse else shown)[:, None]
            )
            chances[start : start + size] = context.classifier.probability(
                masked, context.targets[image]
            )
        return chances.view(-1, N)

    return context.shared((__name__, "masked", inverse), maps, forward)


def removed_between(
    ranks: Tensor, bounds: Tensor, fill: Fill, context: Context, targets: Tensor | None = None
) -> Tensor:
    """Probability after the removal of the pixels between two ranks, which may differ by map.

    Args:
        ranks: ``[P,N,H*W]``.
        bounds: ``[P,N,M,2]`` int32, first rank and end of M intervals.
        fill, context, targets: as for :func:`removal_probabilities`.

    Returns:
        Tensor[P,N,M] float32, or ``[P,N,M,T]`` of several classes.
    """
    targets = context.targets if targets is None else targets
    P, N, M = bounds.shape[:3]
    keys = mask_keys(ranks, bounds)
    _, inverse = torch.unique(keys.flatten(), return_inverse=True)
    jobs = int(inverse.max()) + 1
    # The first (candidate, image, interval) that shows each distinct mask stands for all.
    where = torch.arange(len(inverse), device=ranks.device)
    first = torch.full((jobs,), len(inverse), dtype=torch.int64, device=ranks.device)
    first.scatter_reduce_(0, inverse, where, "amin")
    first = first.sort().values
    limits = bounds.reshape(-1, 2)
    chances = torch.empty(jobs, *targets.shape[1:], device=ranks.device)
    size = _round(context)
    rows = ranks.flatten(0, 1)
    for start in range(0, jobs, size):
        job = first[start : start + size]
        image = job // M % N
        removed = ranked_between(rows, job // M, limits[job]).view(-1, *context.size)
        perturbed = fill(context.images, removed, image)
        chances[start : start + size] = context.classifier.probability(perturbed, targets[image])
    slot = torch.empty(jobs, dtype=torch.int64, device=ranks.device)
    slot[inverse[first]] = torch.arange(jobs, device=ranks.device)
    return chances[slot[inverse]].view(P, N, M, *targets.shape[1:])


def _round(context: Context) -> int:
    """Masks filled together: a power of two, so that they make whole batches."""
    kind = "cpu" if context.images.device.type == "cpu" else "other"
    fits = max(32, min(_ROUND[kind], _ROUND_BYTES[kind] // context.images[0].nbytes))
    return 1 << (fits.bit_length() - 1)
