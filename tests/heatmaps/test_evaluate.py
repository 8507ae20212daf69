"""Batches of expressions: the same values as one by one, each shared part computed once."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from sycam.heatmaps import combine, evaluate
from sycam.language import Expression, parse
from sycam.language.signatures import Overload

TEXTS = (
    "mean(G)",
    "mean(relu(G)) * max(A)",
    "sum(relu(G) / (2 + sum(A) * G))",
    "relu(G)",
    "relu(G) * mean(relu(G))",
    "softmax(mean(G))",
    "normalize(std(A) - min(G))",
    "above(A, 2) * normalize(G)",
    "mean(G) - topmean(minmax(A))",
    "A",
    "mean(relu(G)) * max(A)",
    "1 + 2",
    "0.37 * mean(G) - 1.7e-3 * max(A)",
    "above(A, 0.37) * -0.37",
)


@pytest.fixture
def leaves() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    return {
        "activations": torch.rand(3, 5, 6, 4, generator=g),
        "gradients": torch.randn(3, 5, 6, 4, generator=g),
    }


def by_hand(expression: Expression, leaves: dict[str, Tensor]) -> Tensor:
    """Straight recursion, nothing shared."""
    op = expression.operator
    if op.value is not None:
        return torch.full((1, 1, 1), op.value)
    if op.is_leaf:
        return leaves[op.name]
    values = [by_hand(c, leaves) for c in expression.children]
    return expression.overload.compute(values, leaves["activations"])


def test_a_batch_equals_each_alone(leaves):
    expressions = [parse(t) for t in TEXTS]
    kept = {name: t.clone() for name, t in leaves.items()}
    together = evaluate(expressions, leaves)
    assert len(together) == len(expressions)
    for expression, value in zip(expressions, together, strict=True):
        assert torch.equal(value, by_hand(expression, leaves)), str(expression)
        assert torch.equal(value, evaluate([expression], leaves)[0]), str(expression)
    assert all(torch.equal(leaves[name], kept[name]) for name in leaves)
    assert evaluate([], leaves) == []


def test_numbers_are_computed_with(leaves):
    (found,) = evaluate([parse("0.37 * mean(G) + max(A) / 3 - -1e-2")], leaves)
    mean, largest = leaves["gradients"].mean((-2, -1)), leaves["activations"].amax((-2, -1))
    torch.testing.assert_close(found[..., 0, 0], 0.37 * mean + largest / 3 + 0.01)


def test_the_order_of_the_batch_does_not_matter(leaves):
    """A subexpression that is itself asked for must outlive its last use as an argument."""
    texts = ["mean(relu(G)) * max(A)", "relu(G)", "mean(relu(G))", "max(A)", "G"]
    expressions = [parse(t) for t in texts]
    forward = evaluate(expressions, leaves)
    backward = evaluate(expressions[::-1], leaves)[::-1]
    assert all(map(torch.equal, forward, backward))


def test_shared_subexpressions_are_computed_once(leaves, monkeypatch):
    calls = Counter()
    expressions = [parse(t) for t in TEXTS]

    def spy(overload: Overload, name: str) -> Overload:
        def counted(*arguments: Tensor) -> Tensor:
            calls[name] += 1
            return overload.function(*arguments)

        return Overload(overload.arguments, overload.result, counted)

    nodes = {node for e in expressions for node in e.nodes() if node.children}
    originals = {node: node.overload for node in nodes}
    try:
        for node in nodes:
            object.__setattr__(node, "overload", spy(node.overload, str(node)))
        evaluate(expressions, leaves)
    finally:
        for node, overload in originals.items():
            object.__setattr__(node, "overload", overload)
    assert calls == Counter({str(node): 1 for node in nodes})
    assert calls["relu(G)"] == 1


def test_values_are_freed_after_their_last_use(leaves):
    """A chain of maps keeps a few of them, not all."""
    alive, most = set(), 0
    chain = parse("abs(cube(square(abs(symlog(relu(G + A))))))")
    nodes = [n for n in chain.nodes() if n.children]
    originals = {node: node.overload for node in nodes}

    class Watched(torch.Tensor):
        def __del__(self):
            alive.discard(getattr(self, "mark", None))  # none: a copy that is only looked at

    def watch(node: Expression) -> Overload:
        def made(*arguments: Tensor) -> Tensor:
            nonlocal most
            plain = [a.as_subclass(torch.Tensor) for a in arguments]
            value = originals[node].function(*plain).as_subclass(Watched)
            value.mark = str(node)
            alive.add(value.mark)
            most = max(most, len(alive))
            return value

        return Overload(node.overload.arguments, node.overload.result, made)

    try:
        for node in nodes:
            object.__setattr__(node, "overload", watch(node))
        evaluate([chain], leaves)
    finally:
        for node, overload in originals.items():
            object.__setattr__(node, "overload", overload)
    assert most <= 3


@pytest.mark.parametrize("shape", [(3, 5, 6, 4), (2, 3, 5, 6, 4), (5, 6, 4)])
def test_combine_is_the_weighted_sum(shape):
    g = torch.Generator().manual_seed(1)
    activations = torch.rand(shape, generator=g, dtype=torch.float64)
    weights = torch.randn(*shape[:-2], 1, 1, generator=g, dtype=torch.float64)
    maps = torch.randn(shape, generator=g, dtype=torch.float64)
    torch.testing.assert_close(
        combine(weights, activations, "weight"), (weights * activations).sum(-3)
    )
    torch.testing.assert_close(combine(maps, activations, "map"), (maps * activations).sum(-3))


def test_combine_on_one_place_reads_maps_and_weights_alike():
    activations = torch.rand(2, 4, 1, 1)
    weights = torch.randn(2, 4, 1, 1)
    torch.testing.assert_close(
        combine(weights, activations, "weight"), (weights * activations).sum(1)
    )
