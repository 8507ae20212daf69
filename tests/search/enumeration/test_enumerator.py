"""Enumeration: each meaning once, none lost, in an order that never changes."""

from __future__ import annotations

from itertools import islice, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sycam.errors import OptionError
from sycam.grammar import load_grammar, read_grammar
from sycam.grammar.grammar import splits
from sycam.heatmaps import combine, evaluate, finish, is_degenerate
from sycam.language import apply
from sycam.language.signatures import COMMUTATIVE
from sycam.metrics import EXACT, POSITIVE_SCALE, RANKING, WEIGHTS
from sycam.search.enumeration.enumerator import Enumerator, Level
from sycam.search.enumeration.equivalence import heat_keys

SIZE = (24, 24)


def leaves(count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 5, 4, 4)
    return {
        "activations": torch.randn(shape, generator=generator, dtype=torch.float64).relu(),
        "gradients": torch.randn(shape, generator=generator, dtype=torch.float64),
    }


def run(enumerator, max_cost):
    items = list(enumerator.candidates(max_cost))
    return [i for i in items if not isinstance(i, Level)], [
        i for i in items if isinstance(i, Level)
    ]


def weighted_sums(expressions, measured):
    values = evaluate(expressions, measured)
    return torch.stack(
        [
            combine(value, measured["activations"], expression.sort)
            for value, expression in zip(values, expressions, strict=True)
        ]
    )


def all_trees(grammar, max_cost):
    """Every derivation tree up to a cost, by brute force."""
    bank = {symbol: {c: [] for c in range(1, max_cost + 1)} for symbol in grammar.symbols}
    for cost in range(1, max_cost + 1):
        for p in grammar.productions:
            for split in splits(cost - p.operator.cost, len(p.arguments)):
                levels = [bank[a][c] for a, c in zip(p.arguments, split, strict=True)]
                for children in product(*levels):
                    for owner in p.owners:
                        bank[owner][cost].append(apply(p.operator.name, *children))
    return [e for cost in bank[grammar.start].values() for e in cost]


def test_no_distinct_heatmap_is_lost_and_none_is_listed_twice():
    grammar, measured = load_grammar("gradient"), leaves()
    trees = all_trees(grammar, 3)
    assert len(trees) == sum(grammar.tree_counts(3))
    sums = weighted_sums(trees, measured)
    kept = torch.isfinite(sums).flatten(1).all(1) & ~is_degenerate(sums).all(1)
    maps = finish(sums[kept], SIZE).flatten(1)
    classes: list[torch.Tensor] = []
    for heatmap in maps:
        if not any((heatmap - other).abs().max() < 1e-11 for other in classes):
            classes.append(heatmap)
    found, _ = run(Enumerator(grammar, measured, POSITIVE_SCALE, SIZE), 3)
    listed = finish(weighted_sums(found, measured), SIZE).flatten(1)
    for heatmap in classes:
        assert ((listed - heatmap).abs().amax(1) < 1e-11).any()
    assert len(found) == len(classes)


def test_cheapest_first_and_the_same_order_every_time():
    first, levels = run(Enumerator(load_grammar("gradient"), leaves(), POSITIVE_SCALE, SIZE), 3)
    again, _ = run(Enumerator(load_grammar("gradient"), leaves(), POSITIVE_SCALE, SIZE), 3)
    assert first == again
    assert [e.cost for e in first] == sorted(e.cost for e in first)
    assert [level.candidates for level in levels] == [
        sum(e.cost == level.cost for e in first) for level in levels
    ]
    assert all(level.complete for level in levels)


def test_every_candidate_lies_in_the_grammar():
    grammar = load_grammar("gradient")
    found, _ = run(Enumerator(grammar, leaves(), POSITIVE_SCALE, SIZE), 3)
    assert all(e in grammar for e in found)


def test_values_are_recomputed_where_they_no_longer_fit_in_memory(monkeypatch):
    whole, _ = run(Enumerator(load_grammar("gradient"), leaves(), POSITIVE_SCALE, SIZE), 3)
    monkeypatch.setattr("sycam.search.enumeration.probe.KEPT_BYTES", 2000)
    frugal, _ = run(Enumerator(load_grammar("gradient"), leaves(), POSITIVE_SCALE, SIZE), 3)
    assert frugal == whole


def test_what_only_the_confirming_image_tells_apart_stays_apart_and_is_counted():
    grammar = read_grammar(
        'start: map\n?map: "A" -> activations | "r(" map ")" -> relu | "b(" map ")" -> abs'
    )
    measured = leaves()
    # Positive on the probes, so that relu(A) = abs(A) = A there; mixed on the confirming image.
    measured["activations"] = measured["activations"].abs() + 0.1
    alike, _ = run(Enumerator(grammar, measured, POSITIVE_SCALE, SIZE), 2)
    assert [str(e) for e in alike] == ["A"]
    measured["activations"][-1] = torch.randn(5, 4, 4, dtype=torch.float64)
    apart, levels = run(Enumerator(grammar, measured, POSITIVE_SCALE, SIZE), 2)
    assert [str(e) for e in apart] == ["A", "relu(A)", "abs(A)"]
    assert levels[1].disagreements > 0


