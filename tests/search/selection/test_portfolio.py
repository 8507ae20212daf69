"""Portfolios for a choice image by image, on scores made by hand."""

from __future__ import annotations

import numpy as np

from sycam.language import parse
from sycam.metrics import find_metric
from sycam.scoring.scorer import Score
from sycam.search.selection.portfolio import portfolio
from sycam.search.selection.select import Candidate

ROAD = find_metric("road:percentiles=20+40+60+80")  # levels 2 and 4 choose, 1 and 3 judge
TEXTS = ("G", "A", "relu(G)", "abs(G)")


def chosen(cells, count, metric=ROAD, admissible=lambda candidate: True):
    """Texts of the members; cells ``[C,N,4]``."""
    by_text = dict(zip(TEXTS, np.asarray(cells, float), strict=False))
    candidates = [
        Candidate(text, "expression", parse(text), Score.of(metric, values.sum(-1), 0, True))
        for text, values in by_text.items()
    ]
    found = portfolio(candidates, lambda c: by_text[c.name], metric, count, admissible)
    return [candidate.name for candidate in found]


def alike(*images):
    """``[N,4]`` the same at every level."""
    return np.repeat(np.array(images, float)[:, None], 4, 1)


def test_members_complement_each_other():
    best = alike(3, 3, 0, 0)
    likewise = alike(2.9, 2.9, 0.1, 0.1)  # the second best alone
    others = alike(0, 0, 2, 2)
    assert chosen([best, likewise, others], 2) == ["G", "relu(G)"]


def test_what_only_the_choosing_levels_praise_is_no_member():
    """It would be taken on every image, and be worse there than it promised."""
    honest = alike(1, 1, 1, 1)
    liar = np.tile([-5.0, 50.0, -5.0, 50.0], (4, 1))
    assert chosen([honest, liar], 2) == ["G"]
    assert chosen([liar, honest], 2) == ["A"]


def test_nobody_is_added_who_gains_nothing():
    assert chosen([alike(1, 1), alike(0, 0), alike(1, 1)], 3) == ["G"]


def test_lower_is_better_where_the_metric_says_so():
    deletion = find_metric("road-morf:percentiles=20+40+60+80")
    assert chosen([alike(3, 1), alike(1, 3), alike(2, 2.5)], 2, deletion) == ["G", "A"]


def test_who_may_not_win_is_no_member_and_is_asked_only_where_it_would_be():
    asked = []

    def admissible(candidate):
        asked.append(candidate.name)
        return candidate.name != "G"

    assert chosen([alike(3, 0), alike(2, 0), alike(0, 1), alike(0, 0)], 2, ROAD, admissible) == [
        "A",
        "relu(G)",
    ]
    assert "abs(G)" not in asked[:3]


def test_it_is_as_good_as_by_trying_all_additions():
    cells = np.random.default_rng(5).normal(size=(4, 30, 4))

    def worth(members):
        choosing = cells[list(members)][..., [1, 3]].sum(-1)
        judged = cells[list(members)][..., [0, 2]].sum(-1)
        return judged[choosing.argmax(0), np.arange(30)].mean()

    members = [TEXTS.index(text) for text in chosen(cells, 3)]
    for count in range(1, len(members) + 1):
        others = (i for i in range(4) if i not in members[: count - 1])
        best = max(worth([*members[: count - 1], i]) for i in others)
        assert worth(members[:count]) == best
    assert len(members) > 1
    worths = [worth(members[: n + 1]) for n in range(len(members))]
    assert worths == sorted(set(worths))
