"""Which images a network classifies as their labels say."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sycam.errors import DataError
from sycam.networks.forward import forward
from sycam.networks.outputs import check_outputs
from sycam.networks.readings import USUAL, Reading
from sycam.networks.untouched import untouched


@torch.no_grad()
def classified_correctly(
    network: nn.Module, images: Tensor, labels: Tensor, reading: Reading = USUAL
) -> list[bool]:
    """For each image whether the network says its label, see :meth:`Reading.predicted`.

    Args:
        network: it is left as it was; of one output, positive is class 1.
        images: ``[N,C,H,W]``, one batch.
        labels: ``[N]``.
        reading: what the network's outputs are.

    Raises:
        DataError: a label that is no class of the network, so that the labels are of others.
    """
    with untouched(network):
        outputs = check_outputs(forward(network, images, reading), len(images))
    classes = max(outputs.shape[1], 2)
    if int(labels.max()) >= classes:
        raise DataError(
            f"label {int(labels.max())} is out of range: the network has {outputs.shape[1]} "
            f"classes, 0 to {classes - 1}, so that which images it classifies correctly cannot be "
            "told from these labels"
        )
    return reading.predicted(outputs, labels).tolist()
