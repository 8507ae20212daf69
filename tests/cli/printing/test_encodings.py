"""Commands whose output is not UTF-8: redirected on Windows, LANG=C."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from sycam.cli import main

COMMANDS = {
    "metrics": ["metrics"],
    "method": ["methods", "show", "grad-cam++"],
    "evaluate": ["evaluate", "grad-cam", "--metric", "iou", "--images", "demo", "--count", "4"],
    "help": ["evaluate", "--help"],
    "refused": ["evaluate", "grad-cam", "--layer", "Δ–layer…"],
}


def run(monkeypatch, arguments: list[str], encoding: str) -> tuple[int, bytes, bytes]:
    """The command with standard streams of an encoding: exit status, output, errors."""
    streams = []
    for name in ("stdout", "stderr"):
        streams.append(io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict"))
        monkeypatch.setattr(sys, name, streams[-1])
    monkeypatch.setattr(sys, "argv", ["sycam", *arguments])
    monkeypatch.setenv("COLUMNS", "120")
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    for stream in streams:
        stream.flush()
    return (code, *(stream.buffer.getvalue() for stream in streams))


@pytest.mark.parametrize(
    ("command", "encoding"),
    [(command, encoding) for command in COMMANDS for encoding in ("cp1252", "ascii")]
    + [("evaluate", "latin-1"), ("evaluate", "utf-8")],
)
def test_everything_is_printed(command, encoding, monkeypatch):
    code, *printed = run(monkeypatch, COMMANDS[command], encoding)
    told = b"".join(printed).decode(encoding)
    assert code == (2 if command == "refused" else 0), told
    if command == "evaluate":
        assert "grad-cam" in told
        assert ("iou ↑" if encoding == "utf-8" else "iou ^") in told
    if command == "refused":
        assert "is not known" in told
        assert ("…" if encoding == "cp1252" else "layer...") in told


def test_json_is_the_same_in_every_encoding(monkeypatch):
    known = json.loads(run(monkeypatch, ["methods", "--json"], "utf-8")[1])
    assert json.loads(run(monkeypatch, ["methods", "--json"], "ascii")[1]) == known


def test_the_environment_chooses_the_encoding():
    """A process of its own, whose streams are as Python makes them."""
    done = subprocess.run(
        [sys.executable, "-m", "sycam.cli", *COMMANDS["metrics"]],
        env=os.environ | {"PYTHONIOENCODING": "ascii:strict", "COLUMNS": "120"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "↑".encode() not in done.stdout
    assert b"insertion" in done.stdout
