"""The class weights of a linear head after global average pooling: the original CAM's weights."""

from __future__ import annotations

import inspect

from torch import Tensor, nn

from sycam.errors import LayerError
from sycam.evidence.capture import Evidence

CLOSE = 1e-3  # of the largest class score: how well a head must reproduce the network's scores


def class_weights(
    network: nn.Module, activations: Tensor, outputs: Tensor, targets: Tensor
) -> Tensor:
    """Weights ``C_k`` of each image's class (Zhou et al., CAM, CVPR 2016).

    The head is recognised by what it computes: a linear layer, or a 1 x 1 convolution, that gives
    the network's class scores when it is applied to the activations' means over places.

    Args:
        network: the classifier.
        activations: ``[N,K,h,w]`` of the target layer.
        outputs: ``[N, classes]`` of the same images.
        targets: ``[N]`` class explained.

    Returns:
        Tensor[N,K].

    Raises:
        LayerError: no such head follows the layer directly.
    """
    pooled = activations.mean((-2, -1))
    for module in network.modules():
        weight = getattr(module, "weight", None)
        if not isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d) or weight is None:
            continue
        if weight.shape[:2].numel() != weight.numel():  # not 1 x 1
            continue
        weight = weight.detach().flatten(1)
        if weight.shape != (outputs.shape[1], pooled.shape[1]):
            continue
        bias = 0 if module.bias is None else module.bias.detach()
        error = (pooled @ weight.T + bias - outputs).abs().max()
        if bool(error <= CLOSE * outputs.abs().max().clamp(min=1e-12)):
            return weight[targets.to(weight.device)]
    raise LayerError(
        "leaf C needs a linear head directly after global average pooling of the target layer, "
        "and this network has none there; use mean(G), which generalises it (Grad-CAM)"
    )


def measured_class_weights(network: nn.Module, evidence: Evidence) -> Tensor:
    """:func:`class_weights` ``[N,K]`` of the class that the evidence explains.

    Raises:
        LayerError: as there, or the network returns no class scores.
    """
    if evidence.outputs is None:
        raise LayerError("leaf C needs a network that returns class scores (N, classes)")
    return class_weights(network, evidence.activations, evidence.outputs, evidence.targets)


def class_weights_source() -> str:
    """Text that defines :func:`class_weights` in exported modules; its error is one of SyCAM's,
    outside it is a ValueError."""
    text = inspect.getsource(class_weights).replace("LayerError", "ValueError")
    return f"from torch import Tensor, nn\n\nCLOSE = {CLOSE!r}\n\n\n{text}"
