"""No expression of a shipped grammar makes NaN of itself: only an overflow can, and it is told.

An overflow gives an infinity, and two infinities can give NaN (inf - inf). So: whatever the
measurements, the *first* value that is not finite is never NaN, a heatmap never holds NaN, and a
candidate that overflowed is marked. On measurements of ordinary size nothing overflows in a cheap
expression, and no value is NaN at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from sycam.grammar import grammar_names, load_grammar
from sycam.grammar.sampling import sample_expressions
from sycam.heatmaps import combine, evaluate, heatmaps
from sycam.language import OPERATORS, Expression
from sycam.language.signatures import MAP
from sycam.testing.tensors import ONE_CHANNEL, ONE_PLACE, adversarial

EACH = 25  # expressions an example
MAX_COST = 7
SMALL = 2.0**-40  # keeps the check itself from overflowing
ORDINARY_COST = 5  # beyond, four cubes in a row leave even the range of float64
PHASES = (Phase.explicit, Phase.generate)  # shrinking a failure takes minutes, and tells no more
ORDINARY = ("random", "zeros", "negative zeros", "negative", "constant", "constant channels",
            "some zeros", "one image of zeros")  # fmt: skip
LEAVES = {
    op.name: op.overloads[0].result for op in OPERATORS.values() if op.is_leaf and op.value is None
}


shipped = cache(load_grammar)


def measured(
    kinds: dict[str, str], dtype: torch.dtype, scales: dict[str, float]
) -> dict[str, Tensor]:
    return {
        name: adversarial(sort, dtype, seed)[kinds[name]] * scales.get(name, 1.0)
        for seed, (name, sort) in enumerate(LEAVES.items(), 1)
    }


def kinds_of(names: Sequence[str]) -> st.SearchStrategy[dict[str, str]]:
    """A kind for each leaf; a single place or channel is so in all of them."""
    single = [name for name in names if name in (ONE_PLACE, ONE_CHANNEL)]
    free = st.sampled_from([name for name in names if name not in single])
    alike = [st.just(dict.fromkeys(LEAVES, name)) for name in single]
    return st.one_of(st.fixed_dictionaries(dict.fromkeys(LEAVES, free)), *alike)


def scales() -> st.SearchStrategy[dict[str, float]]:
    return st.fixed_dictionaries({name: st.sampled_from([1e-4, 1.0, 2e3]) for name in LEAVES})


def every_value(
    expressions: list[Expression], leaves: dict[str, Tensor]
) -> dict[Expression, Tensor]:
    nodes = list(dict.fromkeys(node for e in expressions for node in e.nodes()))
    return dict(zip(nodes, evaluate(nodes, leaves), strict=True))


@pytest.mark.parametrize("name", grammar_names())
@settings(max_examples=20, deadline=None, phases=PHASES)
@given(
    kinds=kinds_of(list(adversarial(MAP, torch.float64))),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 2**31),
)
def test_only_an_overflow_makes_nan_and_no_heatmap_holds_any(name, kinds, dtype, seed):
    leaves = measured(kinds, dtype, {})
    expressions = sample_expressions(shipped(name), MAX_COST, EACH, seed)
    values = every_value(expressions, leaves)
    for node, value in values.items():
        if all(values[child].isfinite().all() for child in node.children):
            assert not value.isnan().any(), (str(node), kinds)
    found = heatmaps(expressions, leaves, (8, 8))
    assert found.maps.isfinite().all()
    assert 0 <= found.maps.min() <= found.maps.max() <= 1
    for expression, finite in zip(expressions, found.finite.tolist(), strict=True):
        value, activations = values[expression].double(), leaves["activations"].double()
        sums = combine(value * SMALL, activations, expression.sort).abs().max()
        most = combine(value.abs() * SMALL, activations.abs(), expression.sort).max()
        limit = torch.finfo(dtype).max * SMALL
        # Between the two the order of summation decides, as it may on the edge itself.
        if most < 0.99 * limit:
            assert finite, str(expression)
        if not sums <= 1.01 * limit:
            assert not finite, str(expression)


@pytest.mark.parametrize("name", grammar_names())
@settings(max_examples=20, deadline=None, phases=PHASES)
@given(kinds=kinds_of(ORDINARY), scale=scales(), seed=st.integers(0, 2**31))
def test_measurements_of_ordinary_size_give_no_nan_at_all(name, kinds, scale, seed):
    """In float64, in which the search decides what is finite."""
    leaves = measured(kinds, torch.float64, scale)
    expressions = sample_expressions(shipped(name), ORDINARY_COST, EACH, seed)
    for node, value in every_value(expressions, leaves).items():
        assert not value.isnan().any(), (str(node), kinds, scale)
