"""Printed torch source: the same numbers as the evaluator's, each shared part computed once."""

from __future__ import annotations

import ast
import importlib.util
from types import ModuleType

import pytest
import torch
from torch import Tensor

from sycam.errors import ExpressionError
from sycam.grammar import grammar_names, load_grammar
from sycam.grammar.sampling import sample_expressions
from sycam.heatmaps import combine, evaluate
from sycam.heatmaps.program import Program, weighted_sum_source
from sycam.language import Expression, parse

HEAD = """from __future__ import annotations

import torch
from torch import Tensor

from sycam.language.numerics import *  # noqa: F403
from sycam.language.saliency import *  # noqa: F403


"""


@pytest.fixture
def printed(tmp_path):
    """``printed(expressions)``: a module with the functions f0, f1, ... of their sources."""

    def write_and_import(expressions: list[Expression]) -> ModuleType:
        path = tmp_path / "printed_sources.py"
        sources = [weighted_sum_source(e, f"f{i}") for i, e in enumerate(expressions)]
        path.write_text(HEAD + "\n\n".join(sources))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return write_and_import


def by_evaluator(expression: Expression, leaves: dict[str, Tensor], depth: int = 1) -> Tensor:
    (value,) = evaluate([expression], leaves, depth)
    return combine(value, leaves["activations"], expression.sort)


def assert_same(expressions, module, leaves, depth=1):
    for i, expression in enumerate(expressions):
        taken = [leaves[op.name] for op in Program(expression).leaves]
        found = getattr(module, f"f{i}")(*taken, depth)
        expected = by_evaluator(expression, leaves, depth)
        finite = expected.isfinite()
        assert torch.equal(found.isfinite(), finite), str(expression)
        largest = expected[finite].abs().max() if finite.any() else 0
        error = (found - expected)[finite].abs().max() if finite.any() else 0
        assert error <= 1e-9 * largest, str(expression)


@pytest.mark.parametrize("name", grammar_names())
def test_a_thousand_random_expressions_agree_with_the_evaluator(name, printed, random_leaves):
    expressions = sample_expressions(load_grammar(name), 9, 1000, seed=0)
    assert_same(expressions, printed(expressions), random_leaves(7, 5))


@pytest.mark.parametrize("name", grammar_names())
def test_volumes_agree_with_the_evaluator(name, printed, random_leaves):
    expressions = sample_expressions(load_grammar(name), 7, 200, seed=1)
    expressions += [parse("smooth(smooth(G * A) )"), parse("smooth(mean(G))")]
    assert_same(expressions, printed(expressions), random_leaves(12, 5), depth=3)


TEXTS = [
    "A", "C", "channelsum(relu(G * A))", "smooth(smooth(softmax(S)))", "y * p * D + MI",
    "mean(G - 0.5 * H)", "mean(above(A, 1 + p)) * (1 + 2)", "2 * G + 2 * A",
    "0.37 * mean(G) + max(A) / 3", "above(A, 1.7) * G - 0.37 * A", "-0.37 * G + (0.37 * p + 1e-3)",
    "smooth(2.5e6 * G)", "0 * G + A", "smooth(principal(relu(G) * A))",
]  # fmt: skip


def test_every_leaf_sort_and_constant_agrees(printed, random_leaves):
    expressions = [parse(text) for text in TEXTS]
    assert_same(expressions, printed(expressions), random_leaves(7, 5))


@pytest.mark.parametrize("name", grammar_names())
def test_each_distinct_subexpression_is_written_once(name):
    for expression in sample_expressions(load_grammar(name), 9, 200, seed=2):
        tree = ast.parse(weighted_sum_source(expression))
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
        functions = [c for c in calls if isinstance(c.func, ast.Name)]
        distinct = [n for n in expression.nodes() if n.children]
        assert len(functions) == len(distinct), str(expression)
        constants = [c for c in calls if isinstance(c.func, ast.Attribute)]
        made = [c for c in constants if c.func.attr == "new_full"]
        assert len(made) == len(Program(expression).constants)


def test_what_the_source_looks_like():
    text = weighted_sum_source(parse("mean(relu(G)) * max(A) + mean(relu(G)) / 2"))
    assert (
        text
        == '''\
def weighted_sum(A: Tensor, G: Tensor, depth: int = 1) -> Tensor:
    """``[..., h, w]`` before the ReLU, by ``mean(relu(G)) * max(A) + mean(relu(G)) / 2``."""
    two = A.new_full((1, 1, 1), 2.0)
    t0 = mean(relu(G))
    weights = add(multiply(t0, maximum(A)), divide(t0, two))
    return torch.einsum("...k,...khw->...hw", weights[..., 0, 0], A)
'''
    )


def test_what_numbers_look_like():
    text = weighted_sum_source(parse("0.37 * mean(G) + 2 * mean(above(A, 1.7)) * 0.37"))
    assert [line.strip() for line in text.splitlines() if "new_full" in line] == [
        "two = A.new_full((1, 1, 1), 2.0)",
        "c0 = A.new_full((1, 1, 1), 0.37)",
        "c1 = A.new_full((1, 1, 1), 1.7)",
    ]


def test_only_the_leaves_that_are_named_are_taken():
    assert [op.symbol for op in Program(parse("softmax(S)")).leaves] == ["A", "S"]
    assert "def weighted_sum(A: Tensor, S: Tensor, depth" in weighted_sum_source(
        parse("softmax(S)")
    )


def test_long_calls_are_broken_into_lines():
    long = (
        "smooth(normalize(mean(relu(G)) - topmean(A)) * normalize(std(G) + max(A)) / exp(min(G)))"
    )
    source = weighted_sum_source(parse(long))
    assert max(len(line) for line in source.splitlines()[2:]) <= 96
    ast.parse(source)


def test_a_scalar_is_refused():
    with pytest.raises(ExpressionError, match="scalar"):
        weighted_sum_source(parse("1 + p"))
