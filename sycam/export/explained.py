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
from sycam.networks.layouts.reshaping import folded, to_map


class Explained(nn.Module):
    """A network that returns its class scores and the heatmaps of a formula without gradients.

    Args:
        network: in evaluation mode.
        layers: target layers of it; of an expression that names several, those.
        expression: of the leaves A, C, y and p.
        fusion: of several layers, where the expression does not name them.
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
        self.several = len(program.layers) > 1
        self.layers, self.fusion, self.size = layers, fusion, size
        self.explained, self.pairs = explained, expression.pairs
        read = [[op.symbol for op in leaves] for leaves in program.layers.values()]
        self.names = read if self.several else read * len(layers)
        self.heads: dict[int, Tensor] = {}
        for place, (layer, names) in enumerate(zip(layers, self.names, strict=True)):
            if "C" in names:
                seen = measure(network, layer, images)
                assert seen.outputs is not None  # a class is explained, the predicted one
                every = torch.arange(seen.outputs.shape[1])
                self.heads[place] = class_weights(network, seen.activations, seen.outputs, every)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """``scores [N,classes]`` and ``heatmaps [N,*size]`` in [0, 1]."""
        found: dict[int, Tensor] = {}

        def keep(index: int) -> Callable[[nn.Module, tuple, Tensor], Tensor]:
            def hook(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
                found[index] = output
                return output.clone()  # what follows may overwrite it in place

            return hook

        handles = [
            layer.module.register_forward_hook(keep(i)) for i, layer in enumerate(self.layers)
        ]
        if self.pairs:
            images = torch.stack([images, images.flip(-1)], 1).flatten(0, 1)
        try:
            scores = rows = self.network(images)
        finally:
            for handle in handles:
                handle.remove()
        if self.pairs:  # of each the class of the image itself
            scores = rows[::2]
        chosen = scores.argmax(1) if self.explained is None else None
        if self.pairs and chosen is not None:
            chosen = chosen.repeat_interleave(2)
        read: list[tuple[list[Tensor], int]] = []
        for i, layer in enumerate(self.layers):
            grid = to_map(found[i], layer.reshape, layer.module)
            depth = grid.shape[2] if grid.ndim == 5 else 1
            read.append((self._leaves(i, folded(grid), rows, chosen), depth))
        if self.several:
            leaves = [leaf for of_layer, _ in read for leaf in of_layer]
            return scores, self.heat(*leaves, self.size, 1)[0][0]
        maps = [Heatmaps(*self.heat(*leaves, self.size, depth)) for leaves, depth in read]
        return scores, fuse(maps, self.fusion).maps[0]

    def _leaves(self, layer: int, A: Tensor, scores: Tensor, chosen: Tensor | None) -> list[Tensor]:
        """The leaves of a layer; ``chosen`` ``[N]`` are the classes, None for always the same."""

        def of_class(rows: Tensor) -> Tensor:
            if chosen is None:
                return rows[:, self.explained : self.explained + 1]
            return rows.gather(1, chosen[:, None])

        leaves = {"A": A}
        names = self.names[layer]
        if not {"y", "p"}.isdisjoint(names):
            p = scores.sigmoid() if scores.shape[1] == 1 else scores.softmax(1)
            leaves |= {"y": of_class(scores)[..., None, None], "p": of_class(p)[..., None, None]}
        if layer in self.heads:
            head = self.heads[layer]
            rows = head[chosen] if chosen is not None else head[self.explained][None]
            leaves["C"] = rows[..., None, None]
        return [leaves[name] for name in names]
