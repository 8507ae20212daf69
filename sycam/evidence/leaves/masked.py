"""Score-CAM's channel scores: what the network says when it sees only where a channel is active.

Torch alone, so that an exported class can carry the source.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_scores(
    image: Tensor,
    activations: Tensor,
    score: Callable[[Tensor], Tensor],
    batch: int = 64,
    aligned: bool = False,
) -> Tensor:
    """``S_k = f(x * norm01(up(A_k)))`` for every channel (Wang et al., Score-CAM, CVPRW 2020).

    Masked images are made and shown to the network ``batch`` at a time.

    Args:
        image: ``[C,H,W]`` or ``[C,D,H,W]`` in the network's input scale.
        activations: ``[K,h,w]`` or ``[K,d,h,w]`` of that image.
        score: the target's score f, ``[B,C,H,W]`` to ``[B]``.
        batch: masked images a forward pass.
        aligned: upsample with corners aligned and scale by ``max - min + 1e-8``, as the grad-cam
            package does; by the paper, corners are not aligned.

    Returns:
        Tensor[K].
    """
    mode = "bilinear" if image.ndim == 3 else "trilinear"
    places = tuple(range(1, image.ndim))
    scores = []
    for part in activations.split(batch):
        masks = F.interpolate(part[:, None], image.shape[1:], mode=mode, align_corners=aligned)[
            :, 0
        ]
        low = masks.amin(places, keepdim=True)
        span = masks.amax(places, keepdim=True) - low
        span = span + 1e-8 if aligned else torch.where(span > 0, span, torch.ones_like(span))
        scores.append(score(image * ((masks - low) / span)[:, None]))
    return torch.cat(scores)
