"""Which images a network classifies as their labels say."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sycam.errors import DataError
from sycam.evidence.capture import forward
from sycam.evidence.outputs import check_outputs
from sycam.evidence.untouched import untouched


@torch.no_grad()
def classified_correctly(network: nn.Module, images: Tensor, labels: Tensor) -> list[bool]:
    """For each image whether its likeliest class is its label.

    Args:
        network: it is left as it was; of one output, positive is class 1.
        images: ``[N,C,H,W]``, one batch.
        labels: ``[N]``.

    Raises:
        DataError: a label that is no class of the network, so that the labels are of others.
    """
    with untouched(network):
        outputs = check_outputs(forward(network, images), len(images))
    classes = max(outputs.shape[1], 2)
    if int(labels.max()) >= classes:
        raise DataError(
            f"label {int(labels.max())} is out of range: the network has {outputs.shape[1]} "
            f"classes, 0 to {classes - 1}, so that which images it classifies correctly cannot be "
            "told from these labels"
        )
    found = outputs.argmax(1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).long()
    return (found.cpu() == labels.cpu()).tolist()
