"""Mutual information of the image and each activation map.

Torch alone, so that an exported class can carry the source.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mutual_information(
    image: Tensor, activations: Tensor, bins: int = 32, batch: int = 64
) -> Tensor:
    """Mutual information of the grey image and each upsampled activation map, in nats.

    MI-CAM weights channels so; its binning is our choice: 32 equal bins from the lowest to the
    highest value of each. Grey is the mean over the image's channels in the network's input
    scale. A map or image without contrast says nothing: 0.

    Args:
        image: ``[C,H,W]`` or ``[C,D,H,W]``.
        activations: ``[K,h,w]`` or ``[K,d,h,w]``.
        bins: of each variable.
        batch: channels at once.

    Returns:
        Tensor[K], at least 0.
    """

    def binned(values: Tensor) -> Tensor:
        low = values.amin(1, keepdim=True)
        span = values.amax(1, keepdim=True) - low
        unit = (values - low) / torch.where(span > 0, span, torch.ones_like(span))
        # A value at a bin's edge, as pixels of 8 bits are, must not fall by its rounding.
        return (unit * bins + 1e-5).long().clamp(max=bins - 1)

    mode = "bilinear" if image.ndim == 3 else "trilinear"
    grey = binned(image.mean(0).reshape(1, -1))
    out = []
    for part in activations.split(batch):
        up = F.interpolate(part[:, None], image.shape[1:], mode=mode, align_corners=False)
        pairs = binned(up.flatten(1)) * bins + grey
        pairs = pairs + torch.arange(len(part), device=pairs.device)[:, None] * bins * bins
        counts = torch.bincount(pairs.flatten(), minlength=len(part) * bins * bins)
        joint = counts.view(-1, bins, bins).double() / grey.shape[1]
        apart = joint.sum(1, keepdim=True) * joint.sum(2, keepdim=True)
        seen = joint > 0
        ratio = torch.where(seen, joint / torch.where(seen, apart, torch.ones_like(apart)), 1.0)
        out.append((joint * ratio.log()).sum((1, 2)).clamp(min=0))
    return torch.cat(out).to(activations.dtype)
