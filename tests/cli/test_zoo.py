"""``sycam zoo``: all formulas, one of them, a run as one."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import sycam
from sycam.cli import app
from sycam.methods.zoo import Entry, zoo
from sycam.support.schema import from_plain


def ask(*arguments: object):
    """The command's outcome, in a wide terminal."""
    return CliRunner().invoke(app, ["zoo", *map(str, arguments)], env={"COLUMNS": "200"})


def test_all_formulas_with_rivals_and_the_warning():
    done = ask()
    assert done.exit_code == 0
    for entry in zoo().values():
        assert entry.name in done.output
        assert entry.formula in " ".join(done.output.split())
        assert entry.hardest.difference.text("+") in done.output
    assert "47 of 72 cases" in " ".join(done.output.split())


def test_one_formula_and_the_commands_that_use_it():
    done = ask("busi-road-30-70")
    said = " ".join(done.output.split())
    for part in (
        zoo()["busi-road-30-70"].formula,
        "+0.015 [+0.003, +0.029]",
        'sycam.CAM(network, "LAYER", "zoo:busi-road-30-70")',
        "sycam evaluate zoo:busi-road-30-70 grad-cam --metric road:percentiles=30+70",
        "sycam synthesize --guess zoo:busi-road-30-70",
        "47 of 72 cases",
    ):
        assert part in said
    assert 'sycam.CAM(network, "zoo:demo-road")' in ask("zoo:demo-road").output  # names its layer


def test_json_has_all_of_the_entries():
    listed = json.loads(ask("--json").output)
    assert [from_plain(Entry, one) for one in listed] == [*zoo().values()]
    assert json.loads(ask("demo-road", "--json").output) == listed[0]


def test_what_cannot_be_asked_for_says_why():
    for arguments, message in (
        (("demo-raod",), "did you mean 'demo-road'"),
        (("--name", "mine"), "give its run by --entry"),
        (("demo-road", "--entry", "run"), "ask for one of them"),
        (("--entry", "no-run"), "there is no result in 'no-run'"),
    ):
        done = ask(*arguments)
        assert isinstance(done.exception, sycam.errors.SycamError)
        assert message in str(done.exception)


@pytest.fixture
def new_winner(monkeypatch):
    """Whatever wins among a few formulas counts as new, to the entry alone."""
    from sycam.runs import contribution

    made = contribution.entry_of

    def entry_of(result, *more):
        from dataclasses import replace

        return made(replace(result, best=replace(result.best, known_as=None)), *more)

    monkeypatch.setattr(contribution, "entry_of", entry_of)


def test_a_run_that_verifies_is_printed_as_an_entry(small_run, tmp_path, new_winner):
    run = tmp_path / "run"
    assert small_run(run, pictures=False).exit_code == 0
    done = ask("--entry", run, "--name", "mine", "--trust", "--quiet")
    assert done.exit_code == 0, done.output
    entry = from_plain(Entry, json.loads(done.stdout))
    assert (entry.name, entry.formula) == ("mine", sycam.load(run).best.expression)


def test_a_run_that_was_tampered_with_is_not(small_run, tmp_path, new_winner):
    run = tmp_path / "run"
    assert small_run(run, pictures=False).exit_code == 0
    file = run / "result.json"
    data = json.loads(file.read_text())
    data["best"]["heldout"]["mean"] += 0.01
    data["best"]["heldout"]["high"] += 0.01
    file.write_text(json.dumps(data))
    done = ask("--entry", run, "--name", "mine", "--trust", "--quiet")
    assert done.exit_code == 1
    assert not done.stdout
    assert "Not verified" in done.stderr
