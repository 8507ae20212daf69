"""The Optuna study of real runs: several processes share one, and optuna-dashboard shows it."""

from __future__ import annotations

import json
import multiprocessing
import sys
import threading
from pathlib import Path
from unittest import mock
from urllib.request import urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import sycam
from sycam.cli import main
from sycam.data import demo
from sycam.search.proposals.optuna_study import STUDY_FILE

COMMAND = (
    "synthesize --metric average-drop --mode guided --budget 80 --search-images 16 "
    "--heldout-images 8 --no-constants --quiet --json"
)


def command() -> None:
    """The command without its pictures."""
    with mock.patch("sycam.report.keeping.keep_pictures"):
        main()


def start(out: Path, *more: str):
    """The command in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sycam.cli"])
    arguments = ["sycam", *COMMAND.split(), *more, "--out", str(out)]
    with mock.patch.object(sys, "argv", arguments):
        process = context.Process(target=command)
        process.start()
    return process


@pytest.mark.slow
def test_two_processes_share_a_study_by_its_url(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    processes = [start(tmp_path / name, "--storage", url) for name in ("one", "two")]
    for process in processes:
        process.join(240)
        assert process.exitcode == 0
    records = [json.loads((tmp_path / n / "result.json").read_text()) for n in ("one", "two")]
    (study,) = optuna.get_all_study_summaries(url)
    trials = optuna.load_study(study_name=study.study_name, storage=url).trials
    proposals = [r["search"]["guided"]["proposals"] for r in records]
    assert all(t.state.is_finished() for t in trials)  # 8 were left as running by each
    new = [t for t in trials if "repeated" not in t.user_attrs]
    assert len(new) == sum(proposals)
    assert min(proposals) > 0
    # One has learnt what the other scored; and whoever read a score did not propose it again.
    assert sum(r["search"]["guided"]["shared"] for r in records) > 0
    assert all(r["best"]["expression"] for r in records)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


@pytest.mark.slow
def test_optuna_dashboard_shows_the_study_of_a_run(tmp_path):
    dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard: extra test")
    out = tmp_path / "run"
    result = sycam.synthesize(
        "demo", demo.LAYER, "demo", metric="average-drop", mode="guided", budget=48,
        search_images=16, heldout=8, constants=False, out=out,
    )  # fmt: skip
    storage = JournalStorage(JournalFileBackend(str(out / STUDY_FILE)))
    server = make_server("127.0.0.1", 0, dashboard.wsgi(storage), handler_class=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def get(path: str) -> dict:
        with urlopen(f"http://127.0.0.1:{server.server_port}{path}", timeout=30) as answer:
            return json.loads(answer.read())

    try:
        (study,) = get("/api/studies")["study_summaries"]
        shown = get(f"/api/studies/{study['study_id']}")
    finally:
        server.shutdown()
        server.server_close()
    proposals = result.record.search.guided["proposals"]
    assert study["study_name"].startswith("demo average-drop")
    expressions = {
        attribute["value"].strip('"')
        for trial in shown["trials"]
        for attribute in trial["user_attrs"]
        if attribute["key"] == "expression"
    }
    assert len(expressions) >= proposals > 0
    assert {t["state"] for t in shown["trials"]} >= {"Complete"}
