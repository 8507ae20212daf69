"""Held-out evidence under a limit: the most important first, kept, and gone on with."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from sycam.methods import find_method
from sycam.metrics import find_metric
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import demo_images
from sycam.scoring.journal import Journal
from sycam.scoring.scorer import Scorer
from sycam.scoring.statistics import sign_flip_p
from sycam.validation.entrants import Entrant
from sycam.validation.heldout_scores import Conduct
from sycam.validation.measures import Measures
from sycam.validation.validate import validate

KNOWN = {"grad-cam": 0.3, "layer-cam": 0.4, "fem": 0.1, "hirescam": 0.35, "grad-cam++": 0.2,
         "xgrad-cam": 0.25, "eigen-cam": 0.15}  # fmt: skip


@pytest.fixture(scope="module")
def measured():
    unseen = demo_images("heldout", 6, 0)
    return ExplainedNetwork.prepare("demo", "auto", unseen).measure(unseen)


@pytest.fixture
def entrants():
    winner = Entrant(find_method("smooth(relu(G))"), "winner", 0.45)
    rivals = [Entrant(find_method(n), find_method(n).kind, s) for n, s in KNOWN.items()]
    controls = [Entrant(find_method("sobel-edges"), "control", 0.5)]
    return [winner, *rivals, *controls]


MEASURES = Measures(
    find_metric("road-morf"), panel=[find_metric("iou")], guards=[find_metric("randomisation")]
)


@pytest.fixture
def scored(monkeypatch):
    """Names of the methods scored, in their order, with the metrics."""
    seen = []
    usual = Scorer.score_under

    def watched(self, metrics, method):
        seen.append((method.name, *(metric.name for metric in metrics)))
        return usual(self, metrics, method)

    monkeypatch.setattr(Scorer, "score_under", watched)
    return seen


def test_winner_chosen_rival_and_habit_are_measured_however_short_the_time(
    measured, entrants, scored
):
    # road-morf is better the lower: of the published the search images choose fem.
    found = validate(entrants, MEASURES, *measured, conduct=Conduct(left=lambda: 0.0))
    names = ["smooth(relu(G))", "fem", "grad-cam"]
    assert scored == [(name, "road-morf") for name in names]
    assert {row.name for row in found.rows} == set(names)
    assert found.chosen_published == "fem"
    assert found.winner.panel == found.winner.guards == {}
    assert found.left_out.why == "budget"
    assert set(found.left_out.methods) == {*KNOWN, "sobel-edges"} - set(names)


def test_without_a_limit_all_is_measured(measured, entrants, scored):
    found = validate(entrants, MEASURES, *measured)
    assert found.left_out is None
    assert {row.name for row in found.rows} == {"smooth(relu(G))", *KNOWN, "sobel-edges"}
    assert all(row.panel.keys() == {"iou"} for row in found.rows)
    names = list(dict.fromkeys(name for name, *_ in scored))
    # Grad-CAM is what everybody runs; then the published CAMs by the search images.
    assert names[:4] == ["smooth(relu(G))", "fem", "grad-cam", "eigen-cam"]
    assert max(names.index(name) for name in KNOWN) < names.index("sobel-edges")


def test_panel_and_guards_are_for_those_that_the_verdict_names(measured, scored):
    """Of nine rivals: the chosen one, Grad-CAM, five leaders, and whoever turns out the best."""
    names = [*KNOWN, "lafam", "grad-cam-elementwise"]
    candidates = [Entrant(find_method(name), "published", 0.0) for name in names]
    whole = validate(candidates, Measures(MEASURES.metric), *measured)
    best, *others = sorted(names, key=lambda n: whole.row(n).heldout.mean)
    if best == "grad-cam":  # which is looked at whatever its figure
        best, others = others[0], [best, *others[1:]]
    # The search images rank it last (lower is better), and the others as the held-out ones do.
    winner = Entrant(find_method("smooth(relu(G))"), "winner", 0.0)
    rivals = [Entrant(find_method(n), "published", 0.1 + i) for i, n in enumerate([*others, best])]
    scored.clear()
    found = validate([winner, *rivals], MEASURES, *measured)
    looked_at = {row.name for row in found.rows if row.panel and row.guards}
    leaders = [n for n in others if n != "grad-cam"][:6]
    assert looked_at == {"smooth(relu(G))", "grad-cam", best, *leaders}
    assert {row.name for row in found.rows} == {"smooth(relu(G))", *names}
    assert found.left_out is None
    assert scored[-2:] == [(best, "iou"), (best, "randomisation")]


def test_the_leaders_are_measured_with_another_imputer_last(measured, entrants, scored):
    another = find_metric("road-morf:imputer=blur")
    measures = replace(MEASURES, another=another)
    found = validate(entrants, measures, *measured)
    leaders = ["smooth(relu(G))", "fem", "grad-cam"]
    assert scored[-3:] == [(name, "road-morf") for name in leaders]
    assert [row.name for row in found.rows if another.text in row.panel] == sorted(
        leaders, key=lambda name: [row.name for row in found.rows].index(name)
    )
    evidence, context = measured
    maps = [find_method(name).heatmaps(evidence, context).maps for name in leaders[:2]]
    winner, rival = (another.score(one, context)[0].numpy() for one in maps)
    again = found.another_imputer
    assert (again.metric, again.rival) == (another.text, "fem")
    assert again.against.difference.mean == pytest.approx((rival - winner).mean(), abs=1e-6)
    assert again.against.p == pytest.approx(sign_flip_p(rival - winner), abs=0.02)
    # Where time is short it is what is left out.
    short = validate(entrants, measures, *measured, conduct=Conduct(left=lambda: 0.0))
    assert short.another_imputer is None


def opened(path):
    return lambda metrics, blocks, _: Journal(path, "these", metrics, blocks, replaces=True)


def test_what_was_scored_is_not_scored_again(measured, entrants, scored, tmp_path):
    whole = validate(entrants, MEASURES, *measured)
    kept = opened(tmp_path / "heldout.jsonl")
    validate(
        entrants, MEASURES, *measured, conduct=Conduct(left=lambda: 0.0, open_journal=kept)
    )  # fmt: skip
    scored.clear()
    again = validate(entrants, MEASURES, *measured, conduct=Conduct(open_journal=kept))
    for name in ("smooth(relu(G))", "fem", "grad-cam"):
        assert (name, "road-morf") not in scored
    assert again == whole
    scored.clear()
    assert validate(entrants, MEASURES, *measured, conduct=Conduct(open_journal=kept)) == whole
    assert scored == []


def test_flat_maps_are_remembered(measured, tmp_path):
    """Where every map of a method is flat there is no image on which all methods say something."""
    nothing = find_method("0 * mean(G)")
    entrants = [Entrant(nothing, "winner", 0.0), Entrant(find_method("fem"), "published", 0.1)]
    kept = opened(tmp_path / "heldout.jsonl")
    for _ in range(2):
        found = validate(entrants, MEASURES, *measured, conduct=Conduct(open_journal=kept))
        assert found.sound_images == 0
        assert found.winner.degenerate == found.images == 6


def test_of_an_interrupted_one_the_finished_rows_stand(measured, entrants, monkeypatch):
    usual, count = Scorer.score_under, []

    def interrupted(self, metrics, method):
        count.append(1)
        if len(count) == 4:
            raise KeyboardInterrupt
        return usual(self, metrics, method)

    monkeypatch.setattr(Scorer, "score_under", interrupted)
    found = validate(entrants, MEASURES, *measured)
    assert len(found.rows) == 3
    assert found.left_out.why == "interrupt"
    assert math.isfinite(found.winner.heldout.mean)


def test_without_the_winner_there_is_no_evidence(measured, entrants, monkeypatch):
    def interrupted(self, metrics, method):
        raise KeyboardInterrupt

    monkeypatch.setattr(Scorer, "score_under", interrupted)
    found = validate(entrants, MEASURES, *measured)
    assert found.rows == ()
    assert found.images == 0


def test_a_part_has_the_figures_that_the_whole_has(measured, entrants):
    whole = validate(entrants, MEASURES, *measured)
    part = validate(entrants, MEASURES, *measured, conduct=Conduct(left=lambda: 0.0))
    for row in part.rows:
        assert np.array_equal(row.scores, whole.row(row.name).scores)
        assert row.heldout == whole.row(row.name).heldout
