"""What ends a command from outside: a signal, after which what was found is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import typer

from sycam.cli.printing.watching import interruptible, terminable

posix = pytest.mark.skipif(os.name != "posix", reason="Windows ends processes without a signal")


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_a_command_with_the_codes_that_shells_have(number, code):
    before = signal.getsignal(signal.SIGTERM)

    def command():
        with terminable(), interruptible():
            os.kill(os.getpid(), number)
            time.sleep(5)

    background = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's is deaf to it
    try:
        with pytest.raises(typer.Exit) as end:
            command()
    finally:
        signal.signal(signal.SIGINT, background)
    assert end.value.exit_code == code
    assert signal.getsignal(signal.SIGTERM) is before


@posix
def test_whoever_handles_the_signal_goes_on_handling_it():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("heard"))
    try:
        with terminable():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == ["heard"]


@posix
@pytest.mark.slow
def test_a_search_that_is_terminated_keeps_its_winner(tmp_path):
    words = "synthesize --metric iou --budget 100000 --search-images 16 --heldout-images 8"
    command = [sys.executable, "-m", "sycam.cli", *words.split(), "--layer", "features.5"]
    search = subprocess.Popen([*command, "--out", "run"], cwd=tmp_path, stderr=subprocess.PIPE)
    journal = tmp_path / "run" / "scores.jsonl"
    for _ in range(600):
        if journal.exists() and journal.read_text().count("\n") > 40:
            break
        time.sleep(0.2)
    search.send_signal(signal.SIGTERM)
    _, said = search.communicate(timeout=300)
    assert search.returncode == 143, said.decode()
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["search"]["stopped"] == "interrupt"
    assert result["validation"]["rows"][0]["kind"] == "winner"
