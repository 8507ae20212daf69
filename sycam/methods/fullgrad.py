"""FullGrad: the whole network's input and bias gradients as one heatmap."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sycam.errors import NetworkError
from sycam.evidence import Evidence
from sycam.heatmaps import Heatmaps
from sycam.methods.method import from_maps
from sycam.metrics import Context
from sycam.networks.backward import differentiate, where_lost
from sycam.networks.forward import forward
from sycam.networks.outputs import check_outputs
from sycam.networks.readings import USUAL
from sycam.networks.untouched import copied, untouched

BATCH = 8  # images whose whole graph is held at once
_BIASED = (nn.Conv2d, nn.Conv3d, nn.BatchNorm2d, nn.BatchNorm3d)


@torch.inference_mode(False)  # where the caller is in it, no gradient could be recorded
def fullgrad(_evidence: Evidence, context: Context, beside: float = 0.0) -> Heatmaps:
    """FullGrad (Srinivas and Fleuret, NeurIPS 2019).

    ``psi(x * dy/dx) + sum over layers and channels of psi(b * dy/db)`` with
    ``psi(t) = up(norm01(|t|))`` channel by channel: the terms of the full-gradient decomposition
    ``y = <x, dy/dx> + sum_b b dy/db``, which is exact on a ReLU network. A bias acts on every
    place, so its gradient is a map. Biases are those of convolutions and of batch norms, whose
    running mean is folded in. Biases of fully connected layers have no places and are left out,
    as in the paper. y is the target's score, whatever layer was chosen.

    ``beside`` is added to each channel's range before scaling: 1e-7 in the grad-cam package, beside
    which the terms of quiet channels vanish; without it the map does not depend on the score's
    scale.

    It runs on a copy of the context's network, so that nothing stays on that.

    Raises:
        NetworkError: the score cannot be differentiated with respect to the image.
    """
    network = copied(context.classifier.plain)
    network.to(memory_format=torch.contiguous_format)  # not every network runs channels last
    maps = []
    with untouched(network):
        for start in range(0, len(context), BATCH):
            part = slice(start, start + BATCH)
            maps.append(_saliency(network, context.subset(part), beside))
    return from_maps(torch.cat(maps))


def _saliency(network: nn.Module, context: Context, beside: float) -> Tensor:
    """One micro-batch: ``[N,H,W]`` before scaling."""
    images = context.images.detach().clone().requires_grad_()
    total = images.new_zeros(len(images), *images.shape[2:])

    def receive(bias: Tensor) -> Callable[[Tensor | None], None]:
        def add(gradient: Tensor | None) -> None:
            if gradient is None:  # lost behind here: said below
                return
            shape = (-1, *(1,) * (gradient.ndim - 2))
            total.add_(_psi(gradient * bias.view(shape), images.shape[2:], beside))

        return add

    def watch(module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        bias = folded_bias(module)
        if bias is not None and output.requires_grad and output.ndim == images.ndim:
            # A hook of the tensor: what an in-place ReLU does to it later is not seen, and each
            # gradient is added to the total and let go as the backward pass comes by.
            output.register_hook(receive(bias))

    handles = [m.register_forward_hook(watch) for m in network.modules() if isinstance(m, _BIASED)]
    try:
        with torch.enable_grad():
            reading = USUAL if context.explained is None else context.explained.reading
            score = _score(forward(network, images, reading), context)
            (gradient,) = differentiate(score, [images])
    finally:
        for handle in handles:
            handle.remove()
    if gradient is None:
        raise NetworkError(
            "FullGrad needs the gradient of the score with respect to the image: "
            f"{where_lost(network, images)}"
        )
    return total.add_(_psi(gradient * images.detach(), images.shape[2:], beside)).detach()


def _score(outputs: object, context: Context) -> Tensor:
    """Sum over images of what is explained."""
    if context.explained is not None:
        return context.explained.scores(outputs).sum()
    return check_outputs(outputs, len(context)).gather(1, context.targets[:, None]).sum()


def _psi(terms: Tensor, size: torch.Size, beside: float) -> Tensor:
    """``up(norm01(|t|))`` of each channel, summed over channels: [N,C,h,w] to [N,H,W]."""
    terms, places = terms.abs(), tuple(range(-len(size), 0))
    low = terms.amin(places, keepdim=True)
    span = terms.amax(places, keepdim=True) - low
    scaled = (terms - low) / torch.where(span > 0, span + beside, torch.ones_like(span))
    mode = "bilinear" if len(size) == 2 else "trilinear"
    summed = scaled.sum(1, keepdim=True)
    return F.interpolate(summed, size, mode=mode, align_corners=False)[:, 0]


def folded_bias(module: nn.Module) -> Tensor | None:
    """What a convolution or batch norm adds to each channel ``[C]``, in evaluation mode.

    A batch norm ``(t - mean) / std * scale + shift`` adds ``shift - mean / std * scale``. None
    where it adds nothing, or where its mean and deviation are the batch's own.
    """
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        return None if module.bias is None else module.bias.detach()
    if module.running_mean is None:
        return None
    offset = -module.running_mean / (module.running_var + module.eps).sqrt()
    return offset if module.weight is None else (offset * module.weight + module.bias).detach()
