"""Methods one below the other: in order, with their figures, and groups that do not differ."""

import numpy as np
import pytest

from sycam.drawing.boards import draw_leaderboard, draw_ranks, lanes_of
from sycam.drawing.vector import inline_svg
from sycam.errors import OptionError
from sycam.scoring.ranks import mean_ranks

RANKS = mean_ranks(
    np.array([0.5, 0.45, 0.3, 0.28, 0.0]) + 0.12 * np.random.default_rng(0).normal(size=(40, 5)),
    ["G", "A", "grad-cam@layer4", "layer-cam@layer4", "random"],
)


def test_the_leaderboard_shows_means_within_their_intervals_in_order():
    rows = [("G", 0.5, 0.4, 0.6), ("grad-cam", 0.3, 0.2, 0.4), ("random", 0.0, -0.1, 0.1)]
    figure = draw_leaderboard(rows, "road", True, "G", {"random"})
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == [name for name, *_ in rows]
    lines = [line.get_xdata() for line in axis.lines]
    assert [tuple(x) for x in lines[::2]] == [(low, high) for _, _, low, high in rows]
    assert [x[0] for x in lines[1::2]] == [mean for _, mean, _, _ in rows]
    assert axis.yaxis_inverted()  # the first stands on top
    assert len({line.get_color() for line in axis.lines}) == 3


def test_ranks_are_drawn_from_the_best_with_the_groups_that_do_not_differ():
    figure = draw_ranks(RANKS, "G", {"A"}, {"random"}, title="road")
    axis, bars = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == list(RANKS.names)
    assert [line.get_xdata()[0] for line in axis.lines] == list(RANKS.ranks)
    assert axis.yaxis_inverted()  # the first stands on top
    colours = [line.get_color() for line in axis.lines]
    assert len(set(colours)) == 3
    assert colours[RANKS.names.index("G")] == colours[RANKS.names.index("A")]
    drawn = {
        tuple(np.round(np.add(line.get_ydata(), (0.2, -0.2))).astype(int)) for line in bars.lines
    }
    place = RANKS.names.index
    assert drawn == {(place(group[0]), place(group[-1])) for group in RANKS.cliques}
    assert 0 < len(drawn) < 10  # some methods differ, and some do not
    (band,) = (patch for patch in axis.patches if patch.get_width() > 0)
    assert band.get_x() == RANKS.ranks[0]
    assert band.get_width() == pytest.approx(RANKS.critical_difference)
    assert "40 images" in axis.get_xlabel()


def test_ranks_of_some_methods_stay_those_among_all():
    figure = draw_ranks(RANKS, "G", shown={"G", "random"}, counted="data sets")
    axis, bars = figure.axes
    assert [line.get_xdata()[0] for line in axis.lines] == [RANKS.rank("G"), RANKS.rank("random")]
    assert not bars.lines
    assert "5 methods on 40 data sets" in axis.get_xlabel()
    with pytest.raises(OptionError, match="no method to draw"):
        draw_ranks(RANKS, shown=())


def test_ranks_stand_in_a_page():
    assert "grad-cam@layer4" in inline_svg(draw_ranks(RANKS, "G"), "ranks", "ranks", {})


def test_bars_of_one_lane_are_apart():
    names = list("abcdefgh")
    lanes = lanes_of([list("abc"), list("bcd"), list("def"), list("fgh"), list("gh")], names)
    assert lanes == [[(0, 2), (3, 5), (6, 7)], [(1, 3), (5, 7)]]
