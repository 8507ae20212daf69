"""The body of an exported module: a class activation map that needs torch alone.

The exporter copies this file from the marker on, with another class name, with the formula's own
:data:`LEAVES` and :func:`weighted_sum`, and with the source of what these and the imports from
SyCAM need. As it stands it is Grad-CAM, and tested as such.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sycam.kernels.heatmaps import finish

# --- exported from here on ---

LEAVES = ("A", "G")  # what the formula reads


def weighted_sum(A: Tensor, G: Tensor, depth: int = 1) -> Tensor:
    """``sum_k w_k A_k`` ``[N,h,w]`` from activations A and gradients G ``[N,K,h,w]``."""
    return (G.mean((-2, -1), keepdim=True) * A).sum(1)


def channel_leaves(*_: object) -> dict[str, Tensor]:
    """Leaves that take further passes of the network: this formula reads none."""
    return {}


def heatmaps(leaves: Sequence[Tensor], size: tuple[int, ...], depth: int = 1) -> Tensor:
    """Heatmaps ``[N,*size]`` in [0, 1] from the leaves' values; what overflowed counts as 0."""
    sums = torch.nan_to_num(weighted_sum(*leaves, depth), nan=0.0, posinf=0.0, neginf=0.0)
    return finish(sums[None], size, depth)[0]


class ExportedCAM:
    """Heatmaps of a network by the formula in this module's docstring.

    The network is left as it was: no hook, no gradient and no change of mode stays behind.

    Args:
        network: a classifier that returns ``(N, classes)``.
        layer: the target layer, by name or as a module of the network.
        compile: fuse the formula by ``torch.compile``, at the first call; it takes seconds, and
            pays where the same formula is used often. Without a compiler it runs as it is.

    Example::

        with ExportedCAM(network, "layer4") as cam:
            heatmaps = cam(images)  # Tensor[N,H,W] in [0, 1]
    """

    def __init__(self, network: nn.Module, layer: str | nn.Module, compile: bool = False):
        if isinstance(layer, str):
            modules = dict(network.named_modules())
            if layer not in modules:
                raise ValueError(f"the network has no layer {layer!r}; it has {', '.join(modules)}")
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
        one class an image, callables from one row of outputs to a scalar, or None for the
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
            leaves, depth = self._measure(images[part], targets[part])
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

    @torch.inference_mode(False)  # where the caller is in it, no gradient could be recorded
    def _measure(self, images: Tensor, targets: Sequence) -> tuple[list[Tensor], int]:
        """The leaves at the layer, and the depth of its grid; the backward pass stops there."""
        found: list[Tensor] = []

        def cut(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
            found.append(output.detach().clone().requires_grad_())
            torch.set_grad_enabled(True)
            return found[-1].clone()

        modes = [(module, module.training) for module in self.network.modules()]
        device = next((p.device for p in self.network.parameters()), images.device)
        images = images.clone().to(device)
        try:
            self.network.eval()
            handle = self.layer.register_forward_hook(cut)
            try:
                with torch.no_grad():  # until the hook records
                    outputs = self.network(images)
                    if len(found) != 1 or found[0].ndim not in (4, 5):
                        raise ValueError(
                            "the layer must run once, with an output (N,K,h,w) or (N,K,d,h,w)"
                        )
                    explained = [_fixed(*pair) for pair in zip(outputs, targets, strict=True)]
                    pairs = zip(outputs, explained, strict=True)
                    y = torch.stack([_score(*pair) for pair in pairs])
                    G, H = _derivatives(y, found[0])
            finally:
                handle.remove()
            with torch.no_grad():
                A, y = found[0].detach(), y.detach()
                rows = zip(images, A, outputs, y, explained, strict=True)
                columns = [channel_leaves(self.network, self.layer, *row) for row in rows]
        finally:
            for module, training in modes:
                module.training = training
        leaves = {"A": A, "G": G, "H": H}
        leaves = {name: t.flatten(2, 3) if t.ndim == 5 else t for name, t in leaves.items()}
        p = [_probability(*row) for row in zip(outputs, explained, y, strict=True)]
        leaves |= {"y": y[:, None, None, None], "p": torch.stack(p).detach()[:, None, None, None]}
        for name in columns[0]:
            leaves[name] = torch.stack([c[name] for c in columns]).to(A)[..., None, None]
        return [leaves[name] for name in LEAVES], A.shape[2] if A.ndim == 5 else 1


def _fixed(row: Tensor, target: int | Tensor | Callable | None) -> int | Callable:
    """What is explained of an image, whatever the outputs of its altered copies are."""
    if callable(target):
        return target
    index = int(row.argmax() if target is None else target)
    if not 0 <= index < len(row):
        raise ValueError(f"class {index} is out of range: the network has {len(row)} classes")
    return index


def _score(row: Tensor, target: int | Callable) -> Tensor:
    return target(row).reshape(()) if callable(target) else row[target]


def _probability(row: Tensor, target: int | Callable, score: Tensor) -> Tensor:
    """Of the class explained; a callable's own score."""
    if callable(target):
        return score
    return row.sigmoid()[0] if len(row) == 1 else row.softmax(0)[target]


def _derivatives(y: Tensor, activations: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the scores y; their Hessian times the activations, if the formula reads it."""
    wanted = "H" in LEAVES
    (G,) = torch.autograd.grad(y.sum(), activations, create_graph=wanted)
    H = None
    if wanted and G.requires_grad:
        (H,) = torch.autograd.grad(G, activations, activations.detach(), allow_unused=True)
    # Where the score is piecewise linear in the activations there is nothing to differentiate.
    return G.detach(), torch.zeros_like(G) if H is None else H
