"""Where the page's drawings put what they show."""

from __future__ import annotations

import pytest

from sycam.report.html.curves import Curve, Curves
from sycam.report.html.figures import drawings, round_ticks


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (-0.913, 0.0, ["−0.8", "−0.6", "−0.4", "−0.2", "0.0"]),
        (0, 90, ["0", "20", "40", "60", "80"]),
        (0.41, 0.4342, ["0.410", "0.415", "0.420", "0.425", "0.430"]),
        (3.0, 4100.0, ["1000", "2000", "3000", "4000"]),
    ],
)
def test_ticks_are_round_and_within_the_data(low, high, texts):
    values, shown = round_ticks(low, high, 5)
    assert shown == texts
    assert all(low <= value <= high for value in values)
    assert [float(text.replace("−", "-")) for text in shown] == values


def test_curves_of_removal_end_where_the_axis_does():
    curves = Curves(4, (10.0, 50.0, 70.0), (Curve("G", (-0.1, -0.2, -0.3), (0.0, -0.1, -0.2)),))
    for drawing in drawings(curves):
        *_, last = drawing["lines"][0]["points"].split()
        assert float(last.partition(",")[0]) == drawing["right"]
        assert max(share["at"] for share in drawing["shares"]) <= drawing["right"]
    assert drawings(None) == []
