"""A run as an entry of the zoo: its figures, its command, and what is no entry."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

import sycam
from sycam.errors import OptionError, RunError
from sycam.methods.zoo import CHOSEN, HINDSIGHT
from sycam.runs.contribution import entry_of

TRUST = ["--trust", "--quiet"]


@pytest.fixture(scope="module")
def finished(small_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "small"
    asked = ("--allow", "class-agnostic", "--no-constants", "--tolerance", "0", "--seed", "3")
    done = small_run(out, *asked, pictures=False)
    assert done.exit_code == 0, done.output
    result = sycam.load(out)
    # Whatever wins among so few formulas stands for a new one.
    return replace(result, best=replace(result.best, known_as=None))


def test_the_entry_says_what_the_run_does(finished):
    entry = entry_of(finished, name="small-drop")
    assert (entry.name, entry.metric) == ("small-drop", "average-drop")
    assert (entry.search_images, entry.heldout_images, entry.layers) == (4, 4, ("3",))
    assert entry.formula == finished.best.expression
    assert entry.heldout.mean == pytest.approx(finished.best.heldout.mean, abs=1e-4)
    rows = {row.name: row for row in finished.validation.rows}
    assert [rival.why for rival in entry.rivals] == [CHOSEN, HINDSIGHT]
    assert entry.rivals[0].name == finished.validation.chosen_published
    for rival in entry.rivals:
        against = rows[rival.name].against.difference
        assert rival.difference.mean == pytest.approx(against.mean, abs=1e-4)
        assert rival.difference.low <= rival.difference.mean <= rival.difference.high


def test_its_command_is_understood_and_asks_for_the_same_run(finished, small_run, tmp_path):
    from typer.testing import CliRunner

    from sycam.cli import app

    command = shlex.split(entry_of(finished).command)
    assert command[:2] == ["sycam", "synthesize"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sycam.report.keeping.keep_pictures", lambda *_: None)
        done = CliRunner().invoke(app, [*command[1:], "--out", str(tmp_path / "again")])
    assert done.exit_code == 0, done.output
    again = sycam.load(tmp_path / "again")
    assert again.record.identity == finished.record.identity
    assert again.record.settings == finished.record.settings
    assert again.best.expression == finished.best.expression
    assert again.best.score == finished.best.score


def test_without_a_name_it_has_that_of_network_and_metric(finished):
    assert entry_of(finished).name.endswith("-average-drop")
    with pytest.raises(OptionError, match="'My run' is no name of the zoo"):
        entry_of(finished, name="My run")


def test_what_is_no_new_formula_with_evidence_is_refused(finished):
    with pytest.raises(RunError, match="no winner"):
        entry_of(replace(finished, best=None))
    with pytest.raises(RunError, match="a published CAM won, grad-cam"):
        entry_of(replace(finished, best=replace(finished.best, known_as="grad-cam")))
    with pytest.raises(RunError, match="no held-out evidence"):
        entry_of(replace(finished, best=replace(finished.best, heldout=None)))


def test_a_run_that_no_command_can_repeat_is_refused(finished):
    record = finished.record
    of_python = replace(record, network=replace(record.network, source=None))
    with pytest.raises(RunError, match="network was given from Python: name it by network"):
        entry_of(replace(finished, record=of_python))
    assert (
        "--network net:make " in entry_of(replace(finished, record=of_python), "net:make").command
    )
    of_python = replace(record, data=replace(record.data, search_origin=None))
    with pytest.raises(RunError, match="images, target or reshape were given from Python"):
        entry_of(replace(finished, record=of_python))
