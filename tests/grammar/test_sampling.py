"""Random and exhaustive derivation trees against the grammar's own recurrence."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from scipy.stats import chisquare

from sycam.errors import OptionError
from sycam.grammar import grammar_names, load_grammar, read_grammar
from sycam.grammar.sampling import TreeSampler, all_expressions, sample_expressions

# Two derivations of A + G, since the first alternative's order is not the second's.
TINY = """
start: map
?map: "A" -> activations
    | "G" -> gradients
    | "relu" "(" map ")" -> relu
    | "(" map "+" map ")" -> add
"""


@pytest.mark.parametrize("name", grammar_names())
def test_counts_equal_the_grammars_own(name):
    grammar = load_grammar(name)
    sampler = TreeSampler(grammar, 7)
    assert [sampler.count(cost) for cost in range(1, 8)] == grammar.tree_counts(7)


@pytest.mark.parametrize("name", grammar_names())
def test_what_is_drawn_is_in_the_grammar_and_of_its_cost(name):
    grammar = load_grammar(name)
    sampler = TreeSampler(grammar, 9)
    generator = random.Random(0)
    drawn = [sampler.draw(cost, generator) for cost in range(2, 10) for _ in range(20)]
    assert [e.cost for e in drawn] == [cost for cost in range(2, 10) for _ in range(20)]
    assert [e for e in drawn if e not in grammar] == []


def test_all_trees_of_a_cost_are_equally_likely():
    grammar = read_grammar(TINY)
    trees = [e for e in all_expressions(grammar, 4) if e.cost == 4]
    assert len(trees) == TreeSampler(grammar, 4).count(4)  # here no tree is derived twice
    sampler, generator = TreeSampler(grammar, 4), random.Random(1)
    drawn = Counter(sampler.draw(4, generator) for _ in range(200 * len(trees)))
    assert set(drawn) == set(trees)
    assert chisquare([drawn[e] for e in trees]).pvalue > 1e-4


def test_all_expressions_are_the_distinct_trees_cheapest_first():
    grammar = read_grammar(TINY)
    found = all_expressions(grammar, 3)
    assert [str(e) for e in found[:4]] == ["A", "G", "relu(A)", "relu(G)"]
    assert len(found) == len(set(found)) == sum(grammar.tree_counts(3))


def test_one_seed_gives_one_sample():
    grammar = load_grammar("gradient")
    first = sample_expressions(grammar, 6, 50, seed=3)
    assert first == sample_expressions(grammar, 6, 50, seed=3)
    assert first != sample_expressions(grammar, 6, 50, seed=4)
    assert {e.cost for e in first} == set(range(1, 7))


def test_a_cost_that_no_tree_has_is_refused():
    sampler = TreeSampler(load_grammar("gradient"), 3)
    for cost in (0, 4):
        with pytest.raises(OptionError, match=f"no expression of cost {cost}"):
            sampler.draw(cost, random.Random(0))
