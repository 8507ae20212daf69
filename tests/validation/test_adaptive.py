"""The choice image by image, judged by levels that did not choose, with noise that did not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import sycam.validation.adaptive as adaptive
from sycam.data.images import ImageSet
from sycam.methods import find_method
from sycam.metrics import Metric, find_metric
from sycam.metrics.composition.levels import AtLevels, halves
from sycam.problem.explained_network import ExplainedNetwork
from sycam.scoring.journal import Journal
from sycam.scoring.scorer import Scorer
from sycam.validation.adaptive import Contest, adaptive_evidence
from sycam.validation.heldout_scores import Conduct

OWN, PUBLISHED = ("smooth(G)", "mean(relu(G)) * max(A)"), ("grad-cam", "eigen-cam")
ROAD = find_metric("road-morf:percentiles=20+40+60+80")
CONTEST = Contest(
    [find_method(text) for text in OWN],
    [find_method(name) for name in PUBLISHED],
    find_method("abs(G)"),
    find_method("layer-cam"),
)


@pytest.fixture
def measured(small_network, small_images):
    images = ImageSet.from_arrays(small_images)
    return ExplainedNetwork.prepare(small_network, "3", images).measure(images)


class Lying(Metric):
    """Its even levels promise the more, the less its odd levels hold."""

    name, summary, source, family = "lying", "lies", "this test", "custom"
    levels, passes, range = 4, 4, (-1.0, 1.0)

    def score(self, maps, context):
        levels = torch.arange(4).expand(len(context), -1)
        return self.score_at(maps, context, levels).sum(-1)

    def score_at(self, maps, context, levels):
        told = maps.flatten(2).double().mean(-1)[..., None] / 4
        return torch.where(levels % 2 == 1, told, -told)


def test_the_figure_is_never_from_the_levels_that_chose(measured):
    found = adaptive_evidence(CONTEST, Lying(), measured)
    choice, winner, rival, published = found.rows
    scores = {one.name: one for one in found.scores}
    taken = np.array([scores[text].choice for text in OWN])
    # The fuller of both maps was chosen, and is the worse by the levels that judge.
    worst = np.array([scores[text].judged for text in OWN]).min(0)
    assert choice.heldout.mean == pytest.approx(worst.mean())
    assert choice.heldout.mean == pytest.approx(-taken.max(0).mean())
    assert (choice.kind, winner.kind) == ("choice", "winner")
    assert (rival.name, published.kind) == ("layer-cam", "published-choice")


def test_choice_and_judgement_equal_those_by_hand(measured):
    """On every image the member that is best at levels 2 and 4, whatever 1 and 3 say of it."""
    found = adaptive_evidence(CONTEST, ROAD, measured, seed=3)
    assert (found.choosing, found.judging) == ((2, 4), (1, 3))
    evidence, context = measured
    maps = torch.cat([m.heatmaps(evidence, context).maps for m in CONTEST.own])
    choosing = find_metric("road-morf:percentiles=40+80").score(maps, context)
    other = replace(context, seed=context.seed + 1, kept={})
    judging = find_metric("road-morf:percentiles=20+60").score(maps, other)
    place = choosing.argmin(0)  # of a change of probability lower is better
    expected = judging[place, torch.arange(7)]
    assert found.rows[0].heldout.mean == pytest.approx(float(expected.mean()), abs=1e-5)
    assert found.rows[0].taken == tuple(np.bincount(place, minlength=2).tolist())
    winner = np.array(next(s for s in found.scores if s.name == "abs(G)").judged)
    difference = found.rows[1].against.difference.mean  # positive favours the choice
    assert difference == pytest.approx(float(winner.mean() - expected.mean()), abs=1e-5)


def test_what_judges_has_other_noise(measured, monkeypatch):
    noises = {}
    usual = AtLevels.score

    def watched(self, maps, context):
        noises.setdefault(self.numbers, context.noise)
        return usual(self, maps, context)

    monkeypatch.setattr(AtLevels, "score", watched)
    adaptive_evidence(CONTEST, ROAD, measured)
    assert not (noises[2, 4] == noises[1, 3]).any()


@pytest.fixture
def scored(monkeypatch):
    """Methods scored, in their order, by the levels."""
    seen, usual = [], Scorer.score_method

    def watched(self, method):
        seen.append((method.name, self.metric.numbers))
        if watched.stop == len(seen):
            raise KeyboardInterrupt
        return usual(self, method)

    watched.stop = None
    monkeypatch.setattr(Scorer, "score_method", watched)
    return SimpleNamespace(names=seen, watched=watched)


def test_winner_and_rival_alone_are_not_asked_to_choose(measured, scored):
    adaptive_evidence(CONTEST, ROAD, measured)
    assert {name for name, levels in scored.names if levels == (2, 4)} == {*OWN, *PUBLISHED}
    assert {name for name, levels in scored.names if levels == (1, 3)} == {
        *OWN, *PUBLISHED, "abs(G)", "layer-cam",
    }  # fmt: skip


def test_interrupted_it_goes_on_where_it_ended(measured, scored, tmp_path):
    def opened(metrics, blocks, name):
        assert name == adaptive.ADAPTIVE
        return Journal(tmp_path / "adaptive.jsonl", "these", metrics, blocks, replaces=True)

    kept, seen = Conduct(open_journal=opened), scored.names
    scored.watched.stop = 6
    early = adaptive_evidence(CONTEST, ROAD, measured, conduct=kept)
    assert early.members == OWN
    assert early.rows == ()
    scored.watched.stop = None
    before = list(seen[:5])
    again = adaptive_evidence(CONTEST, ROAD, measured, conduct=kept)
    assert not set(before) & set(seen[6:])
    seen.clear()
    assert adaptive_evidence(CONTEST, ROAD, measured, conduct=kept) == again
    assert seen == []
    assert adaptive_evidence(CONTEST, ROAD, measured) == again


def test_the_price_is_of_the_levels_that_choose(measured):
    found = adaptive_evidence(CONTEST, ROAD, measured)
    assert found.passes == 2 * halves(ROAD)[0].passes == 2 * 2
