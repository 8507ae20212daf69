"""What becomes of the leaders once all proposals were scored."""

from __future__ import annotations

from types import SimpleNamespace

from sycam.events import ignore
from sycam.grammar import load_grammar
from sycam.metrics import find_metric
from sycam.search.outcome import Outcome
from sycam.search.phases.refinement import Refinement


def test_nothing_is_tuned_where_all_formulas_dropped_out_behind_a_published_cam():
    race = SimpleNamespace(finished=[], standings={}, metric=find_metric("road"))

    def enter(*_: object) -> list:
        raise AssertionError("there is nothing to score")

    entrance = SimpleNamespace(race=race, allowance=None, enter=enter)
    Refinement(entrance, load_grammar("network"), Outcome(), 0, ignore).constants()
