"""What differs in the class that needs torch alone where its formula reads several layers.

What stands here takes the place of the definitions and methods of the same names in
:mod:`sycam.export.templates.standalone`; see :func:`sycam.export.module.module_source`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sycam.export.templates import standalone
from sycam.export.templates.formula_of_layers import saliency_map
from sycam.export.templates.layers import modules_of
from sycam.heatmaps.heatmaps import finish

# --- exported from here on ---


def heatmaps(leaves: Sequence[Tensor], size: tuple[int, ...], depth: int = 1) -> Tensor:
    """Heatmaps ``[N,*size]`` in [0, 1] from the leaves' values; what overflowed counts as 0."""
    sums = torch.nan_to_num(saliency_map(*leaves, depth), nan=0.0, posinf=0.0, neginf=0.0)
    return finish(sums[None], size, depth)[0]


class ExportedCAM(standalone.ExportedCAM):
    """Heatmaps of a network by the formula in this module's docstring.

    All layers are measured in one forward and one backward pass. The network is left as it was: no
    hook, no gradient and no change of mode stays behind. Several threads may call one object, or
    several of one network: their passes wait for each other. Threads that train the network
    meanwhile find it in evaluation mode; give a copy.

    Args:
        network: a classifier that returns ``(N, classes)``.
        layers: the target layers, by name or as modules of the network: a mapping from the names
            in LAYERS, or a sequence in their order; the layers of these names if None.
        compile: compile the formula by ``torch.compile``, at the first call; it takes seconds, and
            pays where the same formula is used often. Without a compiler it runs as it is.

    Example::

        with ExportedCAM(network) as cam:
            heatmaps = cam(images)  # Tensor[N,H,W] in [0, 1]
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Mapping[str, str | nn.Module] | Sequence[str | nn.Module] | None = None,
        compile: bool = False,
    ):
        self.network, self.layer = network, modules_of(network, layers)
        self._heatmaps = torch.compile(heatmaps) if compile else heatmaps
