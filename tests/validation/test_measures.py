"""What of a budget is kept for held-out evidence, by hand."""

from __future__ import annotations

import pytest

from sycam.validation.measures import Workload


@pytest.fixture
def work():
    # 18 passes a heatmap, 100 images: three methods take 5,400, with the measuring 5,700.
    return Workload(own=18, least=5_700, whole=60_000, second=None)


def test_all_of_it_is_kept_where_that_is_little(work):
    found = work.evidence(pace=18 * 0.0001, seconds=180, share=0.4)
    assert (found.kept, found.whole) == pytest.approx((6.0, 6.0))


def test_a_share_is_kept_where_all_would_take_longer(work):
    found = work.evidence(pace=18 * 0.01, seconds=180, share=0.4)
    assert (found.kept, found.whole) == pytest.approx((72.0, 600.0))


def test_the_essential_part_is_kept_room_for_whatever_the_share(work):
    assert work.evidence(18 * 0.01, 120, 0.1).kept == pytest.approx(57.0)
    # A budget that is too short for them is halved.
    assert work.evidence(18 * 0.1, 90, 0.1).kept == pytest.approx(45.0)


def test_nothing_is_kept_of_a_number_of_candidates(work):
    found = work.evidence(18 * 0.01, None, 0.4)
    assert (found.kept, found.whole) == pytest.approx((0.0, 600.0))


def test_the_pace_of_passes_is_measured_where_the_metric_has_none():
    found = Workload(own=0.2, least=100, whole=1_000, second=0.01).evidence(5.0, 100, 0.5)
    assert found.whole == pytest.approx(10.0)


def test_what_the_most_important_part_takes(work):
    assert work.evidence(18 * 0.01, None, 0.4).least == pytest.approx(57.0)
    assert work.evidence(18 * 0.01, 10, 0.4).least == pytest.approx(57.0)


def test_the_choice_image_by_image_is_kept_room_for():
    """At 0.01 seconds a pass the essential part takes 129 seconds, 90 of them the choice."""
    work = Workload(own=18, least=12_900, whole=69_000, second=None, adaptive=9_000)
    found = work.evidence(18 * 0.01, 300, 0.1)
    assert (found.kept, found.adaptive) == pytest.approx((129.0, 90.0))