def test_expressions_that_overflow_are_dropped_and_counted():
    measured = leaves()
    measured["gradients"] = measured["gradients"] * 1e200
    found, levels = run(Enumerator(load_grammar("gradient"), measured, POSITIVE_SCALE, SIZE), 2)
    assert levels[1].overflowed > 0
    assert "cube(G)" not in map(str, found)


@given(st.floats(1e-3, 1e3), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_positive_scale_merges_scaled_heatmaps_and_exact_does_not(scale, seed):
    generator = torch.Generator().manual_seed(seed)
    sums = torch.randn(1, 2, 4, 4, generator=generator, dtype=torch.float64)
    both = torch.cat([sums, sums * scale])
    merged = heat_keys(both, POSITIVE_SCALE, SIZE)
    assert merged[0] == merged[1]
    apart = heat_keys(both, EXACT, SIZE)
    assert (apart[0] == apart[1]) == (abs(scale - 1) < 1e-11)


def test_ranking_is_that_of_the_upsampled_map():
    # Equal order on the grid, different order of pixels once upsampled: between the cells.
    low = torch.tensor([[0.0, 1.0], [2.0, 3.0]], dtype=torch.float64)
    high = torch.tensor([[0.0, 1.0], [2.0, 9.0]], dtype=torch.float64)
    keys = heat_keys(torch.stack([low, high])[:, None], RANKING, (8, 8))
    assert keys[0] != keys[1]
    # On the grid itself the two orders agree, and a monotone rescaling is not seen.
    keys = heat_keys(torch.stack([low, high])[:, None], RANKING, (2, 2))
    assert keys[0] == keys[1]


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_equal_ranking_keys_mean_equal_pixel_order(seed):
    generator = torch.Generator().manual_seed(seed)
    grids = torch.randint(0, 3, (6, 1, 2, 2), generator=generator).double()
    keys, flat = heat_keys(grids, RANKING, (6, 6)), is_degenerate(grids).all(1)
    maps = finish(grids, (6, 6)).flatten(1)
    order = torch.sign((maps[:, :, None] - maps[:, None, :]).mul(1e9).round())
    for i in range(6):
        for j in range(6):
            if not flat[i] and not flat[j]:
                assert (keys[i] == keys[j]) == bool((order[i] == order[j]).all())


@pytest.mark.parametrize("cost", [1, 2, 3])
def test_tree_counts_are_those_of_the_recurrence(cost):
    _, levels = run(Enumerator(load_grammar("gradient"), leaves(), POSITIVE_SCALE, SIZE), cost)
    assert [level.trees for level in levels] == load_grammar("gradient").tree_counts(cost)


def test_weights_tell_apart_what_has_the_same_positive_part():
    """One channel that is positive everywhere: what is negative everywhere else is not seen."""
    measured = leaves()
    measured["activations"] = measured["activations"][:, :1] + 1
    measured["gradients"] = measured["gradients"][:, :1]
    grammar = load_grammar("gradient")
    pair = {
        "G",
        "relu(G)",
    }  # the map's negative entries are cut, by the ReLU of the heatmap or ours
    for invariance, expected in ((WEIGHTS, 2), (EXACT, 1), (POSITIVE_SCALE, 1)):
        found, _ = run(Enumerator(grammar, measured, invariance, SIZE), 2)
        assert len(pair & set(map(str, found))) == expected


@pytest.mark.parametrize("invariance", [POSITIVE_SCALE, RANKING])
def test_values_far_below_the_peak_are_told_apart(invariance):
    """A pixel a million million times weaker than the peak still has its rank."""
    generator = torch.Generator().manual_seed(5)
    peak = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    peak[..., 1, 2] = 1
    weak = 1e-12 * torch.rand(peak.shape, generator=generator, dtype=torch.float64)
    weak[..., 0, 0] = 0
    others = [peak, peak + weak, peak + weak.flip(-1), (peak + weak) * 7]
    keys = heat_keys(torch.cat(others), invariance, SIZE).tolist()
    assert len(set(keys[:3])) == 3
    assert keys[3] == keys[1]


def variants(expression):
    """The expression with the arguments of commutative operators in the other order."""
    children = tuple(variants(child) for child in expression.children)
    if COMMUTATIVE in expression.operator.laws:
        children = children[::-1]
    return apply(expression.operator.name, *children)


def test_what_is_enumerated_represents_itself_and_its_commuted_variant():
    grammar = load_grammar("gradient")
    enumerator = Enumerator(grammar, leaves(), POSITIVE_SCALE, SIZE)
    found, _ = run(enumerator, 3)
    assert enumerator.represent_all(found) == found
    assert enumerator.represent_all([variants(e) for e in found]) == found


def test_every_tree_is_represented_by_an_enumerated_expression_of_the_same_heatmap():
    grammar, measured = load_grammar("gradient"), leaves()
    enumerator = Enumerator(grammar, measured, POSITIVE_SCALE, SIZE)
    found, _ = run(enumerator, 3)
    trees = list(dict.fromkeys(all_trees(grammar, 3)))
    representatives = enumerator.represent_all(trees)
    assert set(representatives) - {None} == set(found)
    pairs = [p for p in zip(trees, representatives, strict=True) if p[1] is not None]
    ours, theirs = (
        finish(weighted_sums(side, measured), SIZE) for side in zip(*pairs, strict=True)
    )
    assert (ours - theirs).abs().max() < 1e-9
    flat = weighted_sums([t for t, r in zip(trees, representatives, strict=True) if r is None],
                         measured)  # fmt: skip
    assert (is_degenerate(flat).all(1) | ~torch.isfinite(flat).flatten(1).all(1)).all()


def test_a_class_that_was_proposed_is_not_enumerated_again():
    grammar = load_grammar("gradient")
    plain, levels = run(Enumerator(grammar, leaves(), POSITIVE_SCALE, SIZE), 3)
    asked = Enumerator(grammar, leaves(), POSITIVE_SCALE, SIZE)
    proposals = [
        grammar.parse(t) for t in ("abs(abs(G))", "G * A", "relu(G) + relu(G)", "smooth(G)")
    ]
    representatives = set(asked.represent_all(proposals))
    assert representatives == set(proposals)
    found, again = run(asked, 3)
    assert len(found) == len(plain) - len(proposals)
    assert sum(level.anticipated for level in again) == len(proposals)
    # What builds larger expressions is untouched: subexpressions and their number are the same.
    assert [(level.built, level.values) for level in again] == [
        (level.built, level.values) for level in levels
    ]
    assert asked.simplest(proposals[0]) == grammar.parse("abs(G)")
    assert asked.represent(grammar.parse("abs(G)")) is proposals[0]


def test_without_equivalence_each_distinct_expression_is_listed_once():
    grammar, measured = load_grammar("gradient"), leaves()
    trees = list(dict.fromkeys(all_trees(grammar, 3)))
    sums = weighted_sums(trees, measured)
    sound = torch.isfinite(sums).flatten(1).all(1) & ~is_degenerate(sums).all(1)
    expected = {tree for tree, good in zip(trees, sound.tolist(), strict=True) if good}
    for equivalence in ("none", "metric"):
        enumerator = Enumerator(grammar, measured, POSITIVE_SCALE, SIZE, equivalence=equivalence)
        found, _ = run(enumerator, 3)
        assert len(found) == len(set(found))
        assert set(found) == expected


@pytest.mark.parametrize("equivalence", ["metric", "both"])
def test_what_is_forgotten_builds_nothing(equivalence):
    grammar = load_grammar("gradient")
    enumerator = Enumerator(grammar, leaves(), POSITIVE_SCALE, SIZE, equivalence=equivalence)
    dropped = grammar.parse("abs(G)")
    found = []
    for item in enumerator.candidates(3):
        if isinstance(item, Level):
            continue
        found.append(item)
        if item is dropped:
            assert enumerator.forget(item)
    assert not enumerator.forget(dropped)
    assert not any(dropped in e.children for e in found)
    assert enumerator.levels[1].forgotten == 1
    assert any(grammar.parse("relu(G)") in e.children for e in found)


def test_classes_can_be_asked_about_in_the_middle_of_a_block():
    """A guide proposes what the block that is being enumerated has not come to: a KeyError once."""
    grammar, measured = load_grammar("gradient"), leaves()
    plain, _ = run(Enumerator(grammar, measured, POSITIVE_SCALE, SIZE), 3)
    enumerator = Enumerator(grammar, measured, POSITIVE_SCALE, SIZE)
    stream = enumerator.candidates(3)
    seen = [item for item in islice(stream, 40) if not isinstance(item, Level)]
    asked = {enumerator.represent(tree) for tree in all_trees(grammar, 3)} - {None}
    rest = [item for item in stream if not isinstance(item, Level)]
    assert set(seen) <= asked
    assert len(asked) == len(plain)
    assert not set(rest) & asked


def test_an_unknown_equivalence_is_refused():
    with pytest.raises(OptionError, match="'value' is not known"):
        Enumerator(load_grammar("gradient"), leaves(), POSITIVE_SCALE, SIZE, equivalence="value")


def test_portraits_are_alike_where_heatmaps_order_alike():
    enumerator = Enumerator(load_grammar("gradient"), leaves(), POSITIVE_SCALE, SIZE)
    a, doubled, other = (
        enumerator.portrait(load_grammar("gradient").parse(t)) for t in ("G", "G + G", "abs(G)")
    )
    assert np.array_equal(a, doubled)
    assert np.abs(a - other).max() > 0.1
    assert a.min() >= 0
    assert a.max() <= 1
