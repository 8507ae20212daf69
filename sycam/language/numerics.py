"""What every operator computes, as plain torch functions that never make a NaN from finite input.

One convention carries all sorts: a value keeps three trailing dimensions, ``[..., K, h, w]`` for a
map, ``[..., K, 1, 1]`` for a channel weight, ``[..., 1, 1, 1]`` for a scalar of the image and
``[..., 1, h, w]`` for a heat (a weighted sum over channels, before the ReLU), so that broadcasting
and reductions need to know no sort. Leading dimensions are free (images, or candidates and
images). The slices of a volume's map lie below one another, ``[..., K, d*h, w]``: only what looks
at neighbouring places needs the depth d.

The functions need torch alone: an exported CAM class carries the source of those it uses.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mean(t: Tensor) -> Tensor:
    """Average over the places of each channel."""
    # A sum that overflows both ways is NaN in floating point; like any overflow it becomes inf.
    average = t.mean((-2, -1), keepdim=True)
    return average.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)


def sum_places(t: Tensor) -> Tensor:
    """Sum over the places of each channel."""
    # A sum that overflows both ways is NaN in floating point; like any overflow it becomes inf.
    total = t.sum((-2, -1), keepdim=True)
    return total.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)


def maximum(t: Tensor) -> Tensor:
    """Largest value of each channel."""
    return t.amax((-2, -1), keepdim=True)


def minimum(t: Tensor) -> Tensor:
    """Smallest value of each channel."""
    return t.amin((-2, -1), keepdim=True)


def std(t: Tensor) -> Tensor:
    """Population standard deviation over the places of each channel (0 for one place)."""
    largest = t.abs().amax((-2, -1), keepdim=True)
    scale = torch.where(largest > 0, largest, torch.ones_like(largest))
    unit = t / scale  # so that no square overflows or underflows
    unit = unit - unit[..., :1, :1]  # so that a constant channel gives 0, not rounding errors
    centred = unit - unit.mean((-2, -1), keepdim=True)
    return centred.square().mean((-2, -1), keepdim=True).sqrt() * scale


def topmean(t: Tensor) -> Tensor:
    """Average of the largest tenth of each channel's places (at least one place)."""
    flat = t.flatten(-2)
    count = -(-flat.shape[-1] // 10)
    return (flat.topk(count, dim=-1).values / count).sum(-1)[..., None, None]


def relu(t: Tensor) -> Tensor:
    """max(t, 0)."""
    return t.clamp(min=0)


def absolute(t: Tensor) -> Tensor:
    """|t|."""
    return t.abs()


def negative(t: Tensor) -> Tensor:
    """-t."""
    return -t


def square(t: Tensor) -> Tensor:
    """t^2."""
    return t * t


def cube(t: Tensor) -> Tensor:
    """t^3."""
    return t * t * t


def symlog(t: Tensor) -> Tensor:
    """sign(t) log(1 + |t|)."""
    return t.sign() * t.abs().log1p()


def symsqrt(t: Tensor) -> Tensor:
    """sign(t) sqrt(|t|)."""
    return t.sign() * t.abs().sqrt()


def exponential(t: Tensor) -> Tensor:
    """exp(min(t, 20))."""
    return t.clamp(max=20).exp()


def sign(t: Tensor) -> Tensor:
    """-1, 0 or 1."""
    return t.sign()


def normalize_places(t: Tensor) -> Tensor:
    """Divide each channel by its sum of absolute values (a channel of zeros stays so)."""
    total = t.abs().sum((-2, -1), keepdim=True)
    return t / torch.where(total > 0, total, torch.ones_like(total))


def normalize_channels(t: Tensor) -> Tensor:
    """Divide the image's weights by their L1 norm (weights of zero stay so)."""
    total = t.abs().sum(-3, keepdim=True)
    return t / torch.where(total > 0, total, torch.ones_like(total))


def minmax(t: Tensor) -> Tensor:
    """Scale each channel to [0, 1]; a flat channel becomes zeros."""
    half = t / 2  # the span of finite values may not be finite, half of it is
    low = half.amin((-2, -1), keepdim=True)
    span = half.amax((-2, -1), keepdim=True) - low
    return (half - low) / torch.where(span > 0, span, torch.ones_like(span))


def above(t: Tensor, k: Tensor) -> Tensor:
    """1 where t exceeds its channel's mean by more than k standard deviations, else 0."""
    largest = t.abs().amax((-2, -1), keepdim=True)
    unit = t / torch.where(largest > 0, largest, torch.ones_like(largest))
    unit = unit - unit[..., :1, :1]  # exactly 0 in a constant channel
    centred = unit - unit.mean((-2, -1), keepdim=True)
    spread = centred.square().mean((-2, -1), keepdim=True).sqrt()
    return (centred > k * spread).to(t.dtype)


def softmax_channels(t: Tensor) -> Tensor:
    """Softmax over the channels of each image."""
    return t.softmax(-3)


def add(a: Tensor, b: Tensor) -> Tensor:
    """a + b."""
    return a + b


def subtract(a: Tensor, b: Tensor) -> Tensor:
    """a - b."""
    return a - b


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """a * b."""
    return a * b


def divide(a: Tensor, b: Tensor) -> Tensor:
    """Total division ``a b / (b^2 + e^2)``, e = 1e-6 of the largest |b| in the image's tensor.

    b is scaled by that maximum first, so that nothing underflows; 0 where b is all zero.
    """
    largest = b.abs().amax((-3, -2, -1), keepdim=True)
    scale = torch.where(largest > 0, largest, torch.ones_like(largest))
    unit = b / scale
    return a * (unit / (unit * unit + 1e-12)) / scale


def sum_channels(t: Tensor) -> Tensor:
    """Sum over channels, place by place, as a heat."""
    # A sum that overflows both ways is NaN in floating point; like any overflow it becomes inf.
    total = t.sum(-3, keepdim=True)
    return total.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)


