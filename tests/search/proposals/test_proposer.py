"""Derivations, edits, draws and the surrogate: always in the grammar, never too expensive."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from sycam.errors import OptionError
from sycam.grammar import load_grammar
from sycam.grammar.sampling import all_expressions, sample_expressions
from sycam.language import apply, parse
from sycam.language.signatures import COMMUTATIVE
from sycam.search.proposals.combinations import Combinations
from sycam.search.proposals.derivations import Derivations
from sycam.search.proposals.edits import Edits
from sycam.search.proposals.elite import Archive, Entry
from sycam.search.proposals.learnt_grammar import LearntGrammar
from sycam.search.proposals.proposer import GrammarProposer
from sycam.search.proposals.surrogate import Surrogate, hopes

GRAMMARS = ("gradient", "spatial", "full")
SPACES = {name: Derivations(load_grammar(name), 6) for name in GRAMMARS}


@given(st.sampled_from(GRAMMARS), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_the_choices_of_an_expression_build_it_again(name, seed):
    space = SPACES[name]
    for expression in sample_expressions(space.grammar, 6, 3, seed):
        choices = space.choices(expression)
        built = space.build(lambda at, names, choices=choices: names[names.index(choices[at])])
        assert built.cost == expression.cost
        assert space.choices(built) == choices
        assert built in space.grammar


@given(st.sampled_from(GRAMMARS), st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_any_choices_stay_in_the_grammar_and_under_the_cost(name, seed):
    space, draw = SPACES[name], random.Random(seed)
    asked: dict[str, list[str]] = {}

    def choose(at, names):
        assert asked.setdefault(at, names) == names  # one name, one set of choices
        return draw.choice(names)

    for _ in range(5):
        expression = space.build(choose)
        assert expression in space.grammar
        assert expression.cost <= 6


@given(st.sampled_from(GRAMMARS), st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_edits_stay_in_the_grammar_and_under_the_cost(name, seed):
    space = SPACES[name]
    parent, *partners = sample_expressions(space.grammar, 6, 3, seed)
    found = Edits(space).neighbours(parent, partners)
    assert found
    assert parent not in found
    for expression in found:
        assert expression in space.grammar
        assert expression.cost <= 6


def test_edits_are_the_steps_that_they_are_said_to_be():
    grammar = load_grammar("gradient")
    parse = grammar.parse
    found = Edits(Derivations(grammar, 8)).neighbours(parse("mean(relu(G))"), [parse("max(A)")])
    for text in ("max(relu(G))", "mean(abs(G))", "mean(relu(A))",  # another operator, another leaf
                 "abs(mean(relu(G)))", "mean(relu(abs(G)))",  # put in
                 "mean(G)",  # taken away
                 "relu(G)", "G",  # a part alone
                 "mean(relu(G)) * max(A)", "mean(relu(G)) + max(A)"):  # joined  # fmt: skip
        assert parse(text) in found, text


def ordered(expression):
    """The expression with commutative arguments in one order."""
    children = sorted(map(ordered, expression.children), key=lambda e: e.sort_key())
    if COMMUTATIVE not in expression.operator.laws:
        children = map(ordered, expression.children)
    return apply(expression.operator.name, *children)


def test_every_expression_can_be_reached_by_edits():
    grammar = load_grammar("gradient")
    edits = Edits(Derivations(grammar, 3))
    reached, border = set(), [grammar.parse("A")]
    while border:
        new = {e for parent in border for e in edits.neighbours(parent)} - reached
        reached |= new
        border = sorted(new, key=lambda e: e.sort_key())
    assert set(map(ordered, reached)) == set(map(ordered, all_expressions(grammar, 3)))


def test_a_learnt_grammar_draws_what_the_best_are_made_of():
    space = SPACES["gradient"]
    learnt, draw = LearntGrammar(space), random.Random(1)
    plain = sum("symlog" in str(learnt.draw(draw)) for _ in range(300))
    learnt.learn([space.grammar.parse("mean(symlog(symlog(G)))")] * 20)
    often = sum("symlog" in str(learnt.draw(draw)) for _ in range(300))
    assert often > 150 > plain


def test_the_surrogate_recovers_a_smooth_function_and_knows_what_it_does_not_know():
    generator = np.random.default_rng(0)
    points = generator.random((200, 3))
    figures = np.sin(3 * points).sum(1)
    figures = (figures - figures.mean()) / figures.std()
    surrogate = Surrogate()
    surrogate.fit(points[:150], figures[:150], np.zeros(150, bool))
    mean, covariance = surrogate.predict(points[150:])
    assert np.abs(mean - figures[150:]).mean() < 0.1
    near, far = surrogate.predict(points[:1])[1], surrogate.predict(points[:1] + 10)[1]
    assert near[0, 0] < 0.05
    assert far[0, 0] > 0.5
    assert covariance.shape == (50, 50)


def test_the_surrogate_is_scikit_learns_gaussian_process_with_the_likeliest_choice():
    generator = np.random.default_rng(1)
    points, pool = generator.random((40, 5)), generator.random((7, 5))
    figures = np.cos(2 * points).sum(1)
    figures = (figures - figures.mean()) / figures.std()
    rough = np.arange(40) % 3 == 0
    surrogate = Surrogate()
    surrogate.fit(points, figures, rough)
    unit = np.median(pdist(points))
    choices = (
        GaussianProcessRegressor(
            Matern(length * unit, nu=1.5), alpha=noise + 0.3 * rough, optimizer=None
        ).fit(points, figures)
        for length in (0.3, 1.0, 3.0, 10.0)
        for noise in (1e-4, 1e-3, 1e-2)
    )
    reference = max(choices, key=lambda process: process.log_marginal_likelihood_value_)
    expected = reference.predict(pool, return_cov=True)
    for found, wanted in zip(surrogate.predict(pool), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_one_hopeless_score_does_not_blind_the_surrogate():
    space = SPACES["gradient"]
    candidates = sample_expressions(space.grammar, 6, 60, 0)
    portraits = {e: np.random.default_rng(i).random(3) for i, e in enumerate(candidates)}
    figure = {e: float(portraits[e].sum()) for e in candidates}
    ranks = []
    for hopeless in (0.0, -1e6):
        portray = portraits.get
        proposer = GrammarProposer(space, 0, iter(candidates), portray, {"order": 1.0})
        for e in candidates[:20]:
            proposer.learn(Entry(e, (figure[e] if e is not candidates[0] else hopeless,)))
        best = sorted(candidates[20:], key=figure.get, reverse=True)
        ranks.append(np.mean([best.index(proposer.propose().expression) for _ in range(8)]))
    assert max(ranks) < 10  # by chance 19.5


def test_a_batch_is_not_the_same_thing_twice():
    covariance = np.eye(3)
    covariance[0, 1] = covariance[1, 0] = 1.0  # the first two look the same
    assert hopes(np.array([1.0, 0.9, 0.5]), covariance, 2, 1.0) == [0, 2]


def test_the_elite_is_the_front_and_the_top():
    parse = load_grammar("gradient").parse
    archive = Archive(top=1, sample=4)
    figures = {"G": 0.1, "relu(G)": 0.5, "abs(G)": 0.4, "relu(abs(G))": 0.4, "relu(G) * A": 0.9}
    for text, figure in figures.items():
        archive.add(Entry(parse(text), (figure,)))
    archive.add(Entry(parse("A"), (2.0,), complete=False))
    assert [str(e.expression) for e in archive.elite()] == ["relu(G) * A", "relu(G)", "G"]


def test_a_front_of_two_goals_keeps_what_is_best_in_either():
    parse = load_grammar("gradient").parse
    archive = Archive(top=1, sample=4)
    for text, values in {"G": (0, 1), "A": (1, 0), "abs(G)": (0, 0), "abs(A)": (2, 2)}.items():
        archive.add(Entry(parse(text), values))
    assert {str(e.expression) for e in archive.elite()} == {"G", "A", "abs(A)"}


@pytest.mark.parametrize("mix", [{"edit": -1.0}, {"edits": 1.0}, {"edit": 0.0}])
def test_a_mix_that_is_none_is_refused(mix):
    with pytest.raises(OptionError, match="mix"):
        GrammarProposer(SPACES["gradient"], 0, mix=mix)


def test_a_space_without_so_cheap_an_expression_is_refused():
    with pytest.raises(OptionError, match="cheapest costs 1"):
        Derivations(load_grammar("gradient"), 0)


SITES = ("deep", "middle", "fine")
LAYERED = Derivations(load_grammar("network").at(SITES), 12)


def test_the_same_formula_at_another_layer_is_one_edit_away():
    found = Edits(LAYERED).neighbours(parse("cam[deep](relu(G)) * cam[fine](A)"))
    for text in ("cam[middle](relu(G)) * cam[fine](A)", "cam[deep](relu(G)) * cam[middle](A)",
                 "smooth(cam[deep](relu(G)) * cam[fine](A))"):  # fmt: skip
        assert parse(text) in found, text


def test_leaders_of_each_pair_of_layers_come_first_and_then_a_third():
    combinations = Combinations(LAYERED)
    texts = ["cam[deep](G)", "cam[fine](A)", "cam[deep](A)", "cam[middle](relu(G))"]
    ranked = [parse(text) for text in texts]
    leaders = combinations.leaders(ranked)
    first = combinations.untried(ranked, leaders)
    assert set(map(str, first)) == {
        f"{one} {sign} {other}"
        for one, other in (("cam[deep](G)", "cam[fine](A)"),
                           ("cam[deep](G)", "cam[middle](relu(G))"),
                           ("cam[fine](A)", "cam[middle](relu(G))"))
        for sign in "*+"
    }  # fmt: skip
    then = combinations.untried([first[0], *ranked, *first[1:]], leaders)
    assert {str(e.children[1]) for e in then} == {"cam[middle](relu(G))"}
    assert {e.operator.name for e in then} == {"mul", "add"}
    assert all(e.children[0] is first[0] for e in then)
    assert combinations.untried([first[0], *ranked, *first[1:], *then], leaders) == []


def test_a_published_cam_beyond_the_grammar_leads_no_layer():
    """It stood in the way of the next: nothing of its layer was combined."""
    ranked = map(parse, ["cam[deep](channelsum(relu(G * A)))", "cam[deep](G)"])
    assert Combinations(LAYERED).leaders(ranked) == {"deep": [parse("cam[deep](G)")]}


def test_what_leads_at_other_layers_is_tried_at_this_one():
    texts = ("cam[deep](relu(G))", "cam[fine](A)", "smooth(cam[deep](A))")
    combinations = Combinations(LAYERED)
    made = combinations.moved(combinations.leaders(map(parse, texts)), "fine")
    assert list(map(str, made)) == ["cam[fine](relu(G))"]


def test_combinations_stay_in_the_grammar_and_under_the_cost():
    combinations = Combinations(LAYERED)
    ranked = [e for e in sample_expressions(LAYERED.grammar, 6, 200, 0) if len(e.sites) == 1]
    leaders = combinations.leaders(ranked)
    pairs = combinations.pairs(leaders)
    assert pairs
    reshaped = combinations.reshaped(pairs)
    assert parse("symsqrt(cam[deep](G))") in combinations.reshaped([parse("cam[deep](G)")])
    for expression in (*pairs, *combinations.extended(pairs, leaders), *reshaped):
        assert expression in LAYERED.grammar
        assert expression.cost <= 12


def test_what_was_dropped_late_ranks_before_what_was_dropped_early():
    archive = Archive(top=2, sample=4)
    for text, value, complete, seen in (
        ("G", 0.5, False, 0.1), ("A", 0.1, True, 1.0), ("relu(G)", 0.2, False, 0.5),
        ("abs(G)", 0.3, False, 0.1),
    ):  # fmt: skip
        archive.add(Entry(parse(text), (value,), complete, seen))
    assert list(map(str, archive.ranked())) == ["A", "relu(G)", "G", "abs(G)"]
