"""Opti-CAM's weights: fitted on each image so that what the heatmap shows keeps the score."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sycam.errors import NetworkError
from sycam.networks.backward import differentiate


def fitted_weights(
    image: Tensor,
    activations: Tensor,
    score: Callable[[Tensor], Tensor],
    steps: int = 50,
    rate: float = 0.1,
    start: float = 0.5,
) -> Tensor:
    """``O = softmax(u)``, u such that ``f(x * norm01(up(relu(sum_k O_k A_k))))`` is high (Zhang et
    al., Opti-CAM, Computer Vision and Image Understanding 248, 2024).

    Steps, rate and start are those of the released code, which takes the ReLU of each activation
    instead: the same where none is negative. It also stops where a tenth of the steps lowered the
    score; here all are made.

    Args:
        image: ``[C,H,W]`` or ``[C,D,H,W]`` in the network's input scale.
        activations: ``[K,h,w]`` or ``[K,d,h,w]`` of that image.
        score: the target's score f, ``[1,C,H,W]`` to ``[1]``, differentiable.
        steps: of Adam.
        rate: its learning rate.
        start: of u, which is the same for all channels.

    Returns:
        Tensor[K], positive, of sum 1.

    Raises:
        NetworkError: the score cannot be differentiated with respect to the image.
    """
    mode = "bilinear" if image.ndim == 3 else "trilinear"
    free = activations.new_full((len(activations),), start).requires_grad_()
    adam = torch.optim.Adam([free], lr=rate)
    # A tensor made in inference mode cannot be saved for the backward pass.
    image, activations = image.clone(), activations.clone()
    for _ in range(steps):
        with torch.enable_grad():
            heat = torch.tensordot(free.softmax(0), activations, 1).relu()
            up = F.interpolate(heat[None, None], image.shape[1:], mode=mode, align_corners=False)
            low = up.amin()
            span = up.amax() - low
            mask = (up[0] - low) / torch.where(span > 0, span, torch.ones_like(span))
            (gradient,) = differentiate(-score((image * mask)[None]), [free])
        if gradient is None:
            raise NetworkError(
                "leaf O (Opti-CAM) needs the gradient of the score with respect to the image, and "
                "this network has none; take a method without gradients, like score-cam"
            )
        free.grad = gradient
        adam.step()
    return free.detach().softmax(0)