def principal(t: Tensor) -> Tensor:
    """Scores of the places on the first principal axis of their channels, as a heat.

    Each place is a point with K coordinates, centred over places. The score of largest magnitude
    is positive, as an axis has no direction of its own. Of two axes whose variances differ by less
    than some 1e-4 it may be a mixture.
    """
    largest = t.abs().amax((-3, -2, -1), keepdim=True)
    scale = torch.where(largest > 0, largest, torch.ones_like(largest))
    unit = (t / scale).double()
    unit = unit - unit[..., :1, :1]  # exactly 0 in a constant channel
    centred = unit - unit.mean((-2, -1), keepdim=True)
    # Where nothing exceeds the rounding errors of constants there is no axis.
    spread = centred.abs().amax((-3, -2, -1), keepdim=True)
    points = torch.where(spread > 1e-6, centred, torch.zeros_like(centred)).flatten(-2)
    # The smaller of the two Gram matrices; its powers tend to the leading eigenvector's.
    few = points.shape[-2] <= points.shape[-1]
    gram = points @ points.mT if few else points.mT @ points
    for _ in range(10):
        gram = gram @ gram
        peak = gram.abs().amax((-2, -1), keepdim=True)
        gram = gram / torch.where(peak > 0, peak, torch.ones_like(peak))
    start = gram.diagonal(dim1=-2, dim2=-1).argmax(-1)
    axis = gram.gather(-1, start[..., None, None].expand(*gram.shape[:-1], 1))
    for _ in range(32):
        axis = torch.nn.functional.normalize(gram @ axis, dim=-2)
    if not few:
        axis = torch.nn.functional.normalize(points @ axis, dim=-2)
    scores = axis.mT @ points
    peak = scores.gather(-1, scores.abs().argmax(-1, keepdim=True))
    signed = torch.where(peak < 0, -scores, scores).unflatten(-1, t.shape[-2:])
    # Beside a place that overflowed nothing can be told; like any overflow it becomes inf.
    found = signed.to(t.dtype) * scale
    return found.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)


def smooth(t: Tensor, depth: int = 1) -> Tensor:
    """Blur each map by [1 2 1] / 4 along each side; at the border the weights inside sum to 1."""
    grid = t.unflatten(-2, (depth, -1))
    for side in (-3, -2, -1)[depth == 1 :]:
        first, last = grid.narrow(side, 0, 1), grid.narrow(side, -1, 1)
        padded = torch.cat([first, grid, last], side)
        before = padded.narrow(side, 0, grid.shape[side])
        after = padded.narrow(side, 2, grid.shape[side])
        grid = before / 4 + grid / 2 + after / 4  # no sum that could overflow
    return grid.flatten(-3, -2)


def smooth_weighted(t: Tensor, activations: Tensor, depth: int = 1) -> Tensor:
    """The blurred sum over channels of weights times activations, as a heat."""
    # A sum that overflows both ways is NaN in floating point; like any overflow it becomes inf.
    blurred = smooth((t * activations).sum(-3, keepdim=True), depth)
    return blurred.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
