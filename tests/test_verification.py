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
from sycam.errors import RunError
from sycam.result import digest_of

OPTIONS = {
    "metric": "average-drop", "budget": 30, "max_cost": 2, "search_images": 24, "heldout": 14,
}  # fmt: skip


def run(out, **changes):
    return sycam.synthesize("demo", demo.LAYER, "demo", out=out, **(OPTIONS | changes))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs") / "race").path


def failed(path):
    return [check for check in sycam.verify(path).checks if not check.holds]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["race", "exact"])
def test_a_fresh_run_holds(finished, tmp_path, mode):
    path = finished if mode == "race" else run(tmp_path / mode, mode=mode).path
    done = sycam.verify(path)
    assert done.holds, [c.found for c in done.checks if not c.holds]
    assert len(done.checks) == 11
    assert "environment" in [one.path for one in done.unchecked]


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


def another_winner(data):
    other = next(f for f in data["hall"] if f["expression"] != data["best"]["expression"])
    data["best"] = {**other, "heldout": data["best"]["heldout"]}


def better_heldout(data):
    row = next(r for r in data["validation"]["rows"] if r["kind"] == "winner")
    row["heldout"]["mean"] += 0.05


def better_score(data):
    data["best"]["score"] -= 0.01


def smaller_p(data):
    row = next(r for r in data["validation"]["rows"] if r["against"])
    row["against"]["p_holm"] = row["against"]["p"] = 1e-4


def larger_space(data):
    data["certificate"]["complete_cost"] += 1


def fewer_dropped(data):
    data["certificate"]["finished"] += 1


def shifted_heldout(data):
    """All that is computed from the held-out scores fits them, but they were made up."""
    row = next(r for r in data["validation"]["rows"] if r["kind"] == "winner")
    row["scores"] = [s - 0.05 for s in row["scores"]]
    for key in ("mean", "low", "high"):
        row["heldout"][key] -= 0.05


@pytest.mark.parametrize(
    "change",
    [another_winner, better_heldout, better_score, smaller_p, larger_space, fewer_dropped,
     shifted_heldout],
)  # fmt: skip
def test_a_changed_file_fails_even_where_its_digest_was_made_anew(finished, tmp_path, change):
    honest = changed(finished, tmp_path, change, honest_digest=True)
    assert failed(honest)


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
    network = demo.network()
    next(network.parameters()).data.mul_(1.01)
    done = sycam.verify(finished, network=network)
    assert "computes something else" in "".join(c.found for c in done.checks)


@pytest.mark.slow
def test_the_command_says_so_and_exits_with_1(finished, tmp_path):
    runner = CliRunner()
    good = runner.invoke(app, ["verify", str(finished), "--quiet"])
    assert good.exit_code == 0
    assert "Verified." in good.output
    assert "Not checked: environment" in good.output
    bad = runner.invoke(app, ["verify", str(changed(finished, tmp_path, better_score)), "--json"])
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["holds"] is False


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
    assert result.record["settings"]["output"] == read
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
