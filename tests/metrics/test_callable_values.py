"""A callable target may have any values and any unit: nothing may hang on the unit, and what needs
a probability asks for one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sycam.errors import OptionError
from sycam.metrics import find_metric
from sycam.metrics.context import Scale
from sycam.problem.options import DataOptions, ExplainOptions
from sycam.problem.problem import Problem
from sycam.problem.request import Request
from sycam.runs.certificate import certificate_of
from sycam.runs.resuming.folder import open_folder
from sycam.search import SearchOptions
from sycam.search.racing.sequential_test import SequentialTest
from sycam.search.run import run_search
from sycam.search.selection.rules import RULES, ordering

MAPS = ["mean(A)", "mean(G)", "-relu(G)"]
OF_VALUES = ["road", "road-morf", "road-lerf", "deletion", "insertion", "drop-in-deletion",
             "top-k-drop", "average-drop:kind=absolute"]  # fmt: skip
UNITS = [1e-7, 1e-2, 1e5]


def options(**more) -> SearchOptions:
    return SearchOptions(budget="1m", **more)


def in_unit(unit: float):
    return lambda row: unit * row[1]


@pytest.mark.parametrize("name", OF_VALUES)
def test_scores_are_in_the_targets_unit(name, small_network, small_images, score):
    """Seven decimals and a rise of 1e-6 were absolute: at 1e-7 ROAD was 2.25 instead of 2.218."""
    plain = score(name, small_network, small_images, MAPS, target=in_unit(1.0))
    for unit in UNITS:
        scaled = score(name, small_network, small_images, MAPS, target=in_unit(unit))
        np.testing.assert_allclose(scaled / unit, plain, rtol=1e-4, atol=2e-6)


def test_a_rise_is_told_in_any_unit(small_network, small_images, score):
    name = "increase-in-confidence"
    plain = score(name, small_network, small_images, MAPS, target=in_unit(1.0))
    assert 0 < plain.mean() < 1
    for unit in UNITS:
        assert (score(name, small_network, small_images, MAPS, target=in_unit(unit)) == plain).all()


@pytest.mark.parametrize("name", ["average-drop", "average-gain", "hci", "adcc", "arcc", "road"])
def test_a_callable_probability_is_scored_as_the_class_is(name, small_network, small_images, score):
    own = score(name, small_network, small_images, ["mean(A)"], target=1)
    given = score(
        name, small_network, small_images, ["mean(A)"], target=lambda row: row.softmax(-1)[1]
    )
    if name in ("adcc", "arcc"):  # their coherency is that of heatmaps without a gradient
        assert given.shape == own.shape
    np.testing.assert_allclose(given, own, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    ["max-sensitivity", "equivariance", "coherency", "randomisation", "quantus:MPRT",
     "quantus:MaxSensitivity:nr_samples=1"],
)  # fmt: skip
def test_p_is_the_callables_value_where_heatmaps_are_made_again(
    name, small_network, small_images, score
):
    """It was the probability of the predicted class there: p * mean(G) was 1.32, the map that it
    is equal to 0.23."""
    if name.startswith("quantus"):
        pytest.importorskip("quantus")

    def target(row):
        return (row[1] - row[0]).tanh() - 2

    times_p, negated = score(
        name, small_network, small_images, ["p * mean(G)", "neg(mean(G))"], target=target
    )
    np.testing.assert_allclose(times_p, negated, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["quantus:FaithfulnessCorrelation", "quantus:Completeness", "quantus:RandomLogit"]
)
def test_quantus_metrics_that_ask_for_a_class_refuse_callables(
    name, small_network, small_images, score
):
    """They measured the class that is predicted, whatever the callable explained."""
    pytest.importorskip("quantus")
    with pytest.raises(OptionError, match="the score of a class, but a callable is explained"):
        score(name, small_network, small_images, MAPS, target=lambda row: row[0] - 2)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("average-drop", "needs positive values, .* use average-drop:kind=absolute"),
        ("hci", "needs positive values, .* use increase-in-confidence"),
        ("adcc", "needs positive values, .* use average-drop:kind=absolute beside coherency"),
        ("average-gain", "needs a probability, .* use average-drop:kind=absolute"),
        ("arcc", "needs a probability, .* use road beside coherency"),
        ("0.5 * adcc + 0.5 * road", "'adcc' needs positive values"),
    ],
)
def test_what_needs_a_probability_refuses_other_values(
    name, said, small_network, small_images, score
):
    """Clean values of 0 and less made average-drop perfect for every map."""
    with pytest.raises(OptionError, match=said) as error:
        score(name, small_network, small_images, MAPS, target=lambda row: row[1] - 100)
    assert "or a target that returns a probability, like lambda row: row.softmax" in str(
        error.value
    )


def test_a_value_that_is_not_positive_on_a_held_out_image_counts_as_lost(
    small_network, small_images, score, context12, maps12
):
    context = context12()
    context.classifier.score = lambda row: row[0]
    context.clean[:] = torch.tensor([2.0, 0.0, -1.0])
    assert find_metric("average-drop").score(maps12(2), context)[:, 1:].tolist() == [[1, 1]] * 2


def test_the_scale_is_what_the_targets_values_show():
    values = torch.linspace(-30, 10, 401)
    assert Scale.of(values) == Scale(30.0, pytest.approx(36.0))
    assert Scale.of(torch.zeros(5)) == Scale.of(torch.tensor([torch.nan])) == Scale()
    usual, road, iou = options(), find_metric("road"), find_metric("iou")
    assert usual.tolerance_of(road, 36.0) == pytest.approx(36 * usual.tolerance_of(road))
    assert usual.tolerance_of(iou, 36.0) == usual.tolerance_of(iou)
    assert options(tolerance=0.5).tolerance_of(road, 36.0) == 0.5


def table(unit: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    quality = rng.normal(0, 0.01, 60)[:, None]
    scores = 0.2 + quality + rng.normal(0, 0.1, 48) + rng.normal(0, 0.03, (60, 48))
    return (unit * scores).round(7 - int(np.log10(unit)))


@pytest.mark.parametrize("unit", UNITS)
def test_a_race_drops_the_same_in_any_unit(unit):
    """At scores times 0.01 the best was lost in 18 of 20 races."""

    def dropped(unit: float) -> list[bool]:
        scores = table(unit)
        tolerance = options().tolerance_of(find_metric("road"), unit)
        race = SequentialTest(0.05, tolerance, 1, np.full((48, 1), 0.3 * unit))
        best, *others = np.argsort(-scores.mean(1))
        peers = scores[others[:12]][::-1, :, None]
        seen = np.where(np.arange(48) < 16, scores, np.nan)[..., None]
        return [race.drops(scores[best][:, None], seen[i], 1, peers) for i in others]

    plain = dropped(1.0)
    assert 0 < sum(plain) < len(plain)
    assert dropped(unit) == plain


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("unit", [1e-12, *UNITS])
def test_rules_choose_the_same_in_any_unit(rule, unit):
    costs = np.arange(60) % 7
    assert (ordering(table(1.0) * unit, costs, rule) == ordering(table(1.0), costs, rule)).all()


def test_a_search_finds_the_same_in_any_unit(small_network, small_images, tmp_path):
    def found(unit: float):
        asked = Request(
            small_network, "3", small_images, "deletion",
            data=DataOptions(search_images=4, heldout=3),
            explain=ExplainOptions(target=in_unit(unit)),
        )  # fmt: skip
        problem = Problem.of(asked)
        wanted = SearchOptions(budget="15", max_cost=2, constants=False)
        result = run_search(problem, wanted, open_folder(tmp_path / str(unit)))
        return result, certificate_of(problem, wanted, result)

    (plain, of_plain), (small, of_small) = found(1.0), found(1e-7)
    assert small.winner.name == plain.winner.name
    assert small.winner.mean == pytest.approx(1e-7 * plain.winner.mean, rel=1e-4)
    assert of_small.tolerance == pytest.approx(1e-7 * of_plain.tolerance, rel=1e-4)
    assert of_small.dropped == of_plain.dropped
