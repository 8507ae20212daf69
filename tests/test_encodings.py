"""Commands whose output is not UTF-8: redirected on Windows, LANG=C."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

COMMANDS = {
    "metrics": ["metrics"],
    "method": ["methods", "show", "grad-cam++"],
    "evaluate": ["evaluate", "grad-cam", "--metric", "iou", "--images", "demo", "--count", "4"],
    "help": ["evaluate", "--help"],
    "refused": ["evaluate", "grad-cam", "--layer", "Δ–layer…"],
}


def run(arguments: list[str], encoding: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "sycam.cli", *arguments],
        env=os.environ | {"PYTHONIOENCODING": encoding, "COLUMNS": "120"} | more,
        capture_output=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "encoding"),
    [(command, encoding) for command in COMMANDS for encoding in ("cp1252", "ascii")]
    + [("evaluate", "latin-1"), ("evaluate", "utf-8"), ("metrics", "ascii:strict")],
)
def test_everything_is_printed(command, encoding):
    done = run(COMMANDS[command], encoding)
    told = (done.stdout + done.stderr).decode(encoding.partition(":")[0])
    assert done.returncode == (2 if command == "refused" else 0), told
    assert "UnicodeEncodeError" not in told
    if command == "evaluate":
        assert "grad-cam" in told
        assert ("iou ↑" if encoding == "utf-8" else "iou ^") in told
    if command == "refused":
        assert "is not known" in told
        assert ("…" if encoding == "cp1252" else "layer...") in told


def test_json_is_the_same_in_every_encoding():
    known = json.loads(run(["methods", "--json"], "utf-8").stdout)
    assert json.loads(run(["methods", "--json"], "ascii").stdout) == known
