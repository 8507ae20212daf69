"""Whether a network says the same of an image whatever the batch, and every time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sycam.errors import NetworkError
from sycam.networks.forward import forward
from sycam.networks.outputs import rows, tensors
from sycam.networks.untouched import dtype_of, seeded, untouched

# Of the outputs' spread: rounding of coarse arithmetic (TensorFloat-32) is less.
TOLERANCE, COARSE = 5e-3, 5e-2


@torch.no_grad()
def unsteadiness(network: nn.Module, images: Tensor) -> str:
    """What about a network's outputs is not decided by the image alone, for people; ``""`` if
    nothing was seen.

    Three passes are made: two on all images, with other random numbers, and one on the first alone.

    Args:
        network: it is left as it was.
        images: ``[n,C,H,W]``, at least two to see whether it looks at its batch.

    Raises:
        NetworkError: it failed on these images.
    """
    count = len(images)
    with untouched(network):
        outputs = forward(network, images)
        with seeded(1):  # and with the state that the first pass has left
            again = forward(network, images)
    limit = TOLERANCE if dtype_of(network) in (torch.float32, torch.float64) else COARSE
    try:
        first, second = rows(outputs, count), rows(again, count)
        if _differ(first, second, first, limit):
            return (
                "the network gives the same image other outputs each time (random numbers, such as "
                "a dropout that is on in evaluation mode, or a state that it keeps): heatmaps and "
                "figures are those of one draw; use F.dropout(..., training=self.training), or "
                "whatever switches the randomness off"
            )
        with untouched(network):
            alone = rows(forward(network, images[:1]), 1)
    except NetworkError:
        return ""  # no row per image, or none for one image: said where it is needed
    if _differ(first[:1], alone, first, limit):
        return (
            "the network's outputs for an image depend on the other images of its batch (a batch "
            "norm without running statistics?): heatmaps and figures depend on the size of the "
            "batches; give its batch norms running statistics (track_running_stats=True)"
        )
    return ""


def _differ(some: list, others: list, every: list, limit: float) -> bool:
    a, b, all_of = (
        [t.detach().double().cpu() for t in tensors(one) if t.is_floating_point()]
        for one in (some, others, every)
    )
    if [t.shape for t in a] != [t.shape for t in b]:
        return True
    values = torch.cat([t.flatten() for t in all_of]) if all_of else torch.zeros(1)
    values = values[torch.isfinite(values)]
    if not len(values):
        return False
    spread = float(values.max() - values.min()) or float(values.abs().max())
    return any(bool(((s - o).abs() > limit * spread).any()) for s, o in zip(a, b, strict=True))
