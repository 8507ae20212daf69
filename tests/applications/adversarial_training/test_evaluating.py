"""Robust accuracy, natural and under attacks, and the commands from end to end."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from typer.testing import CliRunner

import sycam.applications
from sycam.applications import robust_accuracy
from sycam.applications.adversarial_training.accuracy import row_of
from sycam.cli import app
from sycam.errors import OptionError, UnknownNameError

NETWORK = """
import torch
from torch import nn

def digits():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(),
        nn.Linear(256, 10),
    )
"""


def invoked(*arguments: str):
    shown = CliRunner().invoke(app, ["part", *arguments])
    assert shown.exit_code == 0, shown.output + repr(shown.exception)
    return json.loads(shown.stdout)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """300 of scikit-learn's digits to train on, 100 to test on, and a network."""
    monkeypatch.chdir(tmp_path)
    found = load_digits()
    images = (found.images * 255 / 16).round().astype(np.uint8)
    np.savez("train.npz", images=images[:300], labels=found.target[:300])
    np.savez("test.npz", images=images[300:400], labels=found.target[300:400])
    (tmp_path / "nets.py").write_text(NETWORK)
    return tmp_path


def test_train_attack_and_evaluate_as_commands(folder):
    network = ["--network", "nets.py:digits"]
    train = ["train", "grad-cam", *network, "--layer", "6", "--images", "train.npz", "--test",
             "test.npz", "--eps", "0.1", "--eps-low", "0.02", "--epochs", "6", "--warm-up", "2",
             "--steps", "3", "--batch", "32", "--learning-rate", "0.05", "--out", "out",
             "--json", "--quiet"]  # fmt: skip
    trained = invoked(*train)
    assert trained["title"] == "PART with grad-cam"
    assert trained == json.loads((folder / "out/training.json").read_text())
    assert [row["marked"] == 1 for row in trained["epochs"]] == [True] * 2 + [False] * 4
    assert len((folder / "out/epochs.csv").read_text().splitlines()) == 7
    assert invoked(*train) == trained  # from its checkpoint

    given = [*network, "--checkpoint", "out/weights.safetensors", "--images", "test.npz",
             "--eps", "0.1", "--json", "--quiet"]  # fmt: skip
    measured = invoked("evaluate", *given, "--csv", "accuracy.csv")
    assert measured["rows"] == trained["accuracy"]["rows"]
    natural, robust = (row["accuracy"] for row in measured["rows"])
    assert natural > 0.8
    assert robust > invoked("evaluate", *network, *given[4:])["rows"][1]["accuracy"] + 0.3
    assert len((folder / "accuracy.csv").read_text().splitlines()) == 3

    attacked = invoked("attack", *given, "--out", "attacked")
    assert attacked["natural"] == natural
    assert attacked["robust"] == robust  # the same starts
    assert all(row["largest"] <= 0.1 + 1e-6 for row in attacked["rows"])


def test_training_by_the_minimum_margin_attack_as_a_command(folder):
    """Tested by PGD and by the attack that was trained by, as evaluating and attacking say."""
    network = ["--network", "nets.py:digits"]
    train = ["train", "grad-cam", *network, "--layer", "6", "--images", "train.npz", "--test",
             "test.npz", "--eps", "0.1", "--attack", "mma", "--epochs", "6", "--warm-up", "2",
             "--steps", "3", "--batch", "32", "--learning-rate", "0.05", "--out",
             "out"]  # fmt: skip
    shown = CliRunner().invoke(app, ["part", *train])
    assert shown.exit_code == 0, shown.output
    assert "PART with grad-cam, minimum-margin attack" in shown.output
    kept = json.loads((folder / "out/training.json").read_text())
    assert kept["settings"]["attack"] == "mma"
    rows = kept["accuracy"]["rows"]
    assert [row["attack"] for row in rows] == ["natural", "pgd-20", "mma-20"]
    for row in rows:
        assert f"{row['accuracy']:.3f}" in shown.output
    given = [*network, "--images", "test.npz", "--eps", "0.1", "--json", "--quiet"]
    both = ["evaluate", *given, "--attack", "pgd", "--attack", "mma"]
    trained = ["--checkpoint", "out/weights.safetensors"]
    assert invoked(*both, *trained)["rows"] == rows
    for before, after in zip(invoked(*both)["rows"], rows, strict=True):
        assert after["accuracy"] > before["accuracy"] + 0.3
    attacked = invoked("attack", *given, *trained, "--attack", "mma")
    assert (attacked["attack"], attacked["robust"]) == ("mma-20", rows[2]["accuracy"])

    shown = CliRunner().invoke(app, ["part", *train, "--attack", "pgd"])
    assert 'differs in attack (there "mma", now "pgd")' in str(shown.exception)
    shown = CliRunner().invoke(app, ["part", *train, "--objective", "trades"])
    assert "--objective trades trains on images where" in str(shown.exception)


