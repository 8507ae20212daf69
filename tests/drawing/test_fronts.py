"""Pictures of fronts: drawn for any directions and names, and refused where there is nothing."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from sycam.drawing.boards import draw_leaderboard
from sycam.drawing.fronts import (
    LISTED,
    Mark,
    _edge,
    draw_agreement,
    draw_cost_front,
    draw_goals,
)
from sycam.drawing.overlays import ImageRow, draw_grid, written
from sycam.drawing.vector import inline_svg
from sycam.errors import OptionError, RunError
from sycam.report.pictures.animation import _frame
from sycam.search.selection.dominance import non_dominated

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


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


@pytest.mark.parametrize("higher", [True, False])
def test_score_against_cost(higher):
    shown = [pixels(draw_cost_front(FRONT, KNOWN, "road", higher, "demo")) for _ in range(2)]
    np.testing.assert_array_equal(*shown)
    assert pixels(draw_cost_front(FRONT[:1], [], "road", higher)).std() > 0


def test_costs_are_whole_and_a_published_cam_that_costs_less_than_the_front_is_shown():
    (single,) = draw_cost_front(FRONT[1:2], [], "road", True).axes[:1]
    assert [tick for tick in single.get_xticks() if 3.7 <= tick <= 4.3] == [4]
    axis = draw_cost_front(FRONT[1:2], [Mark("grad-cam", (0.2,), 2)], "road", True).axes[0]
    assert axis.get_xlim()[0] < 2 < 4 < axis.get_xlim()[1]


@pytest.mark.parametrize("goals", [2, 3])
def test_goal_against_goal_in_one_panel_per_pair(goals):
    names, directions = ["road", "iou", "complexity"][:goals], [True, True, False][:goals]
    many = FRONT + [Mark(f"formula {i}", (0.1, 0.1, 0.5), i) for i in range(2 * LISTED)]
    figure = draw_goals(
        many, KNOWN, names, directions, (0.0, 0.1, 0.9)[:goals],
        chosen="G", cloud=np.random.default_rng(0).random((50, goals)),
    )  # fmt: skip
    assert pixels(figure).std() > 0
    shown = [axis.get_xlabel() for axis in figure.axes if axis.axison]
    assert len(shown) == (1 if goals == 2 else 3)


def test_no_number_overprints_another():
    generator = np.random.default_rng(0)
    crowded = [
        Mark(f"formula {i}", (*(0.5 + 0.1 * generator.random(2)), 0.3), i) for i in range(12)
    ]
    figure = draw_goals(crowded, KNOWN, ["a", "b", "c"], [True] * 3, (0.0,) * 3, "formula 7")
    figure.draw_without_rendering()
    for axis in figure.axes[:3]:
        boxes = [Text.get_window_extent(note) for note in axis.texts]  # without the leading line
        texts = ",".join(note.get_text() for note in axis.texts).split(",")
        assert sorted(texts) == sorted([*map(str, range(1, 13)), "a", "b", "c"])
        for one, other in combinations(boxes, 2):
            assert not one.overlaps(other)


def test_no_letter_stands_on_a_line_across():
    lines = [Mark(name, (figure,)) for name, figure in (("x", 0.31), ("y", 0.34), ("z", 0.47))]
    axis = draw_cost_front(FRONT, lines, "road", True).axes[0]
    heights = [axis.transData.transform((1, mark.figures[0]))[1] for mark in lines]
    letters = [note for note in axis.texts if note.get_text() in "abc"]
    assert len(letters) == 3
    for box in map(Text.get_window_extent, letters):
        assert not any(box.y0 <= height <= box.y1 for height in heights)


def test_the_winner_is_ringed():
    for figure in (
        draw_cost_front(FRONT, KNOWN, "road", True, winner="G"),
        draw_goals(FRONT, KNOWN, ["a", "b"], [True] * 2, (0.0, 0.0), "G"),
        draw_leaderboard([("G", 0.5, 0.4, 0.6), ("grad-cam", 0.3, 0.2, 0.4)], "road", True, "G"),
    ):
        rings = [x for x in figure.axes[0].collections if x.get_label() == "offered as the winner"]
        assert len(rings) == 1


def test_a_figure_in_a_page_brings_neither_styles_nor_markup_of_its_own():
    colours = {"#0072b2": "var(--ours)"}
    evil = [("</svg><script>", 0.5, 0.4, 0.6)]
    made = inline_svg(draw_leaderboard(evil, "road", True, evil[0][0]), "a", "alt <b>", colours)
    root = ElementTree.fromstring(made)
    tags = {element.tag for element in root.iter()}
    assert not tags & {"style", "script", "metadata"}
    assert "var(--ours)" in made
    assert "#0072b2" not in made
    assert "&lt;script&gt;" in made
    assert root.attrib["aria-label"] == "alt <b>"
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert all(name.startswith("a-") for name in ids)
    links = {element.attrib["href"][1:] for element in root.iter() if "href" in element.attrib}
    assert links <= set(ids)


def test_search_against_held_out():
    names = [mark.name for mark in FRONT]
    drawn = [
        draw_agreement([0.3, 0.4, 0.5], heldout, names, "road", "G", [("grad-cam", 0.2, 0.2)])
        for heldout in ([0.3, 0.3, 0.3], [0.3, 0.4, 0.5])
    ]
    assert not np.array_equal(*map(pixels, drawn))
    assert pixels(draw_agreement([0.3], [0.3], ["G"], "road")).std() > 0  # no extent


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
        (lambda: draw_cost_front([], KNOWN, "road", True), "nothing to draw"),
        (lambda: draw_cost_front(KNOWN[1:2], [], "road", True), "eigen-cam has no cost"),
        (lambda: draw_goals([], [], ["a", "b"], [True] * 2, [0, 0]), "nothing to draw"),
        (lambda: draw_goals(FRONT, [], ["a"], [True], [0]), "two or more goals, got 1"),
        (lambda: draw_goals([Mark("G", (1.0,))], [], ["a", "b"], [True] * 2, [0, 0]),
         "G has 1 figures for 2 goals"),
        (lambda: draw_agreement([], [], [], "road"), "0 formulas"),
        (lambda: draw_agreement([1], [1, 2], ["G"], "road"), "1 search and 2 held-out"),
        (lambda: draw_leaderboard([], "road", True), "no row"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(draw, said):
    with pytest.raises(OptionError, match=said):
        draw()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot write picture"):
        written(draw_cost_front(FRONT, KNOWN, "road", True), tmp_path / "file" / "cost.png")


def test_names_with_dollar_signs_are_no_mathematics(tmp_path):
    name = "$\\q$ of $5"  # which matplotlib cannot read as such
    figure = draw_leaderboard([(name, 0.5, 0.4, 0.6)], name, True, name, title=name)
    assert pixels(figure).std() > 0
    figure = draw_agreement([0.1, 0.2], [0.1, 0.3], [name, "b"], name, name, title=name)
    assert pixels(figure).std() > 0
    picture, heatmap = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.float32)
    row = ImageRow(picture, name, {name: heatmap}, {name: name})
    assert draw_grid([row], tmp_path / "a.png", name).stat().st_size > 0
    frame = _frame(row, [picture], [picture], [0.0], np.ones((1, 1)), 0)
    assert frame.size[0] > 0
