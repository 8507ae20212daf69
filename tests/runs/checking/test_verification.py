"""A run is derived again, and a result that was tampered with is told."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import sycam
from sycam.cli import app
from sycam.data import demo
from sycam.errors import OptionError, RunError
from sycam.runs.result import digest_of


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)
    ).eval()


def images():
    return torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))


OPTIONS = {
    "metric": "average-drop", "budget": 8, "max_cost": 2, "search_images": 18, "heldout": 14,
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "race"
    return sycam.synthesize(network(), "1", images(), out=out, **OPTIONS).path


def failed(path):
    return [c for c in sycam.verify(path, network(), images()).checks if not c.holds]


def changed(finished, tmp_path, change, honest_digest=False):
    """A copy of the run whose result was edited."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    file = copy / "result.json"
    data = json.loads(file.read_text())
    change(data)
    if honest_digest:
        data["digest"] = digest_of(data)
    file.write_text(json.dumps(data))
    return copy


def test_scores_that_were_made_up_fail_even_where_all_else_fits_them(finished, tmp_path):
    def shifted(data):
        row = next(r for r in data["validation"]["rows"] if r["kind"] == "winner")
        row["scores"] = [s - 0.05 for s in row["scores"]]
        for key in ("mean", "low", "high"):
            row["heldout"][key] -= 0.05

    (check,) = failed(changed(finished, tmp_path, shifted, honest_digest=True))
    assert "validation.rows.0.scores.0" in check.found


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_scores_in_other_units_are_compared_in_their_units(tmp_path, unit):
    def target(row):
        return unit * row[1]

    given = {"metric": "average-drop:kind=absolute", "target": target}
    path = sycam.synthesize(
        network(), "1", images(), out=tmp_path / "run", **OPTIONS | given
    ).path  # fmt: skip
    done = sycam.verify(path, network(), images(), target=target)
    assert done.holds, done.checks

    def shifted(data):
        row = data["validation"]["rows"][1]
        row["scores"][0] += 0.01 * max(map(abs, row["scores"]))

    forged = changed(path, tmp_path, shifted, honest_digest=True)
    told = sycam.verify(forged, network(), images(), target=target)
    assert "validation.rows.1.scores.0" in "".join(check.found for check in told.checks)


def test_any_change_is_seen_by_the_digest(finished, tmp_path):
    def harmless(data):
        data["created"] = "2020-01-01T00:00:00+00:00"

    (check,) = failed(changed(finished, tmp_path, harmless))
    assert "digest" in check.found


def test_a_journal_that_lacks_scores_or_has_others_fails(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    lines = (copy / "scores.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "scores.jsonl").write_bytes(b"".join(lines[:-3]))
    assert "lacks scores" in failed(copy)[0].found


def test_another_network_is_told(finished):
    other = network()
    next(other.parameters()).data.mul_(1.01)
    done = sycam.verify(finished, other, images())
    assert "computes something else" in "".join(c.found for c in done.checks)


@pytest.mark.slow
def test_the_command_derives_a_run_on_record_and_exits_with_1_where_it_cannot(tmp_path):
    path = sycam.synthesize("demo", demo.LAYER, "demo", out=tmp_path / "run", **OPTIONS).path
    runner = CliRunner()
    good = runner.invoke(app, ["verify", str(path), "--quiet"])
    assert good.exit_code == 0
    assert "Verified." in good.output
    assert "Not checked: environment" in good.output
    forged = changed(path, tmp_path, lambda data: data["certificate"].update(finished=1000))
    bad = runner.invoke(app, ["verify", str(forged), "--json"])
    assert bad.exit_code == 1
    said = json.loads(bad.stdout)
    assert said["holds"] is False
    assert "environment" in [one["path"] for one in said["unchecked"]]


@pytest.mark.parametrize(
    ("last", "output", "read"),
    [
        (nn.Softmax(1), "auto", "probabilities:softmax"),
        (nn.Identity(), "sigmoid", "logits:sigmoid"),
    ],
)
def test_what_the_outputs_are_is_on_record(
    tmp_path, small_network, small_images, last, output, read
):
    network, notes = nn.Sequential(small_network, last), []
    images = torch.cat([small_images, small_images.flip(-1)])
    result = sycam.synthesize(
        network, "0.3", images, metric="average-drop", budget=16, max_cost=2, search_images=8,
        heldout=6, out=tmp_path / "run", mode="exact", output=output, notify=notes.append,
    )  # fmt: skip
    assert result.record.settings.output == read
    told = [note for note in notes if "returns probabilities" in getattr(note, "text", "")]
    assert len(told) == (read == "probabilities:softmax")
    assert sycam.verify(result.path, network, images).holds
    forged = json.loads((result.path / "result.json").read_text())
    forged["settings"]["output"] = "logits:softmax"
    forged["digest"] = digest_of(forged)
    (result.path / "result.json").write_text(json.dumps(forged))
    assert not sycam.verify(result.path, network, images).holds


def test_what_was_given_from_python_is_asked_for(tmp_path, small_network, small_images):
    images = torch.cat([small_images, small_images.flip(-1)])
    result = sycam.synthesize(
        small_network, "3", images, metric="average-drop", budget=16, max_cost=2,
        search_images=8, heldout=6, out=tmp_path / "run", mode="exact",
    )  # fmt: skip
    with pytest.raises(RunError, match="network and images"):
        sycam.verify(result.path)
    assert sycam.verify(result.path, small_network, images).holds


def test_progress_is_shown_where_it_is_asked_for(finished, capsys):
    events = []
    assert sycam.verify(finished, network(), images(), progress=True, notify=events.append).holds
    shown = capsys.readouterr().err
    assert "Playing the search again" in shown
    assert "Validating on held-out images" in shown
    told = len(events)
    assert sycam.verify(finished, network(), images(), progress=False, notify=events.append).holds
    assert capsys.readouterr().err == ""
    assert len(events) == 2 * told  # whatever is shown
    with pytest.raises(OptionError, match="progress is 'yes'"):
        sycam.verify(finished, network(), images(), progress="yes")
