"""Pictures of fronts: drawn for any directions and names, and refused where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sycam.errors import OptionError, RunError
from sycam.report.fronts import (
    LISTED,
    Mark,
    _edge,
    draw_agreement,
    draw_cost_front,
    draw_goals,
)
from sycam.search.dominance import non_dominated

FRONT = [
    Mark("G", (0.3, 0.5, 0.2), 1),
    Mark("mean(relu(G)) * max(A)", (0.4, 0.4, 0.1), 4),
    Mark("softmax(mean(G)) * $A_k$ " + "+ relu(G) " * 30, (0.5, 0.3, 0.4), 60),
]
KNOWN = [
    Mark("grad-cam", (0.25, 0.4, 0.3), 2),
    Mark("eigen-cam", (0.2, 0.3, 0.3)),
    Mark("random-weights", (0.0, 0.1, 0.9), control=True),
]


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize("higher", [True, False])
def test_score_against_cost(higher, tmp_path):
    path = draw_cost_front(FRONT, KNOWN, "road", higher, tmp_path / "new" / "cost.png", "demo")
    assert path == tmp_path / "new" / "cost.png"
    again = draw_cost_front(FRONT, KNOWN, "road", higher, tmp_path / "again.png", "demo")
    np.testing.assert_array_equal(pixels(path), pixels(again))
    bare = draw_cost_front(FRONT[:1], [], "road", higher, tmp_path / "bare.png")
    assert pixels(bare).std() > 0


@pytest.mark.parametrize("goals", [2, 3])
def test_goal_against_goal_in_a_panel_a_pair(goals, tmp_path):
    names, directions = ["road", "iou", "complexity"][:goals], [True, True, False][:goals]
    many = FRONT + [Mark(f"formula {i}", (0.1, 0.1, 0.5), i) for i in range(2 * LISTED)]
    path = draw_goals(
        many, KNOWN, names, directions, (0.0, 0.1, 0.9)[:goals], tmp_path / "goals.png",
        chosen="G", cloud=np.random.default_rng(0).random((50, goals)),
    )  # fmt: skip
    height, width, _ = pixels(path).shape
    assert width / height > (1 if goals == 2 else 3)  # one panel, or three


def test_search_against_held_out(tmp_path):
    names = [mark.name for mark in FRONT]
    drawn = [
        draw_agreement([0.3, 0.4, 0.5], heldout, names, "road", tmp_path / f"{i}.png", "G",
                       [("grad-cam", 0.2, 0.2)])
        for i, heldout in enumerate(([0.3, 0.3, 0.3], [0.3, 0.4, 0.5]))
    ]  # fmt: skip
    assert not np.array_equal(*map(pixels, drawn))
    draw_agreement([0.3], [0.3], ["G"], "road", tmp_path / "one.png")  # no extent


levels = st.integers(0, 5).map(float)


@given(st.lists(st.tuples(levels, levels), min_size=1, max_size=9), st.booleans(), st.booleans())
def test_the_line_joins_what_nothing_beats_in_the_two_goals(points, first, second):
    points = np.array(points)
    turned = points * [1 if first else -1, 1 if second else -1]
    expected = {tuple(p) for p in points[non_dominated(turned)].tolist()}
    edge = _edge(points, (first, second)).tolist()
    assert {tuple(p) for p in edge} == expected
    assert edge == sorted(edge, key=lambda p: p[0])


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda p: draw_cost_front([], KNOWN, "road", True, p), "nothing to draw"),
        (lambda p: draw_goals([], [], ["a", "b"], [True] * 2, [0, 0], p), "nothing to draw"),
        (lambda p: draw_goals(FRONT, [], ["a"], [True], [0], p), "two or more goals, got 1"),
        (lambda p: draw_goals([Mark("G", (1.0,))], [], ["a", "b"], [True] * 2, [0, 0], p),
         "G has 1 figures for 2 goals"),
        (lambda p: draw_agreement([], [], [], "road", p), "0 formulas"),
        (lambda p: draw_agreement([1], [1, 2], ["G"], "road", p), "1 search and 2 held-out"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(draw, said, tmp_path):
    with pytest.raises(OptionError, match=said):
        draw(tmp_path / "picture.png")
    assert not any(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot write picture"):
        draw_cost_front(FRONT, KNOWN, "road", True, tmp_path / "file" / "cost.png")
