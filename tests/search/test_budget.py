"""A budget in time is of the whole command: its parts, by arithmetic, on a clock of the test."""

from __future__ import annotations

import math

import pytest

from sycam.errors import OptionError
from sycam.search import budget as budgets
from sycam.search.budget import Budget, Evidence


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(budgets.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("0.5h", 1800)])
def test_times_are_read(text, seconds):
    assert Budget.parse(text).seconds == seconds


@pytest.mark.parametrize(("count", "text"), [(1, "1 candidate"), (500, "500 candidates")])
def test_numbers_of_candidates_are_written_and_read_again(count, text):
    budget = Budget.parse(count)
    assert str(budget) == text
    assert Budget.parse(text).candidates == budget.candidates == count


@pytest.mark.parametrize(
    "text", ["", "0s", "-5m", "5 parsecs", "1.5", "nan s", "5m candidates", "1.5 candidates"]
)
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(OptionError, match="not understood"):
        Budget.parse(text)


def test_the_clock_runs_from_the_start_of_the_command(clock):
    asked = Budget.parse("180s")
    clock[0] += 50  # the options were made long before the command began
    running = asked.started()
    clock[0] += 30
    assert running.elapsed == 30
    assert str(running) == str(asked) == "180s"


def test_the_search_leaves_what_is_kept_for_evidence():
    of_pace = Budget(seconds=180, evidence=lambda pace: Evidence(100 * pace, 500 * pace))
    assert of_pace.for_search(0.5) == 130
    assert Budget(seconds=180).for_search(0.5) == 180
    assert Budget(candidates=40).for_search(0.5) == math.inf
