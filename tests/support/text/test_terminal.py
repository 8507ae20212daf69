"""Text that others wrote reaches the terminal without a character that it obeys."""

from __future__ import annotations

import json
import re

import pytest
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

import sycam
from sycam.cli import app, main
from sycam.report.progress import Watcher
from sycam.report.tables import result_tables
from sycam.runs.result import digest_of
from sycam.support.text.terminal import json_text, open_console, printable, shown

EVIL = "x\x1b[2J\x9b31m\u202e[/][bold]\nForged.\n"
HALF = "\ud800"  # of a character, which no encoding can say
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.fixture(scope="module")
def forged(small_run, tmp_path_factory):
    """A run whose names are forged, its digest made again."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert small_run(folder, "--quiet", pictures=False).exit_code == 0
    data = json.loads((folder / "result.json").read_text())
    data["grammar"]["name"] = data["search"]["stopped"] = EVIL
    data["settings"]["metric"] = data["network"]["name"] = data["network"]["layer"] = EVIL
    for row in data["validation"]["rows"]:
        if row["kind"] == "control":
            row["name"] += EVIL
        row["panel"] = {name + EVIL: value for name, value in row["panel"].items()}
    directions = data["validation"]["directions"]
    directions |= {name + EVIL: higher for name, higher in directions.items()}
    data["digest"] = digest_of(data)
    (folder / "result.json").write_text(json.dumps(data))
    return folder


def is_safe(text):
    lines = [line.strip() for line in text.splitlines()]
    return not OBEYED.search(text) and "Forged." not in lines


def test_every_character_that_is_obeyed_is_written_out():
    obeyed = ["\x00", "\x1b", "\x7f", "\x85", "\x9b", "\u200e", "\u2028", "\u202e", "\u2066",
              "\ud800", "\ufeff", "\U000e0041", "\n", "\r", "\t"]  # fmt: skip
    for character in obeyed:
        assert printable(f"a{character}b").isascii()
        assert printable(f"a{character}b").isprintable()
    for text in ("Größe ≥ 2", "می‌خواهم", "👩‍🔬", "日本語", "[x] \\ 'q'"):
        assert printable(text) == text
    assert printable("a\n\tb\r", lines=True) == "a\n\tb\\u000d"
    assert shown("[bold]") == "\\[bold]"


def test_json_with_such_characters_stays_the_same_data():
    value = {EVIL + HALF: ["ü", "\U000e0041", {"a": EVIL + HALF}]}
    for options in ({}, {"ensure_ascii": False}):
        text = json_text(value, indent=1, **options)
        assert json.loads(text) == value
        assert not OBEYED.search(text)
        assert ("ü" in text) == bool(options)
    assert json_text("\x7f") == '"\\u007f"'


def test_the_tables_of_a_forged_run_are_safe(forged):
    console = Console(width=100, record=True, force_terminal=False)
    with console.capture() as captured:
        console.print(result_tables(sycam.load(forged)))
    text = captured.get()
    assert is_safe(text)
    assert "\\u001b[2J" in text
    assert "[/][bold]" in text  # markup is shown, not obeyed


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_verify_of_a_forged_run_prints_nothing_that_is_obeyed(options, forged):
    done = CliRunner().invoke(app, ["verify", str(forged), "--trust", *options])
    assert done.exit_code in (0, 1)  # which fields it checks is another test's
    assert is_safe(done.output)
    if options:
        assert json.loads(done.stdout)["holds"] == (done.exit_code == 0)
    else:
        assert "digest" in done.stdout or "as it was written" in done.stdout


def test_an_error_with_a_forged_name_is_safe(monkeypatch, capsys, tmp_path):
    name = str(tmp_path / "a\x1b[2J\nForged.\n\x9b")
    monkeypatch.setattr("sys.argv", ["sycam", "report", name])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert not OBEYED.search(said)
    assert "Forged." not in said.splitlines()
    assert "\\u001b[2J" in said


def test_the_path_of_a_report_is_safe(forged, tmp_path):
    out = tmp_path / "a\x1b[2J\nForged.\n.html"
    done = CliRunner().invoke(app, ["report", str(forged), "-o", str(out)])
    assert done.exit_code == 0, done.exception
    assert out.exists()
    assert is_safe(done.output)


def test_codes_of_pictures_in_names_stay_as_they_are(capsys):
    console = open_console()
    console.print(shown("net.py:fire:x"))
    table = Table("a")
    table.add_row(shown("[b]:fire:"))
    console.print(table)
    said = capsys.readouterr().out
    assert "net.py:fire:x" in said
    assert "[b]:fire:" in said


def test_notes_and_stages_are_safe(capsys):
    from sycam.events import Note, Stage

    with Watcher(Console(width=200)) as watch:
        watch(Note(EVIL + HALF))
        watch(Stage(EVIL + HALF, 1))
    assert is_safe(capsys.readouterr().out)
