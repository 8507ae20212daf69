"""A run whose held-out evidence was cut short, or interrupted, is a run: kept, gone on with, and
derived again."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

import sycam
import sycam.jobs.synthesis as synthesis
from sycam.events import Stage, Step
from sycam.report.html import write_report
from sycam.report.tables import lacking, result_tables
from sycam.runs.result import load
from sycam.runs.summary import RunSummary
from sycam.search.events import Forecast
from sycam.search.phases import known as known_phase

OPTIONS = {
    "metric": "road-morf", "budget": 12, "max_cost": 2, "search_images": 8, "heldout": 8,
    "mode": "exact", "grammar": "gradient",
}  # fmt: skip


def run(out, **more):
    return sycam.synthesize("demo", "auto", "demo", out=out, **OPTIONS | more)


@pytest.fixture(scope="module")
def said():
    """Events of the run that was not cut short."""
    return []


@pytest.fixture(scope="module")
def whole(tmp_path_factory, said):
    return run(tmp_path_factory.mktemp("whole") / "run", notify=said.append)


def shown(result) -> str:
    console = Console(width=400, file=io.StringIO())
    console.print(result_tables(result))
    return console.file.getvalue()


class StopAt:
    """Ctrl-C at a step of a stage."""

    def __init__(self, stage, step):
        self.stage, self.step, self.now = stage, step, ""

    def __call__(self, event):
        if isinstance(event, Stage):
            self.now = event.text
        if isinstance(event, Step) and (self.now, event.done) == (self.stage, self.step):
            raise KeyboardInterrupt


def test_interrupted_in_the_evidence_it_keeps_what_there_is_and_goes_on(whole, tmp_path):
    cut = run(tmp_path / "run", notify=StopAt("Validating on held-out images", 4))
    assert load(tmp_path / "run").validation.left_out.why == "interrupt"
    assert cut.best.expression == whole.best.expression
    assert 2 <= len(cut.validation.rows) < len(whole.validation.rows)
    assert "it was interrupted" in shown(cut)
    assert "Incomplete" in write_report(cut).read_text()
    assert sycam.verify(tmp_path / "run").holds
    again = run(tmp_path / "run")
    assert again.validation.left_out is None
    assert {row.name for row in again.validation.rows} == {r.name for r in whole.validation.rows}
    for row in again.validation.rows:  # the network may be made faster in another way: 1e-5
        assert row.scores == pytest.approx(whole.validation.row(row.name).scores, abs=1e-4)


def test_interrupted_before_a_candidate_it_says_so_and_is_incomplete(tmp_path):
    cut = run(tmp_path / "run", notify=StopAt("Scoring published CAMs and controls", 1))
    assert cut.record.search.candidates == 0
    said = shown(cut)
    assert ("interrupted before a candidate was scored" in said) == (cut.best is None)
    assert "every candidate" not in said
    assert RunSummary.of(cut).state == "incomplete"
    again = run(tmp_path / "run")
    assert again.best is not None
    assert RunSummary.of(again).state == "finished"


def test_the_winner_is_kept_before_there_is_evidence(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(synthesis, "derived", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run")
    kept = load(tmp_path / "run")
    assert kept.best == replace(whole.best, heldout=None)
    assert kept.validation.left_out.why == "pending"
    assert "no held-out evidence yet" in shown(kept)
    assert "Not validated" in write_report(kept).read_text()
    assert sycam.verify(tmp_path / "run").holds
    assert kept.best.cam(sycam.open_network("demo").module, "features") is not None


def test_a_result_with_evidence_is_not_replaced_by_one_without(whole, monkeypatch):
    monkeypatch.setattr(synthesis, "derived", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(whole.path, budget=13)  # with the same budget it is finished
    assert load(whole.path).validation == whole.validation


def test_what_the_budget_cut_is_said_and_can_be_derived(whole, tmp_path, monkeypatch):
    usual = synthesis.conduct_of
    monkeypatch.setattr(
        synthesis, "conduct_of", lambda *given: replace(usual(*given), left=lambda: 0.0)
    )
    cut = run(tmp_path / "run")
    assert cut.validation.left_out.why == "budget"
    assert cut.validation.rows[0].kind == "winner"
    assert cut.validation.chosen_published == whole.validation.chosen_published
    assert "longer budget" in lacking(cut.validation)
    assert sycam.verify(tmp_path / "run").holds


def test_what_the_command_will_take_is_said_before(whole, said):
    forecast = next(event for event in said if isinstance(event, Forecast))
    assert forecast.left is None  # a number of candidates is no time
    assert forecast.known > 0
    assert forecast.evidence > 0


@pytest.mark.parametrize(("patience", "first"), [(1e9, False), (0.0, True)])
def test_the_forecast_has_seen_expensive_cams_where_there_is_time(
    tmp_path, monkeypatch, patience, first
):
    """Under overlap metrics some CAMs take ten times as long as the first four: it said 0.15 s of
    what took 1.2."""
    monkeypatch.setattr(known_phase, "_PATIENCE", patience)
    timed: list[int] = []
    told: list[int] = []

    def watch(event):
        if isinstance(event, Step):
            timed.append(event.done)
        if isinstance(event, Forecast):
            told.append(timed[-1])

    made = run(tmp_path / "run", metric="iou", budget=1, notify=watch, report=False)
    methods = len(made.record.search.known)
    assert methods > known_phase.TIMED
    assert told == [known_phase.TIMED if first else methods]


@pytest.mark.slow
def test_published_cams_that_fell_behind_are_on_record_and_derived_again(tmp_path, monkeypatch):
    """Over cells of an image and a level, in a race."""
    usual = known_phase.score_known

    def short_of_time(methods, board, left, counts, done):
        fewer = [len(methods), *(max(2, 9 - stage) for stage in range(1, len(board.stages)))]
        return usual(methods, board, left, counts or fewer, done)

    monkeypatch.setattr(known_phase, "score_known", short_of_time)
    result = run(tmp_path / "run", mode="race", search_images=32)
    known = result.record.search.known
    # Images that were seen, and of them some at a part of the percentiles only.
    assert {len(k.scores) for k in known} == {16, 24, 32}
    assert result.certificate.known[0] == len(known)
    assert result.certificate.known[-1] == 2
    validated = {row.name for row in result.validation.rows if row.kind not in ("winner", "new")}
    assert len(validated) == 2
    assert validated < {k.name for k in known if len(k.scores) == 32}
    monkeypatch.undo()
    done = sycam.verify(tmp_path / "run")
    assert done.holds, [check for check in done.checks if not check.holds]
    data = json.loads((tmp_path / "run" / "result.json").read_text())
    behind = next(k for k in data["search"]["known"] if len(k["scores"]) == 16)
    behind["score"] += 0.1
    (tmp_path / "run" / "result.json").write_text(json.dumps(data))
    assert not sycam.verify(tmp_path / "run").holds