def test_a_training_that_is_interrupted_says_what_is_kept(folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sycam.applications, "part", interrupted)
    given = ["part", "train", "--network", "nets.py:digits", "--images", "train.npz"]
    shown = CliRunner().invoke(app, given)
    assert shown.exit_code == 130
    assert "kept nowhere: --out names" in shown.output
    assert "Interrupted.\n" in shown.output
    shown = CliRunner().invoke(app, [*given, "--out", "out"])
    assert shown.exit_code == 130
    assert "Interrupted. Finished epochs are kept" in shown.output


def test_more_restarts_and_more_budget_leave_fewer_images(network, images):
    pixels, labels = images
    given = {"labels": labels, "progress": False, "steps": 3}
    found = [
        robust_accuracy(network, pixels, eps=eps, restarts=restarts, **given)
        for eps, restarts in ((1e-6, 1), (0.05, 1), (0.05, 6), (0.5, 1))
    ]
    robust = [one.robust for one in found]
    assert robust == sorted(robust, reverse=True)
    assert robust[0] == found[0].natural > robust[-1]
    assert {one.natural for one in found} == {found[0].natural}
    assert found[2].rows[1].attack == "pgd-3x6"
    with pytest.raises(UnknownNameError, match="pgd-3x6"):
        found[2].accuracy("pgd-3")


def test_accuracies_do_not_depend_on_the_batch(network, images):
    pixels, labels = images
    given = {"labels": labels, "eps": 0.03, "restarts": 2, "steps": 4, "progress": False}
    whole = robust_accuracy(network, pixels, **given)
    parts = robust_accuracy(network, pixels, batch=5, **given)
    assert all(np.array_equal(whole.correct[n], parts.correct[n]) for n in whole.correct)


def test_a_row_has_wilsons_interval():
    """By its formula: at 3 of 10, z 1.96."""
    z, n, p = 1.959963984540054, 10, 0.3
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    row = row_of("pgd", np.arange(10) < 3)
    assert (row.accuracy, row.correct) == (0.3, 3)
    assert (row.low, row.high) == pytest.approx((centre - half, centre + half))


@pytest.mark.parametrize("classes", [2, 5])
def test_the_minimum_margin_attack_beats_linear_networks_where_that_can_be_done(classes):
    """By its closed form: what the label leads by, less eps times the weights' distance in l1."""
    torch.manual_seed(classes)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, classes))
    pixels = torch.rand(40, 3, 4, 4) * 0.6 + 0.2  # no pixel meets the range's ends
    with torch.no_grad():
        logits = network(pixels)
        labels, weights = logits.argmax(1), network[1].weight
        apart = (weights[labels][:, None] - weights[None]).abs().sum(-1)
        lead = logits.gather(1, labels[:, None]) - logits
        needed = (lead / apart).nan_to_num(torch.inf).amin(1)
        eps = 1.01 * float(needed.median())  # enough for half of them
        left = lead - eps * apart
        # Of more than three false classes the likeliest three are tried.
        others = logits.scatter(1, labels[:, None], -torch.inf)
        tried = others.topk(min(3, classes - 1)).indices
        stands = (left.gather(1, tried) > 0).all(1)
    assert 0 < stands.sum() < 40
    found = robust_accuracy(
        network, pixels, ["pgd", "mma"], labels=labels, eps=eps, steps=40, progress=False
    )
    assert found.correct["mma-40"].tolist() == stands.tolist()
    assert (found.correct["pgd-40"] >= found.correct["mma-40"]).all()


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_autoattack_leaves_no_more_than_pgd(classes, make_images):
    pytest.importorskip("pyautoattack")
    torch.manual_seed(0)
    pixels, _ = make_images(8, 1)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(128, classes)).eval()
    labels = network(pixels).argmax(1)
    drawn = torch.random.get_rng_state()
    found = robust_accuracy(
        network, pixels, ["pgd", "autoattack"], labels=labels, eps=0.02, progress=False
    )
    assert torch.equal(drawn, torch.random.get_rng_state())
    assert found.natural == 1
    # A linear network's margin: how far the nearest other class is, in the largest norm.
    w, b = network[1].weight.double(), network[1].bias.double()
    x = pixels.flatten(1).double()
    logits = x @ w.T + b
    withstands = []
    for i, y in enumerate(labels.tolist()):
        survives = True
        for other in set(range(classes)) - {y}:
            slope = w[other] - w[y]
            best = (x[i] + 0.02 * slope.sign()).clamp(0, 1)
            gained = (logits[i, other] - logits[i, y]) + slope @ (best - x[i])
            survives &= bool(gained < 0)
        withstands.append(survives)
    assert found.correct["autoattack"].tolist() == withstands
    assert (found.correct["pgd-20"] >= found.correct["autoattack"]).all()


def test_an_attack_that_is_not_installed_is_named(network, images, monkeypatch):
    from sycam.applications.adversarial_training import evaluating

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(evaluating, "import_module", absent)
    with pytest.raises(OptionError, match=r"pip install 'sycam\[autoattack\]'"):
        robust_accuracy(network, images[0], "autoattack", labels=images[1])
    with pytest.raises(UnknownNameError, match="pgd"):
        robust_accuracy(network, images[0], "pdg", labels=images[1])
