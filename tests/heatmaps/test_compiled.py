"""One graph from leaves to heatmaps: equal to the evaluator's, eager and compiled."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch._dynamo.utils import counters

from sycam.errors import ExpressionError, UnknownNameError
from sycam.grammar import grammar_names, load_grammar
from sycam.grammar.sampling import sample_expressions
from sycam.heatmaps import heatmaps, maps_of
from sycam.heatmaps.compiled import compiled_heatmaps, compiled_maps
from sycam.language import parse

SIZE = (14, 11)


def compiles() -> bool:
    """Whether torch finds a C++ compiler, by what it does."""
    try:
        torch.compile(torch.sin)(torch.zeros(3))
    except Exception:
        return False
    return True


@pytest.mark.parametrize("name", grammar_names())
def test_eager_graphs_agree_with_the_evaluator(name, random_leaves):
    leaves = random_leaves(7, 5)
    for expression in sample_expressions(load_grammar(name), 9, 300, seed=0):
        found = compiled_heatmaps(expression, compile=False)(leaves, SIZE).maps[0]
        expected = heatmaps([expression], leaves, SIZE).maps[0]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9, msg=str(expression))


def test_volumes_agree_with_the_evaluator(random_leaves):
    leaves = random_leaves(12, 5)
    for text in ("mean(G)", "smooth(relu(G))", "principal(G * A)", "softmax(S) * y"):
        found = compiled_heatmaps(parse(text), compile=False)(leaves, (6, 9, 11), depth=3).maps[0]
        expected = heatmaps([parse(text)], leaves, (6, 9, 11), depth=3).maps[0]
        assert found.shape == (3, 6, 9, 11)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "text", ["0.37 * mean(G) + max(A)", "above(A, 1.7) * G - 0.37 * A / 3", "-1e-3 * G + 0.5 * A"]
)
def test_numbers_agree_with_the_evaluator(text, random_leaves):
    leaves = random_leaves(7, 5)
    found = compiled_heatmaps(parse(text), compile=False)(leaves, SIZE).maps[0]
    expected = heatmaps([parse(text)], leaves, SIZE).maps[0]
    assert expected.amax() == 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


class Measured:
    """Leaves of two layers by their names."""

    fusion = "mean"

    def __init__(self, *layers: SimpleNamespace):
        self.layers = layers


@pytest.fixture
def two_layers(random_leaves) -> Measured:
    fine, deep = random_leaves(8, 6), random_leaves(4, 3)
    return Measured(
        SimpleNamespace(name="fine", leaves=fine, depth=1),
        SimpleNamespace(name="deep.0", leaves=deep, depth=1),
    )


SITED = [
    "cam[fine](relu(G)) * cam[deep.0](mean(G))",
    "maximum(smooth(cam[fine](G)), 0.37 * cam[deep.0](smooth(mean(G)) ))",
    "cam[deep.0](mean(relu(G))) + cam[fine](mean(relu(G)) * max(A)) * cam[fine](mean(relu(G)))",
    "top(cam[fine](S * y), 20) + top(cam[deep.0](channelsum(p * G)), 30)",
    "maximum(cam[deep.0](A), cam[deep.0](G))",
    "cam[fine](mean(G))",
]


@pytest.mark.parametrize("text", SITED)
def test_one_graph_of_several_layers_agrees_with_the_evaluator(text, two_layers):
    found = compiled_maps(parse(text), compile=False)(two_layers, (17, 13))
    expected = maps_of([parse(text)], two_layers, (17, 13))
    assert expected.maps.amax() == 1
    torch.testing.assert_close(found.maps, expected.maps, rtol=0, atol=1e-9)
    assert found.degenerate.equal(expected.degenerate)


def test_what_a_graph_of_several_layers_lacks_is_told(two_layers):
    del two_layers.layers[1].leaves["gradients"]
    with pytest.raises(ExpressionError, match=r"needs the leaf G \(gradients\)"):
        compiled_maps(parse(SITED[0]), compile=False)(two_layers, (17, 13))
    with pytest.raises(UnknownNameError, match=r"layer 'deep' is .* mean 'deep\.0'"):
        compiled_maps(parse("cam[fine](A) * cam[deep](A)"), compile=False)(two_layers, (17, 13))
    with pytest.raises(ExpressionError, match="compiled_maps"):
        compiled_heatmaps(parse(SITED[0]))


def test_flat_and_overflowing_maps_are_zeros(random_leaves):
    leaves = random_leaves(7, 5, dtype=torch.float32)
    flat = compiled_heatmaps(parse("neg(A)"), compile=False)(leaves, SIZE)
    assert flat.degenerate.all()
    assert not flat.maps.any()
    leaves = {name: tensor * 1e18 for name, tensor in leaves.items()}
    huge = compiled_heatmaps(parse("cube(A) - cube(G)"), compile=False)(leaves, SIZE)
    assert huge.maps.isfinite().all()
    assert not huge.finite.any()


def test_a_missing_leaf_is_named():
    activations = {"activations": torch.rand(2, 3, 4, 4)}
    with pytest.raises(ExpressionError, match=r"needs the leaf S \(masked_scores\)"):
        compiled_heatmaps(parse("softmax(S)"), compile=False)(activations, SIZE)
    with pytest.raises(ExpressionError, match="scalar"):
        compiled_heatmaps(parse("1 + p"))


def test_a_compiled_graph_agrees_at_every_shape(random_leaves):
    if not compiles():
        pytest.skip("torch finds no C++ compiler")
    expression = parse("mean(relu(G)) * max(A) + 0.37 * mean(relu(G))")
    compiled = compiled_heatmaps(expression)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for grid, size in (((7, 5), SIZE), ((6, 3), (9, 17))):
            leaves = random_leaves(*grid, dtype=torch.float32)
            expected = heatmaps([expression], leaves, size).maps[0]
            found = compiled(leaves, size).maps[0]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", grammar_names())
def test_compiled_formulas_agree_and_stay_compiled(name, random_leaves):
    """torch keeps eight compiled versions of one function: formulas must not share one. The grammar
    with all leaves and operators has more of them."""
    if not compiles():
        pytest.skip("torch finds no C++ compiler")
    exact, leaves = random_leaves(7, 5), random_leaves(7, 5, dtype=torch.float32)
    torch._dynamo.reset()
    counters.clear()
    compared, count = 0, 9 if name == "full" else 2
    for expression in sample_expressions(load_grammar(name), 7, count, seed=5):
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            found = compiled_heatmaps(expression)(leaves, SIZE).maps[0]
        precise = heatmaps([expression], exact, SIZE)
        expected = heatmaps([expression], leaves, SIZE)
        # Where float32 itself is far from float64, the order of a sum decides: nothing to compare.
        steady = (expected.maps - precise.maps).abs().amax((-2, -1)) <= 2e-6
        steady &= ~precise.degenerate & ~expected.degenerate
        for n in steady[0].nonzero().flatten().tolist():
            torch.testing.assert_close(
                found[n], expected.maps[0, n], rtol=0, atol=1e-5, msg=str(expression)
            )
            compared += 1
    assert compared >= count
    assert counters["stats"]["unique_graphs"] == count


@pytest.mark.slow
def test_without_a_compiler_it_warns_once_and_runs(tmp_path):
    code = """
import torch, warnings
from sycam.heatmaps import heatmaps
from sycam.heatmaps.compiled import compiled_heatmaps
from sycam.language import parse
leaves = {n: torch.rand(2, 3, 4, 4) for n in ("activations", "gradients")}
run = compiled_heatmaps(parse("mean(G)"))
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    maps = run(leaves, (8, 8)).maps[0]
    again = run(leaves, (8, 8)).maps[0]
said = [str(w.message) for w in seen if w.category is RuntimeWarning]
assert len(said) == 1 and "cannot compile" in said[0], said
assert torch.equal(maps, again)
assert torch.equal(maps, heatmaps([parse("mean(G)")], leaves, (8, 8)).maps[0])
"""
    bare = os.environ | {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
