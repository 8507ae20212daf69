"""What is said of a winner."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from sycam.report.verdict import GOOD, POOR, sentences
from sycam.scoring.statistics import Comparison, Interval
from sycam.validation.findings import AnotherImputer, Row, Validation

AHEAD = Comparison(Interval(0.1, 0.05, 0.15), 0.001, 0.002, 0.001)
LEVEL = Comparison(Interval(0.01, -0.05, 0.06), 0.7, 0.7, 0.7)
BEHIND = Comparison(Interval(-0.1, -0.15, -0.05), 0.001, 0.001, 0.001)


def row(name: str, kind: str, figure: float, against: Comparison | None) -> Row:
    return Row(
        name=name, kind=kind, expression=None, cost=None, search=figure, sound=figure, degenerate=0,
        heldout=Interval(figure, figure, figure), panel={}, against=against, scores=(figure,) * 4,
    )  # fmt: skip


def said(under_road: Comparison, elsewhere: Comparison | None, known_as: str | None = None):
    another = elsewhere and AnotherImputer("road:imputer=blur", "grad-cam", elsewhere)
    found = Validation(
        metric="road", images=4, sound_images=4,
        rows=(row("G", "winner", 0.4, None), row("grad-cam", "published", 0.3, under_road)),
        best_published="grad-cam", chosen_published="grad-cam", beats_published=True,
        directions={"road": True}, another_imputer=another,
    )  # fmt: skip
    result = SimpleNamespace(
        validation=found, metric="road", best=SimpleNamespace(known_as=known_as), best_new=None,
        best_known=None, known=lambda name: SimpleNamespace(place=name),
    )  # fmt: skip
    return [(one.tone, one.claim) for one in sentences(result) if "imputer" in one.claim]


@pytest.mark.parametrize(
    ("elsewhere", "expected"),
    [
        (AHEAD, [(GOOD, "The lead survives another imputer")]),
        (LEVEL, [(POOR, "The lead does not survive another imputer")]),
        (BEHIND, [(POOR, "The lead does not survive another imputer")]),
        (None, []),
    ],
)
def test_whether_a_lead_is_one_of_the_imputer(elsewhere, expected):
    assert said(AHEAD, elsewhere) == expected


def test_where_there_is_no_lead_none_is_said_to_survive():
    assert said(replace(AHEAD, p_holm=0.3), AHEAD) == []
    assert said(AHEAD, AHEAD, known_as="grad-cam") == []
