"""Formulas of metrics: their values, direction, range, bound, cost and figure."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sycam.errors import OptionError
from sycam.metrics import METRICS, find_metric

UP, DOWN = ("road", "iou", "insertion"), ("deletion", "complexity")


# --- values --------------------------------------------------------------------------------------


@st.composite
def formulas(draw, depth=0):
    """Text with a function of scores by name that computes it independently."""
    kind = draw(st.sampled_from(["leaf", "sum", "difference", "scale", "divide", "negate", "call"]))
    if depth > 3 or kind == "leaf":
        name = draw(st.sampled_from(UP + DOWN))
        return name, lambda s: s[name]
    text, value = draw(formulas(depth + 1))
    if kind == "negate":
        return f"-({text})", lambda s: -value(s)
    if kind in ("scale", "divide"):
        number = draw(st.sampled_from((0.5, 3, 0.07)))
        if kind == "scale":
            return f"{number}*({text})", lambda s: number * value(s)
        return f"({text}) / {number}", lambda s: value(s) / number
    other, second = draw(formulas(depth + 1))
    if kind == "call":
        name = draw(st.sampled_from(("harmonic", "min")))
        both = {"min": min, "harmonic": lambda a, b: 2 * a * b / (a + b) if min(a, b) > 0 else 0}
        return f"{name}({text}, {other})", lambda s: both[name](value(s), second(s))
    sign = {"sum": 1, "difference": -1}[kind]
    return f"({text}) {'+' if sign > 0 else '-'} ({other})", lambda s: value(s) + sign * second(s)


@given(formulas(), st.lists(st.floats(0, 1), min_size=10, max_size=10))
def test_a_formula_has_its_value_range_and_direction(formula, numbers):
    """Better scores of all terms make a better whole, within the range that it states."""
    text, value = formula
    try:
        metric = find_metric(text)
    except OptionError:
        return
    scores = []
    for name, one, other in zip(UP + DOWN, numbers[:5], numbers[5:], strict=True):
        low, high = METRICS[name].range
        worse, better = sorted(low + (high - low) * n for n in (one, other))
        if not METRICS[name].higher_is_better:
            worse, better = better, worse
        scores.append((name, worse, better))
    worse, better = ({row[0]: row[column] for row in scores} for column in (1, 2))

    def computed(by_name):
        if not hasattr(metric, "mixture"):
            return by_name[metric.name]
        tensors = {n: torch.tensor(v, dtype=torch.float64) for n, v in by_name.items()}
        return float(metric.mixture.value(tensors))

    assert computed(worse) == pytest.approx(value(worse), abs=1e-6)
    assert metric.oriented(computed(better)) >= metric.oriented(computed(worse)) - 1e-9
    low, high = metric.range
    assert low - 1e-6 <= computed(worse) <= high + 1e-6


@pytest.mark.parametrize(
    ("text", "by_hand"),
    [
        ("0.7*road + 0.3*insertion", lambda r, i, d: 0.7 * r + 0.3 * i),
        ("road - 0.5*deletion", lambda r, i, d: r - 0.5 * d),
        ("(insertion - deletion + 1) / 3", lambda r, i, d: (i - d + 1) / 3),
        ("min(road, insertion)", lambda r, i, d: torch.minimum(r, i)),
        ("harmonic(insertion, 1 - deletion)", lambda r, i, d: 2 / (1 / i + 1 / (1 - d))),
        ("harmonic(insertion, -deletion + 1)", lambda r, i, d: 2 / (1 / i + 1 / (1 - d))),
    ],
)
def test_scores_are_combined_image_by_image(text, by_hand, context12, maps12):
    context, maps = context12(), maps12(2)
    terms = [find_metric(n).score(maps, context) for n in ("road", "insertion", "deletion")]
    metric = find_metric(text)
    torch.testing.assert_close(metric.score(maps, context), by_hand(*terms), rtol=1e-5, atol=1e-6)
    values = metric.score(maps, context).numpy()
    assert metric.reduce(values) == pytest.approx(values.mean(-1))
    assert metric.fit(values[0]) is None
    bounds = [find_metric(n).bound(context) for n in ("road", "insertion", "deletion")]
    torch.testing.assert_close(metric.bound(context), by_hand(*bounds).float())


def test_the_papers_harmonic_mean_can_be_written_down(score, small_network, small_images):
    """ARCC, which is a metric of its own, clips twice ROAD to [0, 1]."""
    text = "harmonic(coherency, 1 - complexity, min(1, 2*road:percentiles=20+40+60+80))"
    formulas = ["mean(G)", "mean(relu(G)) * max(A)"]
    written = score(text, small_network, small_images, formulas)
    torch.testing.assert_close(written, score("arcc", small_network, small_images, formulas))
    assert (written == 0).any()
    assert (written > 0).any()


def test_terms_share_their_passes(context12, maps12):
    context, maps = context12(), maps12(2)
    passes = []
    for text in ("road", "road + 0.5*road-lerf - road-morf"):
        before = context.classifier.passes
        find_metric(text).score(maps, context.scoring(None, None))
        passes.append(context.classifier.passes - before)
    assert passes[0] == passes[1] > 0


# --- figures that are no means -------------------------------------------------------------------


def test_figures_are_combined_where_a_term_is_no_mean(score, small_network, small_images):
    formulas = ["mean(G)", "mean(relu(G)) * max(A)", "G"]
    texts = ("0.5*adcc:reduction=of-means - complexity", "adcc:reduction=of-means", "complexity")
    whole, adcc, complexity = map(find_metric, texts)
    made = [
        score(m, small_network, small_images, formulas).numpy() for m in (whole, adcc, complexity)
    ]
    assert made[0].shape == (3, 7, 4)
    assert find_metric("adcc - complexity").components == ()
    assert whole.components == (
        *(f"adcc:reduction=of-means {c}" for c in adcc.components), "complexity"
    )  # fmt: skip
    figures = 0.5 * adcc.reduce(made[1]) - complexity.reduce(made[2])
    assert whole.reduce(made[0]) == pytest.approx(figures, abs=1e-6)
    # Jackknife: what the figure, here of two parts that are means, loses without an image.
    parts = whole.per_image(made[0][0])
    assert parts.shape == (7,)
    without = np.delete(made[0][0], 3, axis=0)
    assert parts[3] == pytest.approx(7 * figures[0] - 6 * whole.reduce(without), abs=1e-6)


def test_what_a_term_decides_on_the_search_images_is_kept_for_others():
    """The best threshold of these images is not that of the others."""
    metric, alone = (
        find_metric("0.5*iou-best-threshold + 0.5*iou"),
        find_metric("iou-best-threshold"),
    )
    thresholds = len(alone.components)
    seen, unseen = np.zeros((4, thresholds + 1)), np.zeros((4, thresholds + 1))
    seen[:, 2], unseen[:, 5] = 1.0, 1.0
    fitted = metric.fit(seen)
    assert fitted[1] is None
    assert metric.reduce(seen, fitted) == metric.reduce(unseen) == 0.5
    assert metric.reduce(unseen, fitted) == 0.0
    assert alone.reduce(unseen[:, :-1], fitted[0]) == 0.0


# --- what a formula needs ------------------------------------------------------------------------


def test_needs_and_price_are_those_of_the_terms():
    whole = find_metric("0.5*road + 0.3*iou - 0.2*sensitivity-axiom - max-sensitivity")
    terms = [find_metric(n) for n in ("road", "iou", "sensitivity-axiom", "max-sensitivity")]
    assert whole.needs_masks
    assert whole.of_weights
    assert whole.volumes
    assert whole.invariance == "weights"
    assert whole.leaves == terms[2].leaves
    for price in ("passes", "measurements", "shared_measurements"):
        assert getattr(whole, price) == sum(getattr(t, price) for t in terms)
    assert whole.range == (-math.inf, 0.5 * 0.5 + 0.3)


@pytest.mark.parametrize(
    ("text", "better_when_higher", "ends"),
    [
        ("1 - deletion", True, (0, 1)),
        ("-deletion", True, (-1, 0)),
        ("deletion - road", False, (-0.5, 1.5)),
        ("2*deletion", False, (0, 2)),
        ("harmonic(road, iou)", True, (0, 2 / 3)),
        ("min(0.25, road)", True, (-0.5, 0.25)),
        ("-min(road, iou)", False, (-0.5, 0.5)),
    ],
)
def test_direction_and_range(text, better_when_higher, ends):
    metric = find_metric(text)
    assert metric.higher_is_better == better_when_higher
    assert metric.range == pytest.approx(ends)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("road + deletion", r"road is better when higher and deletion is better when lower.*"
         r"turn one of them round: road - deletion"),
        ("2*deletion + 3*iou", r"3\*iou is better when higher.*: 3\*iou - 2\*deletion"),
        ("harmonic(road, deletion)", r"deletion is better when lower; write 1 - deletion"),
        ("min(iou, 2*deletion)", r"write 2 - 2\*deletion"),
        ("harmonic(iou, -deletion)", r"-deletion has none \(-1 to 0\); write 1 - deletion"),
        ("min(iou, max-sensitivity)", r"write 1 - max-sensitivity"),
        ("road*iou", r"metrics are multiplied by numbers; harmonic\(road, iou\) asks for both"),
        ("1 / road", r"road cannot divide; metrics are divided by numbers other than 0"),
        ("road / 0", r"0 cannot divide"),
        ("min(road)", r"min combines two or more scores, got one: min\(road\)"),
        ("min(1, 2)", r"min\(1, 2\) names no metric"),
        ("0*road", r"0 names no metric, or all cancel"),
        ("iou - iou + 3", r"3 names no metric"),
        ("0.00000000001*road", r"weights must lie between 1/1,000,000,000 and 1,000,000,000"),
    ],
)  # fmt: skip
def test_what_says_nothing_is_refused(text, said):
    with pytest.raises(OptionError, match=rf"(?s){said}"):
        find_metric(text)


def test_thirds_stay_thirds_and_equal_terms_become_one():
    assert find_metric("(road + iou) / 3").text == "road / 3 + iou / 3"
    assert find_metric("2*iou/3 - deletion").text == "2*iou / 3 - deletion"
    assert find_metric("road + iou + road - 0.5").text == "-0.5 + 2*road + iou"
    assert find_metric("1/3*(road)").formula == r"\frac{1}{3}\,\text{road}"
    assert find_metric("3*(road/3)").name == "road"
