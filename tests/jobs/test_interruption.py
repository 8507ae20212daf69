"""kill -9 at random moments: the same command ends as the uninterrupted one did."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

import pytest

from sycam.cli import main

KILLS = 3
COMMAND = (
    "synthesize --metric road-morf --budget 32 --max-cost 3 --search-images 8 --heldout-images 6 "
    "--quiet --json"
)


def command() -> None:
    """The command without its pictures, which are drawn when all that is compared is written."""
    with mock.patch("sycam.report.keeping.keep_pictures"):
        main()


def start(out: Path) -> BaseProcess:
    """The command in a process of its own, forked from one that has done the slow imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sycam.cli", "sycam.jobs.synthesis", "sycam.report.tables"])
    with mock.patch.object(sys, "argv", ["sycam", *COMMAND.split(), "--out", str(out)]):
        process = context.Process(target=command)
        process.start()
    return process


def journal(out: Path) -> list[dict]:
    """The records without their times and checksums."""
    lines = (out / "scores.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [{k: v for k, v in record.items() if k not in ("time", "check")} for record in records]


def winner(out: Path) -> dict:
    result = json.loads((out / "result.json").read_text())
    return {key: result[key] for key in ("best", "front", "hall", "validation", "identity")}


def lines(out: Path) -> int:
    file = out / "scores.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def kill_after(out: Path, growth: int, delay: float) -> None:
    """Start the command; kill it ``delay`` seconds after its journal grew by ``growth`` lines."""
    before = lines(out)
    process = start(out)
    while process.is_alive() and lines(out) < before + growth:
        time.sleep(0.005)
    time.sleep(delay)
    process.kill()
    process.join()


def finish(out: Path) -> None:
    """Run the command to its end."""
    process = start(out)
    process.join(300)
    assert process.exitcode == 0


@pytest.mark.timeout(900)
def test_killed_at_random_moments_it_resumes_to_the_same_end(tmp_path):
    finish(tmp_path / "whole")
    moments = random.Random(0)
    cut = tmp_path / "cut"
    lengths = set()
    for _ in range(KILLS):
        # Moments are told by the journal, not by the clock alone: on a slow or busy machine too
        # most of them meet the scoring, the others the start, the validation and the writing.
        kill_after(cut, growth=moments.randrange(0, 16), delay=moments.uniform(0.0, 0.6))
        lengths.add(lines(cut))
        if (cut / "result.json").exists():
            whole = winner(tmp_path / "whole")
            if not winner(cut)["validation"]["rows"]:  # the winner is kept before its evidence
                assert winner(cut)["best"] == whole["best"] | {"heldout": None}
                continue
            assert winner(cut) == whole
            shutil.rmtree(cut)  # go on killing a run from its beginning
            cut.mkdir()
    finish(cut)
    assert len(lengths) > 1, "the kills did not meet the search at work"
    assert winner(cut) == winner(tmp_path / "whole")
    assert journal(cut) == journal(tmp_path / "whole")
