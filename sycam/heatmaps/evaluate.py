"""A batch of expressions as one program with shared subexpressions, evaluated bottom-up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sycam.errors import ExpressionError
from sycam.language import Expression
from sycam.language.computing import compute
from sycam.language.signatures import WEIGHT, WEIGHTING
from sycam.support.bounded_cache import BoundedCache

# Values of subexpressions on one set of leaves, kept from batch to batch of candidates. Candidates
# come cheapest first and are built from cheaper ones.
KeptValues = BoundedCache[Expression, Tensor]


class Pairs(dict[str, Tensor]):
    """Leaves by name, ``[2N, ...]``: of each of N images, then of that image flipped left-right."""


def evaluate(
    expressions: Sequence[Expression],
    leaves: Mapping[str, Tensor],
    depth: int = 1,
    kept: KeptValues | None = None,
    known: Mapping[Expression, Tensor] | None = None,
) -> list[Tensor]:
    """Values of the expressions; each distinct subexpression is computed once.

    Args:
        expressions: P expressions of any sort.
        leaves: what the network said, by leaf name; ``activations`` ``[..., K, h, w]`` and those
            that the expressions name.
        depth: slices of a volume, which lie below one another (see
            :mod:`sycam.language.numerics`).
        kept: values of earlier batches on the same leaves; those of this one are offered to it.
        known: values of subexpressions that are not to be computed from these leaves.

    Returns:
        P tensors with three trailing dimensions (see :mod:`sycam.language.numerics`).

    Raises:
        ExpressionError: ``mirror`` of what was not measured on images in pairs.
    """
    values: dict[Expression, Tensor] = {} if kept is None else kept.values.copy()
    values |= known or {}
    nodes = _nodes(expressions, values)
    # So that a value is freed after its last use.
    uses = Counter(child for node in nodes for child in node.children)
    uses.update(expressions)
    like = leaves["activations"]
    for node in nodes:
        if node.operator.is_leaf:
            values[node] = leaf_value(node, leaves, like)
            continue
        if node.overload.pairs and not isinstance(leaves, Pairs):
            raise ExpressionError(
                f"{node} is computed from pairs of images, which sycam.heatmaps.maps_of makes"
            )
        arguments = [values[child] for child in node.children]
        values[node] = compute(node, arguments, like, depth)
        if kept is not None:
            kept.offer(node, values[node], values[node].nbytes)
        for child in node.children:
            uses[child] -= 1
            if not uses[child]:
                del values[child]
    return [values[expression] for expression in expressions]


def leaf_value(leaf: Expression, leaves: Mapping[str, Tensor], like: Tensor) -> Tensor:
    """The tensor of a leaf: measured, or a number shaped as a scalar of the image."""
    if leaf.operator.value is not None:
        return like.new_full((1, 1, 1), leaf.operator.value)
    return leaves[leaf.operator.name]


def _nodes(
    expressions: Sequence[Expression], known: Mapping[Expression, Tensor]
) -> list[Expression]:
    """The distinct subexpressions whose values are not known, children before parents."""
    nodes: dict[Expression, None] = {}

    def walk(node: Expression) -> None:
        if node in nodes or node in known:
            return
        for child in node.children:
            walk(child)
        nodes[node] = None

    for expression in expressions:
        walk(expression)
    return list(nodes)


def weighted_sums(
    expressions: Sequence[Expression],
    leaves: Mapping[str, Tensor],
    depth: int = 1,
    kept: KeptValues | None = None,
) -> Tensor:
    """``sum_k w_k A_k`` of P expressions before the ReLU, ``[P,N,h,w]``.

    All channel weights are multiplied with the activations at once, so that these are read once.

    Args:
        expressions: weights, maps or heats.
        leaves, depth, kept: as for :func:`evaluate`, with N images in front.
    """
    activations = leaves["activations"]
    values = evaluate(expressions, leaves, depth, kept)
    images, _, height, width = activations.shape
    sums = activations.new_empty(len(expressions), images, height, width)
    vectors = [i for i, e in enumerate(expressions) if e.sort == WEIGHT]
    if vectors:
        weights = torch.stack([values[i][..., 0, 0] for i in vectors], 1)
        product = weights @ activations.flatten(2)
        sums[vectors] = product.unflatten(2, (height, width)).transpose(0, 1)
    for i, (value, expression) in enumerate(zip(values, expressions, strict=True)):
        if expression.sort != WEIGHT:
            sums[i] = combine(value, activations, expression.sort)
    return sums


def combine(value: Tensor, activations: Tensor, sort: str) -> Tensor:
    """``sum_k w_k A_k`` before the ReLU.

    Args:
        value: ``[..., K, 1, 1]`` (weight), ``[..., K, h, w]`` (map) or ``[..., 1, h, w]`` (heat
            or saliency map: the weighted sum itself).
        activations: ``[..., K, h, w]``.
        sort: of the value.

    Returns:
        Tensor[..., h, w].
    """
    if sort not in WEIGHTING:
        return value[..., 0, :, :]
    if sort == WEIGHT:
        return torch.einsum("...k,...khw->...hw", value[..., 0, 0], activations)
    return (value * activations).sum(-3)


def channel_totals(
    expressions: Sequence[Expression], leaves: Mapping[str, Tensor], depth: int = 1
) -> Tensor:
    """``sum over places of w_k A_k`` of P expressions, ``[P,N,K]``; NaN where one has no
    weights.

    Args:
        expressions: of any sort that makes a heatmap.
        leaves, depth: as for :func:`evaluate`, with N images in front.
    """
    activations = leaves["activations"]
    wanted = [e for e in expressions if e.sort in WEIGHTING and not e.sites]
    values = dict(zip(wanted, evaluate(wanted, leaves, depth), strict=True)) if wanted else {}
    totals = activations.new_full((len(expressions), *activations.shape[:2]), torch.nan)
    for i, expression in enumerate(expressions):
        if expression in values:
            totals[i] = (values[expression] * activations).sum((-2, -1))
    return totals
