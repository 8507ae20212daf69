"""The body of an exported module: a class activation map that needs torch alone.

The exporter copies this file from the marker on, with another class name, and with the source of
what the imports from SyCAM stand for. As it stands it is Grad-CAM, and tested as such.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sycam.export.templates.formula import weighted_sum
from sycam.export.templates.measuring import measure
from sycam.heatmaps.heatmaps import finish

# --- exported from here on ---


def heatmaps(leaves: Sequence[Tensor], size: tuple[int, ...], depth: int = 1) -> Tensor:
    """Heatmaps ``[N,*size]`` in [0, 1] from the leaves' values; what overflowed counts as 0."""
    sums = torch.nan_to_num(weighted_sum(*leaves, depth), nan=0.0, posinf=0.0, neginf=0.0)
    return finish(sums[None], size, depth)[0]


class ExportedCAM:
    """Heatmaps of a network by the formula in this module's docstring.

    The network is left as it was: no hook, no gradient and no change of mode stays behind. Several
    threads may call one object, or several of one network: their passes wait for each other.
    Threads that train the network meanwhile find it in evaluation mode; give a copy.

    Args:
        network: a classifier that returns ``(N, classes)``.
        layer: the target layer, by name or as a module of the network.
        compile: compile the formula by ``torch.compile``, at the first call; it takes seconds, and
            pays where the same formula is used often. Without a compiler it runs as it is.

    Example::

        with ExportedCAM(network, "layer4") as cam:
            heatmaps = cam(images)  # Tensor[N,H,W] in [0, 1]
    """

    def __init__(self, network: nn.Module, layer: str | nn.Module, compile: bool = False):
        if isinstance(layer, str):
            modules = dict(network.named_modules())
            if layer not in modules:
                known = ", ".join(filter(None, modules))  # the network itself has no name
                raise ValueError(f"the network has no layer {layer!r}; it has {known}")
            layer = modules[layer]
        self.network, self.layer = network, layer
        self._heatmaps = torch.compile(heatmaps) if compile else heatmaps

    def __call__(
        self,
        images: Tensor,
        targets: int | Sequence[int] | Tensor | Sequence[Callable] | Callable | None = None,
        batch: int = 32,
    ) -> Tensor:
        """Heatmaps ``[N,H,W]`` in [0, 1] of images ``[N,C,H,W]``, on the images' device.

        Volumes ``[N,C,D,H,W]`` give ``[N,D,H,W]``. ``targets`` says what is explained: a class,
        one class per image, callables from one row of outputs to a scalar, or None for the
        predicted class.
        """
        if images.ndim not in (4, 5) or not len(images):
            raise ValueError(
                f"images must be (N,C,H,W) or (N,C,D,H,W) with N > 0, got {tuple(images.shape)}"
            )
        if targets is None or isinstance(targets, int) or callable(targets):
            targets = [targets] * len(images)
        if len(targets) != len(images):
            raise ValueError(f"{len(images)} images need as many targets, got {len(targets)}")
        found = []
        for start in range(0, len(images), batch):
            part = slice(start, start + batch)
            leaves, depth = measure(self.network, self.layer, images[part], targets[part])
            with torch.no_grad():
                found.append(self._finished(leaves, tuple(images.shape[2:]), depth))
        return torch.cat(found).to(images.device)

    def __enter__(self) -> ExportedCAM:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to undo: no hook outlives a call."""

    def _finished(self, leaves: Sequence[Tensor], size: tuple[int, ...], depth: int) -> Tensor:
        if self._heatmaps is heatmaps:
            return heatmaps(leaves, size, depth)
        try:
            return self._heatmaps(leaves, size, depth)
        except Exception as error:
            found = heatmaps(leaves, size, depth)  # raises too, if the arguments are what is wrong
            self._heatmaps = heatmaps
            warnings.warn(f"torch cannot compile here ({error}); going on without", stacklevel=3)
            return found
