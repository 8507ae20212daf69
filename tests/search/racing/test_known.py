"""Published CAMs under a limit of time: the best come through, and a record is played again."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from sycam.methods import Method
from sycam.metrics import find_metric
from sycam.scoring.blocks import ImageBlock
from sycam.scoring.scorer import Score
from sycam.search.racing.known import LEAST, score_known

STAGES = (ImageBlock(0, 4, 4), ImageBlock(4, 6, 6), ImageBlock(6, 10, 10))


class Board:
    """Scores of methods that take a second an image; method m7 has 0.7 on every image."""

    metric, stages, pace, is_timed = find_metric("insertion"), STAGES, 1.0, True

    def __init__(self):
        self.seen, self.seconds = {}, 0.0

    def has(self, name, stage):
        return (name, stage) in self.seen

    def score_method(self, method, stage):
        if not self.has(method.name, stage):
            self.seen[method.name, stage] = True
            self.seconds += STAGES[stage].stop - STAGES[stage].start
        return self.of(method.name, stage)

    def of(self, name, stage):
        values = np.full(STAGES[stage].stop, int(name[-1]) / 10)
        return Score.of(self.metric, values, 0, True)


METHODS = [Method(f"m{i}", "published", direct=SimpleNamespace()) for i in (3, 1, 8, 2, 7, 5)]


def test_without_a_limit_all_see_all_in_their_order():
    found = score_known(METHODS, Board(), lambda: math.inf)
    assert [c.name for c in found.whole] == [m.name for m in METHODS]
    assert found.counts is None
    assert found.partly == ()


@pytest.mark.parametrize("seconds", [0, 30, 36, 40, 48, 59, 60])
def test_the_best_come_through_and_the_time_is_kept(seconds):
    board = Board()
    found = score_known(METHODS, board, lambda: seconds - board.seconds)
    assert board.seconds <= max(seconds + 6 * LEAST, 10 * LEAST)  # the last stages of the least
    assert len(found.whole) >= LEAST
    if seconds >= 36:  # all enter: then the two best are those of all
        assert {c.name for c in found.whole} >= {"m8", "m7"}
        assert len(found.whole) + len(found.partly) == len(METHODS)
        assert all(c.mean <= min(w.mean for w in found.whole) for c in found.partly)


@pytest.fixture
def habit():
    """Grad-CAM at two layers, worse than all others; scores are told by the digit at the end."""
    return [
        *METHODS,
        *(Method(f"grad-cam@layer{i}", "published", direct=SimpleNamespace()) for i in (0, 1)),
    ]


def test_what_everybody_uses_sees_all_images_at_its_first_layer(habit):
    board = Board()
    found = score_known(habit, board, lambda: 44 - board.seconds)
    assert {c.name for c in found.whole} == {"grad-cam@layer0", "m8"}
    assert {c.name for c in found.partly} == {m.name for m in habit} - {c.name for c in found.whole}


class SlowAtFirst(Board):
    """Seems to take twenty seconds an image, and then takes one."""

    @property
    def pace(self):
        return 20.0 if self.seconds < 12 else 1.0


class SlowToBegin(Board):
    """Seems to take a hundred seconds an image until two methods are measured: workers begin."""

    measured = 0

    @property
    def is_timed(self):
        return self.measured > 1

    @property
    def pace(self):
        return 1.0 if self.is_timed else 100.0 * self.measured

    def score_method(self, method, stage):
        self.measured += not self.has(method.name, stage)
        return super().score_method(method, stage)


def test_what_beginning_takes_keeps_no_method_out_of_a_run_that_goes_on():
    """Three have been scored before; the first that is measured now says nothing of the others."""
    board = SlowToBegin()
    score_known(METHODS[:3], board, lambda: math.inf)
    board.measured = 0
    found = score_known(METHODS, board, lambda: 80 - board.seconds)
    assert len(found.whole) == len(METHODS)
    board = SlowToBegin()
    found = score_known(METHODS, board, lambda: 0.0)
    assert len(found.whole) == LEAST  # no time is none, whatever is known of the pace


def test_where_less_was_taken_than_expected_the_others_get_another_round():
    board = SlowAtFirst()
    found = score_known(METHODS, board, lambda: 50 - board.seconds)
    assert {c.name for c in found.whole} == {"m3", "m1", "m8", "m7"}
    assert 40 < board.seconds <= 50
    assert len(found.counts) > len(STAGES)
    again = score_known(METHODS, Board(), lambda: 0.0, found.counts)
    for one, other in ((again.whole, found.whole), (again.partly, found.partly)):
        assert [(c.name, c.mean) for c in one] == [(c.name, c.mean) for c in other]


@pytest.mark.parametrize("seconds", [0, 30, 36, 48])
def test_a_record_is_played_again_without_a_clock(seconds):
    board = Board()
    found = score_known(METHODS, board, lambda: seconds - board.seconds)
    again = score_known(METHODS, Board(), lambda: math.inf, found.counts)
    assert [c.name for c in again.whole] == [c.name for c in found.whole]
    assert [c.name for c in again.partly] == [c.name for c in found.partly]
    assert again.counts == found.counts


def test_what_is_on_record_takes_no_time():
    board = Board()
    score_known(METHODS, board, lambda: math.inf)
    before = board.seconds
    found = score_known(METHODS, board, lambda: 0.0)
    assert board.seconds == before
    assert found.counts is None
