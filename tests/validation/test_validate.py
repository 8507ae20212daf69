"""The statistics of the held-out evidence."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sycam.metrics import Metric
from sycam.scoring.statistics import (
    Comparison,
    Interval,
    Scored,
    holm,
    mean_interval,
    sign_flip_p,
    swap_p,
    wilcoxon_p,
)
from sycam.validation.findings import Row, Validation


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_only_raises_and_keeps_the_order(p_values):
    corrected = holm(p_values)
    assert all(c >= p for c, p in zip(corrected, p_values, strict=True))
    assert all(c <= 1 for c in corrected)
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()


def test_sign_flip_is_exact_on_few_pairs():
    # All of 2^5 sign patterns: only the observed one and its mirror reach the observed mean.
    assert sign_flip_p(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == pytest.approx(2 / 32)


def test_sign_flip_and_wilcoxon_agree_with_the_t_test_on_normal_differences():
    differences = np.random.default_rng(0).normal(0.02, 0.1, 200)
    t = stats.ttest_1samp(differences, 0).pvalue
    assert sign_flip_p(differences) == pytest.approx(t, abs=0.01)
    assert wilcoxon_p(differences) == pytest.approx(t, abs=0.05)


def test_no_difference_is_no_evidence():
    assert sign_flip_p(np.zeros(10)) == 1
    assert wilcoxon_p(np.zeros(10)) == 1


def test_the_interval_covers_the_mean_about_as_often_as_it_says():
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(60):
        found = mean_interval(generator.exponential(1.0, 60))
        assert found.low <= found.mean <= found.high
        hits += found.low <= 1.0 <= found.high
    assert hits >= 50


def test_equal_values_have_no_width():
    found = mean_interval(np.full(5, 0.25))
    assert (found.low, found.mean, found.high) == (0.25, 0.25, 0.25)


def test_an_undefined_difference_is_no_evidence():
    """Its p was 0, as every comparison with NaN fails."""
    undefined = np.array([0.1, np.nan, 0.3])
    assert sign_flip_p(undefined) == wilcoxon_p(undefined) == 1
    assert np.isnan([mean_interval(undefined).mean, mean_interval(undefined).low]).all()


def test_an_undefined_published_figure_is_never_the_best():
    """NaN compares with nothing, so that the order of the rows used to decide."""

    def row(name: str, kind: str, figure: float, against: Comparison | None) -> Row:
        return Row(
            name=name, kind=kind, expression=None, cost=None, search=figure, sound=figure,
            degenerate=0, heldout=Interval(figure, figure, figure), panel={}, against=against,
            scores=(),
        )  # fmt: skip

    ahead = Comparison(Interval(0.1, 0.05, 0.15), 0.001, 0.002, 0.001)
    winner = row("winner", "winner", 0.9, None)
    rivals = [
        row("grad-cam", "published", math.nan, replace(ahead, p_holm=1.0)),
        row("layer-cam", "published", 0.8, ahead),
    ]
    for order in (rivals, rivals[::-1]):
        found = Validation(
            metric="road", images=4, sound_images=4, rows=(winner, *order),
            best_published="layer-cam", chosen_published="layer-cam", beats_published=True,
            directions={"road": True},
        )  # fmt: skip
        assert [(v.best_published, v.beats_published) for v in found.verdicts] == [
            ("layer-cam", True)
        ]


class Correlation(Metric):
    """A figure that is no mean."""

    name, summary, source = "correlation-of-two", "two components' correlation", "here"
    components = ("a", "b")

    def score(self, maps, context):
        raise NotImplementedError

    def reduce(self, values, fitted=None):
        apart = values - values.mean(-2, keepdims=True)
        a, b = apart[..., 0], apart[..., 1]
        return (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))


def test_figures_that_are_no_means_differ_by_chance_as_often_as_p_says():
    """Two methods alike, 10 images: signs of pseudo-values flipped say p < .05 far more often."""
    rng, metric = np.random.default_rng(0), Correlation()
    swapped = flipped = 0
    for _ in range(200):
        image = rng.exponential(1.0, (10, 1))
        scored = [
            Scored(metric.per_image(v), metric, v) for v in image * rng.exponential(1.0, (2, 10, 2))
        ]
        swapped += swap_p(*scored) < 0.05
        flipped += sign_flip_p(scored[0].oriented - scored[1].oriented) < 0.05
    assert swapped <= 18  # 10 expected; more than 18 has a probability below 0.005
    assert flipped > swapped


def test_swapping_the_components_of_a_mean_is_flipping_signs():
    class Mean(Correlation):
        def reduce(self, values, fitted=None):
            return values[..., 0].mean(-1)

    values = np.random.default_rng(1).normal(0, 1, (2, 9, 2))
    one, other = (Scored(v[:, 0], Mean(), v) for v in values)
    assert swap_p(one, other) == pytest.approx(sign_flip_p(one.oriented - other.oriented))
    assert swap_p(one, one) == 1
