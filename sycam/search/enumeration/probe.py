"""Values of expressions on a few probe images, kept for reuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sycam.heatmaps import KeptValues, combine
from sycam.heatmaps.evaluate import leaf_value
from sycam.inference.threads import on_fastest_threads
from sycam.language import Expression
from sycam.language.computing import compute

KEPT_BYTES = 2 * 2**30  # values kept for reuse; beyond, they are computed again when needed


class Probe:
    """Evaluates expressions on probe images in float64 on the CPU.

    Args:
        leaves: measurements by leaf name, ``[n,K,h,w]`` (``[n,K,d*h,w]``); the last ``confirm``
            of the n images only confirm or contradict an equality seen on the others.
        confirm: number of confirming images.
        depth: of the layer's grid, 1 for images.
        sites: of formulas that name the layers that they read, the probe of each layer; ``leaves``
            are then those of any of them.
        share: of the values that all probes of an enumeration keep.
    """

    def __init__(
        self,
        leaves: Mapping[str, Tensor],
        confirm: int = 1,
        depth: int = 1,
        sites: Mapping[str, Probe] | None = None,
        share: float = 1.0,
    ):
        self.leaves = {name: t.detach().double().cpu() for name, t in leaves.items()}
        self.activations = self.leaves["activations"]
        self.first = len(self.activations) - confirm  # images that equality is first seen on
        self.depth = depth
        self.sites = dict(sites or {})
        self._kept = KeptValues(int(share * KEPT_BYTES))

    def values_alike(self, expressions: Sequence[Expression]) -> Tensor:
        """Values ``[B, n, ...]`` of expressions of one operator and typing, and of arguments on the
        same grids."""
        first = expressions[0]
        if first.operator.is_leaf:
            value = leaf_value(first, self.leaves, self.activations)
            return value.expand(len(self.activations), *value.shape[-3:])[None]
        arguments = [
            torch.stack([self.value(e.children[i]) for e in expressions])
            for i in range(first.operator.arity)
        ]
        kind = (first.operator.name, *(argument.shape for argument in arguments))
        return on_fastest_threads(
            kind, lambda: compute(first, arguments, self.activations, self.depth)
        )

    def value(self, expression: Expression) -> Tensor:
        """Value ``[n, ...]`` of one expression, kept or computed."""
        if expression.operator.site in self.sites:
            return self.sites[expression.operator.site].value(expression)
        value = self._kept.values.get(expression)
        return self.values_alike([expression])[0] if value is None else value

    def remembered(self, expression: Expression) -> Tensor:
        """As :meth:`value`, and the arguments' values are kept for the next expression."""
        if expression.operator.site in self.sites:
            return self.sites[expression.operator.site].remembered(expression)
        if self.sites:
            for child in expression.children:
                if child.children:
                    self.remembered(child)
            return self.value(expression)
        missing = [n for n in expression.nodes() if n not in self._kept.values]
        for node in missing[:-1]:
            self.keep([node], self.value(node)[None])
        return self.value(expression)

    def grids(self, expression: Expression) -> tuple[tuple[int, ...], ...]:
        """The grids of an expression's arguments; of one layer all are alike."""
        if not self.sites or expression.operator.site in self.sites:
            return ()
        return tuple(tuple(self.value(child).shape[-2:]) for child in expression.children)

    @property
    def finest(self) -> tuple[int, int] | None:
        """The finest grid of several layers."""
        shapes = [probe.activations.shape for probe in self.sites.values()]
        return max((shape[-2], shape[-1]) for shape in shapes) if shapes else None

    def sums(self, values: Tensor, sort: str) -> Tensor:
        """``[B,n,h,w]``: the weighted sums of values ``[B, n, ...]`` before the ReLU."""
        return combine(values, self.activations, sort)

    def keep(self, expressions: Sequence[Expression], values: Tensor) -> None:
        """Keep values ``[B, n, ...]`` while there is room."""
        for expression, value in zip(expressions, values, strict=True):
            self._kept.offer(expression, value, value.nbytes)
