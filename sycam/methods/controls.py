"""Controls: heatmaps that know nothing of the class, which a CAM must beat to say anything."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from sycam.evidence import Evidence
from sycam.heatmaps import Heatmaps
from sycam.methods.method import from_maps, from_weights
from sycam.metrics import Context


def random_weights(evidence: Evidence, context: Context) -> Heatmaps:
    """Channel weights drawn from uniform(-1, 1), by seed and content of the image."""
    channels = evidence.activations.shape[1]
    drawn = [torch.rand(channels, generator=g) for g in context.generators("random weights")]
    weights = torch.stack(drawn).to(evidence.activations) * 2 - 1
    return from_weights(weights, evidence, context)


def sobel_edges(_evidence: Evidence, context: Context) -> Heatmaps:
    """Magnitude of the Sobel gradient of the grey image or volume."""
    grey = context.images.mean(1)
    sides = range(1, grey.ndim)
    total = torch.zeros_like(grey)
    for across in sides:
        slope = grey
        for side in sides:
            slope = _filtered(slope, side, (-1, 0, 1) if side == across else (1, 2, 1))
        total += slope.square()
    return from_maps(total.sqrt())


def _filtered(t: Tensor, side: int, taps: tuple[int, int, int]) -> Tensor:
    """Correlation with three taps along one side; the border repeats."""
    padded = torch.cat([t.narrow(side, 0, 1), t, t.narrow(side, -1, 1)], side)
    terms = (tap * padded.narrow(side, i, t.shape[side]) for i, tap in enumerate(taps))
    return cast(Tensor, sum(terms))


def centre_prior(_evidence: Evidence, context: Context) -> Heatmaps:
    """A Gaussian at the centre, sigma a quarter of each side."""
    blob = torch.ones((), device=context.images.device)
    for length in context.size:
        blob = blob[..., None] * _bell(length).to(blob)
    return from_maps(blob.expand(len(context), *context.size))


def _bell(length: int) -> Tensor:
    """A Gaussian ``[length]`` about the middle, from -2 to 2 sigma.

    Places as far from the middle have the very same number, so that they tie wherever pixels are
    ranked: vectorised exponentials differ in the last bit between lanes and processors.
    """
    last = max(length - 1, 1)
    far = [2 * abs(2 * i - (length - 1)) / last for i in range(length)]
    return torch.tensor([math.exp(-0.5 * z * z) for z in far])
