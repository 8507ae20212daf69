"""The command that asks for what a run was asked for."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import sycam
from sycam.cli import app
from sycam.report.asked import command_of, data_in_words
from sycam.search import SearchOptions

READ = {"source": "/data/my photos", "masks": "/data/masks", "boxes": None, "size": 224,
        "resize": 256, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2], "interpolation": "bicubic",
        "channels": 3, "squash": False, "labels": "sorted", "classes": None}  # fmt: skip


@pytest.fixture(scope="module")
def run(small_run, tmp_path_factory):
    """The folder of a small run."""
    out = tmp_path_factory.mktemp("asked") / "run"
    done = small_run(out, pictures=False)
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture
def record(run):
    return sycam.load(run).record


def of_files(record, **changed):
    network = replace(record.network, source="torchvision:resnet50", layers=("layer4", "layer3"),
                      fusion=(0.3, 0.7), preprocessing=None)  # fmt: skip
    data = replace(record.data, search_origin=READ, heldout_origin=READ)
    options = SearchOptions(mode="exact", budget="20m", constants=False, guesses=("G", "mean(G)"))
    settings = replace(record.settings, search=options.to_dict(), grammar="gradient",
                       target="label", correct_only=True)  # fmt: skip
    made = replace(record, network=network, data=data, settings=settings,
                   required=("class-sensitivity > 0.2",))  # fmt: skip
    return replace(made, **changed)


def asked(command):
    words = shlex.split(command.replace("\\\n", ""))
    assert words[:2] == ["sycam", "synthesize"]
    return " ".join(words[2:])


def test_a_command_names_all_that_is_not_as_usual(record):
    said = asked(command_of(of_files(record)))
    for part in (
        "--network torchvision:resnet50 --layer layer4 --layer layer3",
        "--images /data/my photos --labels sorted --masks /data/masks --mean 0.5,0.4,0.3",
        "--size 224 --resize 256 --interpolation bicubic",
        "--correct-only",
        "--require class-sensitivity > 0.2",
        "--target label",
        "--fusion 0.3,0.7",
        "--mode exact --budget 1200s --guess G --guess mean(G) --no-constants",
    ):
        assert part in said
    assert "--max-cost" not in said  # as usual
    assert "--boxes" not in said
    # Preprocessing of the network's own needs no words.
    own = {name: READ[name] for name in ("size", "resize", "mean", "std", "interpolation")}
    network = replace(of_files(record).network, preprocessing=own)
    assert "--mean" not in command_of(of_files(record, network=network))


def test_the_command_goes_on_with_the_run(run, record, no_pictures):
    words = shlex.split(command_of(record).replace("\\\n", ""))
    done = CliRunner().invoke(app, [*words[1:], "--quiet", "--out", str(run)])
    assert done.exit_code == 0, done.output  # another command's run is refused
    assert sycam.load(run).record.identity == record.identity


def test_no_command_is_made_up_for_what_only_python_can_give(record):
    for changed in (
        replace(record, network=replace(record.network, source=None)),
        replace(record, data=replace(record.data, search_origin=None)),
        replace(record, settings=replace(record.settings, target="callable f")),
        replace(record, settings=replace(record.settings, grammar="mine")),
    ):
        assert command_of(changed) is None


def test_data_are_said_with_their_preprocessing(record):
    said = dict(data_in_words(of_files(record)))
    assert said["Search images"].endswith("of /data/my photos, masks of /data/masks")
    assert "short side to 256 (bicubic), centre crop 224" in said["Preprocessing"]
    assert "Only" in said
