"""Intervals at few images: they cover the true figure about as often as they say, or warn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sycam.metrics import find_metric
from sycam.scoring import statistics
from sycam.scoring.statistics import caution, compared, interval, mean_interval

TRIALS = 250
DRAWN = {
    # Scores of one image, and their true mean.
    "normal": (lambda rng, n: rng.normal(size=n), 0.0),
    "uniform": (lambda rng, n: rng.random(n), 0.5),
    "two heaps": (lambda rng, n: rng.beta(0.5, 0.5, n), 0.5),
    "skewed": (lambda rng, n: rng.exponential(size=n), 1.0),
    "mostly zero": (lambda rng, n: (rng.random(n) < 0.3) * rng.random(n), 0.15),
}


def coverage(name: str, count: int) -> float:
    draw, mean = DRAWN[name]
    rng, hits = np.random.default_rng(0), 0
    for trial in range(TRIALS):
        found = mean_interval(draw(rng, count), trial)
        assert found.low <= found.mean <= found.high
        hits += found.low <= mean <= found.high
    return hits / TRIALS


@pytest.mark.parametrize("count", [8, 16, 32])
@pytest.mark.parametrize("name", DRAWN)
def test_intervals_cover_the_true_mean_at_few_images(name, count, monkeypatch):
    """BCa covered .86 of normal, .83 of skewed and .83 of mostly zero scores at 8 images."""
    monkeypatch.setattr(statistics, "RESAMPLES", 499)
    least = 0.83 if (name, count) == ("mostly zero", 8) else 0.88 if name == "skewed" else 0.91
    assert coverage(name, count) >= least


def test_rare_scores_are_where_intervals_fail_and_a_warning_says_so(monkeypatch):
    """No resampling knows of what no image showed: 3 % of the images, 32 of them."""
    monkeypatch.setattr(statistics, "RESAMPLES", 499)
    monkeypatch.setitem(
        DRAWN, "rare", (lambda rng, n: (rng.random(n) < 0.03) * rng.random(n), 0.015)
    )
    assert coverage("rare", 32) < 0.8
    rng = np.random.default_rng(1)
    warned = [caution([DRAWN["rare"][0](rng, 32)]) for _ in range(50)]
    assert all("images have one score under some method" in said for said in warned)


def test_few_images_are_warned_of_and_their_number_is_said():
    scores = np.random.default_rng(0).random(64)
    assert caution([scores[:31]]).startswith("31 images are few")
    assert caution([scores[:32]]) is None
    assert caution([]) is None


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6).map(np.array),
    st.sampled_from(["road", "iou"]),
)
def test_a_mean_of_few_images_cannot_leave_the_metrics_range(places, name):
    """ROAD of five images was printed with [-2.35, 2.06]."""
    metric = find_metric(name)
    low, high = metric.range
    values = low + places * (high - low)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 99)
        found, free = interval(values, metric), mean_interval(values)
        (against,) = compared([values], spans=[metric.span])
    slack = 1e-12  # of the mean of equal values
    assert low - slack <= found.low <= found.mean <= found.high <= high + slack
    assert low >= free.low or found.low == free.low
    assert high <= free.high or found.high == free.high
    assert against.difference.high <= metric.span + slack


def test_an_interval_stays_as_it_is_where_scores_leave_the_metrics_range():
    """Those of a callable target."""
    values = np.array([0.2, 5.0, -7.0, 0.1])
    assert interval(values, find_metric("road")) == mean_interval(values)
