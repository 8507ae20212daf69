"""What Python shows of a run: the same as the command, in a terminal and in a notebook."""

from __future__ import annotations

import importlib
import io
import json
import re
from html import unescape

import pytest

import sycam
from sycam.errors import OptionError
from sycam.report import keeping
from sycam.report.progress import console_of
from sycam.report.verdict import sentences
from sycam.runs.events import Failed, Finished, Opened
from sycam.search.budget import Budget
from sycam.validation.findings import Validated


@pytest.fixture(scope="module")
def run(small_run, tmp_path_factory):
    """Folder and output of a small run."""
    folder = tmp_path_factory.mktemp("display") / "run"
    done = small_run(folder, pictures=False)
    assert done.exit_code == 0, done.output
    return folder, done.output


def test_printing_a_result_says_what_the_command_said(run):
    folder, output = run
    told = str(sycam.load(folder)).splitlines()
    command = [line.rstrip() for line in output.splitlines()]
    assert [line.rstrip() for line in told if line.strip()] == [
        line
        for line in command[command.index(told[0].rstrip()) :]
        if line.strip() and not line.startswith("  sycam export")
    ]
    assert f"Kept in {folder}" in told


def test_a_result_is_one_line_where_it_is_one_of_many_values(run):
    said = repr(sycam.load(run[0]))
    assert "\n" not in said
    assert len(said) < 300
    assert str(run[0]) in said


def test_a_notebook_shows_every_word_of_the_command(run):
    result = sycam.load(run[0])
    html = result._repr_html_()
    words = unescape(re.sub(r"<[^>]+>", " ", re.sub(r"</?b>", "", html))).split()
    for one in sentences(result):
        assert f"<b>{one.claim}</b>" in unescape(html)
    said = re.sub(r"[─━]", " ", str(result))
    # A terminal breaks long names into parts.
    assert [part for part in said.split() if not any(part in word for word in words)] == []
    assert html.count("<table>") == 4


def test_a_warning_is_shown_and_text_of_users_stays_text(run, tmp_path):
    data = json.loads((run[0] / "result.json").read_text())
    data["validation"]["rows"][0]["guards"]["class-sensitivity"] = 0.0
    data["grammar"]["name"] = "<script>[bold]x"
    (tmp_path / "result.json").write_text(json.dumps(data))
    result = sycam.load(tmp_path)
    for shown in (str(result), result._repr_html_()):
        assert "Do not trust it as an explanation" in shown
        assert "[bold]x" in shown
    assert "<script>" not in result._repr_html_()


class Screen(io.StringIO):
    """Text that says of itself that it is a terminal."""

    def isatty(self):
        return True


def test_progress_is_shown_in_a_terminal_alone_unless_asked(monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert console_of(None) is None
    assert console_of(True) is not None
    monkeypatch.setattr("sys.stderr", Screen())
    assert console_of(None).is_terminal
    assert console_of(False) is None
    with pytest.raises(OptionError, match=r"True, False, or None .* given by notify"):
        console_of(print)


def test_a_search_from_python_shows_and_tells_its_progress(
    small_network, small_images, tmp_path, capsys, monkeypatch
):
    events = []
    asked = {"metric": "average-drop", "budget": 6, "max_cost": 1, "mode": "exact"}
    images = {"search_images": 4, "heldout": 3}

    def search(images_, out="run", **more):
        return sycam.synthesize(
            small_network, "3", images_, out=tmp_path / out, notify=events.append, **asked,
            **images, **more,
        )  # fmt: skip

    drawn = []
    monkeypatch.setattr(
        importlib.import_module("sycam.jobs.synthesis"), "keep_pictures", lambda *a: drawn.append(a)
    )
    result = search(small_images)
    assert capsys.readouterr().err == ""
    assert search(small_images, "again", progress=True, report=False).best == result.best
    assert "Scoring" in capsys.readouterr().err
    assert len(drawn) == 1
    kinds = [type(event) for event in events]
    assert kinds.count(Opened) == kinds.count(Finished) == 2
    opened = events[kinds.index(Opened)]
    assert (opened.layers, opened.search_images) == (("3",), 4)
    assert opened.settings == result.record.settings
    events.clear()
    with pytest.raises(sycam.SycamError):
        search(small_images[:1])
    assert [type(event) for event in events if not isinstance(event, Finished)][-1] is Failed


@pytest.mark.slow
def test_a_search_from_python_writes_its_page(small_network, small_images, tmp_path, monkeypatch):
    synthesis = importlib.import_module("sycam.jobs.synthesis")
    monkeypatch.setattr(synthesis, "keep_pictures", keeping.keep_pictures)  # as it is for users
    result = sycam.synthesize(
        small_network, "3", small_images, metric="average-drop", budget=6, max_cost=1,
        mode="exact", search_images=4, heldout=3, out=tmp_path / "run",
    )  # fmt: skip
    for name, said in keeping.SAID.items():
        assert (tmp_path / "run" / name).is_file()
        assert f"{tmp_path / 'run' / name}   {said}" in str(result)


def test_a_picture_that_fails_is_warned_of_and_the_page_is_written(run):
    result, warned = sycam.load(run[0]), []
    keeping.keep_pictures(result, Validated(None, None, None), Budget(), "torch", warned.append)
    assert any("heatmaps on held-out images" in text for text in warned)
    assert (run[0] / "report.html").is_file()
