"""kill -9 at random moments: the same command ends as the uninterrupted one did."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

KILLS = 20
COMMAND = (
    "--metric road-morf --budget 120 --max-cost 3 --search-images 8 --heldout-images 8 "
    "--quiet --json"
)


def start(out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "sycam.cli", "synthesize", *COMMAND.split(), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def journal(out: Path) -> list[dict]:
    """The records without their times."""
    lines = (out / "scores.jsonl").read_text().splitlines()
    records = [json.loads(line.rpartition("\t")[0]) for line in lines]
    return [{k: v for k, v in record.items() if k != "time"} for record in records]


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
    while process.poll() is None and lines(out) < before + growth:
        time.sleep(0.005)
    time.sleep(delay)
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stderr.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_random_moments_it_resumes_to_the_same_end(tmp_path):
    whole = start(tmp_path / "whole")
    assert whole.wait(300) == 0, whole.stderr.read().decode()
    moments = random.Random(0)
    cut = tmp_path / "cut"
    lengths = set()
    for _ in range(KILLS):
        # Moments are told by the journal, not by the clock alone: on a slow or busy machine too
        # most of them meet the scoring, the others the start, the validation and the writing.
        kill_after(cut, growth=moments.randrange(0, 40), delay=moments.uniform(0.0, 0.6))
        lengths.add(lines(cut))
        if (cut / "result.json").exists():
            assert winner(cut) == winner(tmp_path / "whole")
            for file in cut.iterdir():  # go on killing a run from its beginning
                file.unlink()
    last = start(cut)
    assert last.wait(300) == 0, last.stderr.read().decode()
    assert len(lengths) > 3, "the kills did not meet the search at work"
    assert winner(cut) == winner(tmp_path / "whole")
    assert journal(cut) == journal(tmp_path / "whole")
