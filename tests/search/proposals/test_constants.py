"""Numbers of leading expressions: where they are free, and that tuning finds planted ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sycam.errors import OptionError
from sycam.grammar import load_grammar
from sycam.grammar.sampling import sample_expressions
from sycam.heatmaps import heatmaps
from sycam.language import Expression, parse
from sycam.search.proposals.constants import tune
from sycam.search.proposals.skeletons import skeletons

_generator = torch.Generator().manual_seed(0)
LEAVES = {
    "activations": torch.rand(6, 8, 7, 7, generator=_generator, dtype=torch.float64),
    "gradients": torch.randn(6, 8, 7, 7, generator=_generator, dtype=torch.float64),
}
SIZE = (14, 14)
SAMPLE = [
    e
    for name in ("gradient", "full")
    for e in sample_expressions(load_grammar(name), 11, 150, seed=3)
]


def likeness(hidden: str) -> Callable[[Sequence[Expression]], list[float]]:
    """Minus the root mean square distance of heatmaps from those of a hidden expression."""
    target = heatmaps([parse(hidden)], LEAVES, SIZE).maps

    def evaluate(expressions: Sequence[Expression]) -> list[float]:
        found = heatmaps(expressions, LEAVES, SIZE).maps
        return (-(found - target).square().flatten(1).mean(1).sqrt()).tolist()

    return evaluate


# --- skeletons ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sevens"),
    [
        ("mean(G) * max(A)", None),  # a factor of the whole changes nothing
        ("2 * mean(G)", None),
        ("relu(0.5 * G) / sum(2 * A)", None),
        ("mean(G) + max(A)", "mean(G) + 7 * max(A)"),
        ("0.5 * (mean(G) + max(A))", "0.5 * (mean(G) + 7 * max(A))"),
        ("0.37 * mean(G) + max(A)", "7 * mean(G) + max(A)"),
        ("mean(G) - max(A) + min(A)", "mean(G) - 7 * max(A) + 7 * min(A)"),
        ("mean(G) - (max(A) + min(A))", "mean(G) - (7 * max(A) + 7 * min(A))"),
        ("mean(G) + max(A) * std(A)", "mean(G) + 7 * max(A) * std(A)"),
        ("mean(G) + max(A) / 2", "mean(G) + max(A) / 7"),
        ("G / (2 + sum(A) * G)", "G / (7 + sum(A) * G)"),
        ("mean(G) - 0.37", "mean(G) - 7"),
        ("mean(G) + -0.37 * max(A)", "mean(G) + -7 * max(A)"),
        ("mean(above(2 * A, 1))", "mean(above(2 * A, 7))"),
        ("softmax(mean(G))", "softmax(7 * mean(G))"),
        ("exp(G + A)", "exp(7 * G + 7 * A)"),
        ("square(normalize(G) + A)", "square(normalize(G) + 7 * A)"),
        ("G + G", "G + 7 * G"),
        ("smooth(G + A)", "smooth(G + 7 * A)"),
        ("smooth(channelsum(G))", None),
    ],
)
def test_numbers_are_free_where_they_matter(text, sevens):
    skeleton = skeletons(parse(text))
    values = [7.0] * len(skeleton.names)
    assert str(skeleton.at(values)) == (sevens or text)
    assert bool(values) == (sevens is not None)


@pytest.mark.parametrize("expression", SAMPLE[::3], ids=str)
def test_a_skeleton_at_its_initial_numbers_is_the_expression(expression):
    skeleton = skeletons(expression)
    assert skeleton.at(skeleton.initial) is expression
    assert len(skeleton.names) == len(skeleton.initial) == len(skeleton.bounds)
    for value, (low, high) in zip(skeleton.initial, skeleton.bounds, strict=True):
        assert 0 < low <= value <= high


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SAMPLE), st.data())
def test_any_numbers_make_an_expression_of_the_same_sort_and_short_text(expression, data):
    skeleton = skeletons(expression)
    values = [data.draw(st.floats(low, high)) for low, high in skeleton.bounds]
    made = skeleton.at(values)
    assert made.sort == expression.sort
    assert parse(str(made)) is made
    assert made.cost <= expression.cost + 2 * len(values)
    for node in made.nodes():
        if node.operator.value is not None:
            assert len(node.operator.symbol.replace(".", "").strip("0")) <= 6


@pytest.mark.parametrize("values", [[], [1, 2], [0.0], [-1.0], [float("nan")]])
def test_numbers_that_do_not_fit_are_refused(values):
    with pytest.raises(OptionError, match=r"1 number\(s\) above 0"):
        skeletons(parse("mean(G) + max(A)")).at(values)


# --- tuning -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "hidden", "planted"),
    [
        ("mean(G) + max(A)", "mean(G) + 0.37 * max(A)", 0.37),
        ("2 * mean(relu(G)) + max(A)", "5.2 * mean(relu(G)) + max(A)", 5.2),
    ],
)
def test_a_planted_number_is_recovered_to_a_twentieth(start, hidden, planted):
    found = tune([parse(start)], likeness(hidden), trials=40, seed=0)
    assert len(found) <= 40
    best, score = max(found, key=lambda pair: pair[1])
    (value,) = {n.operator.value for n in best.nodes() if n.operator.value is not None}
    assert value == pytest.approx(planted, rel=0.05)
    assert score == pytest.approx(likeness(hidden)([best])[0])
    assert found[0][0] is parse(start)


def test_two_planted_numbers_bring_most_of_the_way_closer():
    start, hidden = "mean(G) + std(G) * min(A) + A", "mean(G) + 9 * std(G) * min(A) + 0.1 * A"
    found = tune([parse(start)], likeness(hidden), trials=40, seed=0)
    assert max(score for _, score in found) > 0.25 * found[0][1]


def test_the_same_seed_gives_the_same_expressions_and_optuna_stays_as_it_was():
    leaders = [parse("mean(G) + max(A)"), parse("mean(G)"), parse("softmax(mean(G)) - mean(A)")]
    verbosity = optuna.logging.get_verbosity()
    runs = [tune(leaders, likeness("mean(G) + 3 * max(A)"), 20, seed) for seed in (5, 5, 6)]
    assert runs[0] == runs[1] != runs[2]
    assert optuna.logging.get_verbosity() == verbosity
    assert leaders[1] not in dict(runs[0])  # has no number
    assert {leaders[0], leaders[2]} <= set(dict(runs[0]))


def test_nothing_is_evaluated_twice_and_the_budget_is_kept():
    seen: list[Expression] = []
    closeness = likeness("mean(G) + 3 * max(A)")

    def evaluate(expressions):
        seen.extend(expressions)
        return closeness(expressions)

    leaders = [parse("mean(G) + max(A)"), parse("mean(G) + 2 * max(A)")]  # of one skeleton
    found = tune(leaders, evaluate, trials=18, seed=0)
    assert [e for e, _ in found] == seen
    assert 14 <= len(seen) <= 18
    assert len(set(seen)) == len(seen)


def test_expressions_without_a_score_do_not_end_it():
    def evaluate(expressions):
        return [float("nan") if "0." in str(e) else float(len(str(e))) for e in expressions]

    found = tune([parse("mean(G) + max(A)")], evaluate, trials=16, seed=1)
    assert 12 <= len(found) <= 16
    assert any(score != score for _, score in found)


def test_it_stops_when_told_to():
    batches = []

    def evaluate(expressions):
        batches.append(len(expressions))
        return [0.0] * len(expressions)

    found = tune([parse("mean(G) + max(A)")], evaluate, 40, 0, stop=lambda: len(batches) == 2)
    assert len(batches) == 2
    assert len(found) == sum(batches) < 10
    with pytest.raises(OptionError, match="trials"):
        tune([parse("mean(G) + max(A)")], evaluate, 0, 0)


def test_the_end_of_the_budget_passes_through_and_leaves_optuna_as_it_was():
    class BudgetError(Exception):
        pass

    def spent(batch):
        raise BudgetError

    before = optuna.logging.get_verbosity()
    with pytest.raises(BudgetError):
        tune([parse("mean(G) + max(A)")], spent, 8, 0)
    assert optuna.logging.get_verbosity() == before
