"""A network that returns its class scores with the heatmaps of a formula."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sycam.evidence import Layer, measure
from sycam.evidence.leaves.head import class_weights
from sycam.heatmaps import Fusion, Heatmaps, fuse
from sycam.heatmaps.compiled import graph_of
from sycam.heatmaps.program import Program
from sycam.language import Expression
from sycam.networks.reshaping import folded, to_map


class Explained(nn.Module):
    """A network that returns its class scores and the heatmaps of a formula without gradients.

    Args:
        network: in evaluation mode.
        layers: target layers of it.
        expression: of the leaves A, C, y and p.
        fusion: of several layers.
        size: of the images.
        explained: the class; the predicted one if None.
        images: examples, by which a linear head is recognised.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: list[Layer],
        expression: Expression,
        fusion: Fusion,
        size: tuple[int, ...],
        explained: int | None,
        images: Tensor,
    ):
        super().__init__()
        program = Program(expression)
        self.network, self.heat = network, graph_of(program)
        self.names = [op.symbol for op in program.leaves]
        self.layers, self.fusion, self.size = layers, fusion, size
        self.explained = explained
        self.heads = []
        for layer in layers if "C" in self.names else []:
            seen = measure(network, layer, images)
            assert seen.outputs is not None  # a class is explained, the predicted one
            every = torch.arange(seen.outputs.shape[1])
            self.heads.append(class_weights(network, seen.activations, seen.outputs, every))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``scores [N,classes]`` and ``heatmaps [N,*size]`` in [0, 1]."""
        found: dict[int, Tensor] = {}

        def keep(index: int) -> Callable[[nn.Module, tuple, Tensor], None]:
            return lambda _module, _inputs, output: found.__setitem__(index, output)

        handles = [
            layer.module.register_forward_hook(keep(i)) for i, layer in enumerate(self.layers)
        ]
        try:
            scores = self.network(images)
        finally:
            for handle in handles:
                handle.remove()
        chosen = scores.argmax(1) if self.explained is None else None
        maps = []
        for i, layer in enumerate(self.layers):
            grid = to_map(found[i], layer.reshape, layer.module)
            depth = grid.shape[2] if grid.ndim == 5 else 1
            leaves = self._leaves(i, folded(grid), scores, chosen)
            maps.append(Heatmaps(*self.heat(*leaves, self.size, depth)))
        return scores, fuse(maps, self.fusion).maps[0]

    def _leaves(self, layer: int, A: Tensor, scores: Tensor, chosen: Tensor | None) -> list[Tensor]:
        """The leaves of a layer; ``chosen`` ``[N]`` are the classes, None for always the same."""

        def of_class(rows: Tensor) -> Tensor:
            if chosen is None:
                return rows[:, self.explained : self.explained + 1]
            return rows.gather(1, chosen[:, None])

        leaves = {"A": A}
        if not {"y", "p"}.isdisjoint(self.names):
            p = scores.sigmoid() if scores.shape[1] == 1 else scores.softmax(1)
            leaves |= {"y": of_class(scores)[..., None, None], "p": of_class(p)[..., None, None]}
        if self.heads:
            head = self.heads[layer]
            rows = head[chosen] if chosen is not None else head[self.explained][None]
            leaves["C"] = rows[..., None, None]
        return [leaves[name] for name in self.names]
