"""What scoring is expected to take, told by a clock that the test sets."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sycam.scoring import journaled_scorer
from sycam.scoring.blocks import ImageBlock
from sycam.scoring.journaled_scorer import JournaledScorer

LEVELS = 9
HEATMAP, LEVEL = 0.002, 0.001  # seconds of an image
WHOLE = HEATMAP + LEVELS * LEVEL
STAGES = (
    ImageBlock(0, 16, 16, LEVELS),
    ImageBlock(0, 16, 32, LEVELS, seen=1),
    ImageBlock(0, 16, 16 * LEVELS, LEVELS, seen=2, added=LEVELS - 2),
)


@pytest.fixture
def board(monkeypatch):
    """Sixteen images of which one level takes thrice as long alone as among others."""
    now, classifier = [0.0], SimpleNamespace(passes=0)

    def score_method(method, which):
        slow = 50 if method.name == "kpca-cam" else 1
        images, levels = which.shape
        now[0] += images * (slow * HEATMAP + levels * LEVEL)
        classifier.passes += images * levels
        return "score"

    monkeypatch.setattr(journaled_scorer, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(JournaledScorer, "of", lambda *_: "score")
    known: dict = {}

    def append(stage, names, scores):
        known.update({(name, stage): one for name, one in zip(names, scores, strict=True)})

    scorer = SimpleNamespace(score_method=score_method)
    return JournaledScorer(
        SimpleNamespace(passes=2.0, measurements=0),
        None,
        SimpleNamespace(classifier=classifier),
        SimpleNamespace(known=known, append=append, path="journal"),
        STAGES,
        scoring=SimpleNamespace(scorer=lambda *_, **__: scorer),
    )


def named(name):
    return SimpleNamespace(name=name, expression=None)


def test_a_few_expensive_methods_do_not_count_for_all(board):
    for name in ("grad-cam", "layer-cam", "hirescam", "fem", "kpca-cam", "xgrad-cam"):
        board.score_method(named(name), 0)
    one_by_one = LEVELS * (HEATMAP + LEVEL)
    assert board.image_pace == pytest.approx(one_by_one)
    assert board.overall_pace * LEVELS > 2 * one_by_one


def test_all_levels_together_are_timed_and_not_kept(board):
    for name in ("grad-cam", "layer-cam", "hirescam"):
        board.score_method(named(name), 0)
    kept, passes = dict(board.journal.known), board.context.classifier.passes
    board.rehearse_whole(named("grad-cam"))
    assert board.image_pace == pytest.approx(WHOLE)
    assert board.journal.known == kept
    # Whether there is time for it is chance; the record of a run is not.
    assert board.context.classifier.passes == passes > 0


def test_what_takes_long_is_not_measured_twice(board, monkeypatch):
    monkeypatch.setattr(journaled_scorer, "_MOMENT", 16 * WHOLE / 2)
    for name in ("grad-cam", "layer-cam"):
        board.score_method(named(name), 0)
    before = board.image_pace
    board.rehearse_whole(named("grad-cam"))
    assert board.image_pace == before
