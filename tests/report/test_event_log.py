"""The log of a command for programs, and the exit code that goes with it."""

from __future__ import annotations

import json
import warnings
from datetime import datetime
from pathlib import Path

import pytest

from sycam.events import Note
from sycam.report.event_log import EventLog
from sycam.search.phases.engine import Search


def lines(file: Path) -> list[dict]:
    """Every line, each of which is whole JSON without NaN."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    text = file.read_text(encoding="utf-8")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def test_a_run_is_told_line_by_line(small_run, tmp_path):
    file = tmp_path / "run.jsonl"
    done = small_run(tmp_path / "run", "--log", str(file), "--json", pictures=False)
    assert done.exit_code == 0
    told = lines(file)
    kinds = [line["event"] for line in told]
    assert (kinds[0], kinds[-1]) == ("started", "finished")
    assert {"stage", "step", "note", "plan", "forecast", "scored", "validated"} <= set(kinds)
    assert kinds.count("finished") == kinds.count("result") == 1
    opened = next(line for line in told if line["event"] == "opened")
    assert opened["settings"]["metric"] == "average-drop"
    assert opened["layers"] == ["3"]
    times = [datetime.fromisoformat(line["time"]) for line in told]
    assert times == sorted(times)
    assert all(time.utcoffset().total_seconds() == 0 for time in times)
    found, result = (
        next(line for line in told if line["event"] == "result"),
        json.loads(done.stdout),
    )
    assert found["folder"] == result["folder"] == str(tmp_path / "run")
    assert found["winner"] == result["best"]["expression"]
    scored = next(line for line in reversed(told) if line["event"] == "scored")
    assert {"name", "kind", "cost", "mean"} == set(scored["front"][0])


def test_ctrl_c_keeps_the_result_and_is_exit_code_130(small_run, tmp_path, monkeypatch):
    def interrupt(_search: Search) -> None:
        raise KeyboardInterrupt

    file, run = tmp_path / "run.jsonl", tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Search, "_exhaustive", interrupt)
        done = small_run(run, "--log", str(file), "--quiet", pictures=False)
    assert done.exit_code == 130
    assert json.loads((run / "result.json").read_text())["search"]["stopped"] == "interrupt"
    assert "interrupted" in [line["event"] for line in lines(file)]
    assert small_run(run, "--quiet", pictures=False).exit_code == 0


def test_a_mistake_is_the_last_line(small_run, tmp_path):
    file = tmp_path / "run.jsonl"
    assert small_run(tmp_path / "run", "--log", str(file), "--grammar", "gradent").exit_code
    last = lines(file)[-1]
    assert (last["event"], last["error"]) == ("failed", "UnknownNameError")
    assert "did you mean 'gradient'" in last["message"]


def test_a_file_that_cannot_be_written_is_refused_at_once(small_run, tmp_path):
    done = small_run(tmp_path / "run", "--log", str(tmp_path / "absent" / "run.jsonl"))
    assert "expected a file in a folder that exists" in str(done.exception)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_ends_the_log_but_not_the_work():
    with warnings.catch_warnings(record=True) as told, EventLog(Path("/dev/full"), "test") as log:
        warnings.simplefilter("always")
        log(Note("one"))
        log(Note("two"))
    assert len(told) <= 1
