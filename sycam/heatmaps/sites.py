"""Heatmaps of formulas that read several target layers, each layer by its name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sycam.errors import ExpressionError, unknown_name
from sycam.heatmaps.evaluate import KeptValues, evaluate
from sycam.heatmaps.heatmaps import Heatmaps, from_sums
from sycam.heatmaps.measured import Measured
from sycam.language import Expression
from sycam.language.sites import CAM


def sited_heatmaps(
    expressions: Sequence[Expression],
    evidence: Measured,
    size: tuple[int, ...],
    kept: Sequence[KeptValues] | None = None,
) -> Heatmaps:
    """Heatmaps of P expressions that name the layers that they read.

    Each layer's saliency maps are computed from its own leaves, all of a layer together; what
    combines them follows on the finer grid of each pair.

    Args:
        expressions: with :attr:`~sycam.language.Expression.sites`.
        evidence: ``Evidence`` or ``Stack`` of N images, of layers that have names.
        size: of the images.
        kept: values of earlier batches on this evidence, one store per layer.

    Raises:
        UnknownNameError: a formula reads a layer that was not measured.
        ExpressionError: it reads several layers of a volume, or also one without a name.
    """
    layers = {layer.name: place for place, layer in enumerate(evidence.layers)}
    for expression in expressions:
        check_measured(expression, evidence)
    maps: dict[Expression, Tensor] = {}
    for name, place in layers.items():
        nodes = {n: None for e in expressions for n in e.nodes() if n.operator.site == name}
        if nodes:
            layer, store = evidence.layers[place], kept[place] if kept else None
            values = evaluate(list(nodes), layer.leaves, layer.depth, store)
            maps |= zip(nodes, values, strict=True)
    first = evidence.layers[0]
    combined = evaluate(expressions, first.leaves, first.depth, known=maps)
    # One by one: their grids differ.
    found = [from_sums(sums[..., 0, :, :][None], size, first.depth) for sums in combined]
    return Heatmaps(
        torch.cat([one.maps for one in found]),
        torch.cat([one.degenerate for one in found]),
        torch.cat([one.finite for one in found]),
    )


def check_measured(expression: Expression, evidence: Measured) -> None:
    """Refuse a formula that names layers which were not measured, or cannot be combined.

    Raises:
        UnknownNameError, ExpressionError: as :func:`sited_heatmaps`.
    """
    known = [layer.name for layer in evidence.layers]
    check_layers(expression, known, f"{expression} reads it: measure it as well")
    if len(known) > 1:
        check_named(expression)
    if evidence.layers[0].depth > 1 and len(expression.sites) > 1:
        raise ExpressionError(
            f"{expression} reads several layers, which is defined for images, not for volumes"
        )


def check_layers(expression: Expression, known: Sequence[str], cure: str) -> None:
    """Refuse a formula that names a layer which is not there.

    Args:
        expression: the formula.
        known: names of the layers; empty for one that has none.
        cure: how to mend it.

    Raises:
        UnknownNameError: it names another.
    """
    for site in expression.sites:
        if site not in known:
            raise unknown_name("layer", site, [name for name in known if name], cure)


def check_named(expression: Expression) -> None:
    """Refuse a formula that reads layers by name and one without.

    Raises:
        ExpressionError: it does.
    """
    nameless = any(node.operator is CAM for node in expression.nodes())
    if nameless and expression.sites:
        raise ExpressionError(
            f"{expression} reads layers by name and one without: write cam[NAME](...) everywhere"
        )
