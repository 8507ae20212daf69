"""Published CAMs in the order that images put them in, whatever order they were measured in."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from sycam.methods.rivals import best_rival


@dataclass(frozen=True)
class Row:
    name: str
    kind: str
    mean: float


ROWS = [
    Row("relu(G)", "winner", 0.9),
    Row("grad-cam-elementwise@a", "published", 0.5),
    Row("layer-cam@b", "published", 0.5),
    Row("layer-cam@a", "published", 0.5),
    Row("full-grad", "baseline", 0.4),
    Row("random", "control", 0.8),
    Row("grad-cam@c", "published", float("nan")),
]


@given(st.permutations(ROWS))
def test_the_best_rival_is_the_same_in_whatever_order_they_come(rows):
    best = best_rival(rows, lambda row: row.mean)
    # Neither a winner nor a control; of equal ones the shortest name, then the first.
    assert best.name == "layer-cam@a"


def test_what_has_no_figure_is_chosen_last():
    undefined, defined = ROWS[6], Row("x-grad-cam@z", "published", -5.0)
    assert best_rival([undefined, defined], lambda row: row.mean) is defined
    assert best_rival([undefined], lambda row: row.mean) is undefined
    assert best_rival(ROWS[:1] + ROWS[5:6], lambda row: row.mean) is None
