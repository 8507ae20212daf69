"""Messages name an argument as whoever reads them writes it: in Python, or as a command's flag."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import sycam
from sycam.cli import app
from sycam.errors import DataError, OptionError, SycamError, UnknownNameError
from sycam.problem.images import open_source
from sycam.support.permission import permit, reading_a_run

SOURCE = Path(sycam.__file__).parent


def refused(*arguments: object) -> str:
    """What the command says; for an error, the message."""
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert isinstance(done.exception, SycamError), done.output
    return str(done.exception)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name, side in (("a", 8), ("b", 12)):
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize(
    ("keyword", "value", "python", "flag"),
    [
        ("max_cost", 0, "max_cost must be an integer", "--max-cost must be an integer"),
        ("select", "best", "select 'best' is not known", "--select 'best' is not known"),
        ("heldout", 1, "heldout must be at least 2", "--heldout-images must be at least 2"),
        ("output", "tanh", "output 'tanh' is not", "--output 'tanh' is not understood"),
        ("budget", "long", "budget 'long' is not", "--budget 'long' is not understood"),
        ("threshold", "x", "threshold 'x' is not", "--threshold 'x' is not understood"),
    ],
)
def test_an_option_out_of_range(keyword, value, python, flag):
    with pytest.raises(OptionError) as error:
        sycam.synthesize("demo", "auto", "demo", **{keyword: value})
    assert str(error.value).startswith(python)
    assert refused("synthesize", flag.split()[0], value).startswith(flag)
    again = pickle.loads(pickle.dumps(error.value))  # noqa: S301
    assert str(again) == str(error.value)


def test_an_argument_with_a_value(images, tmp_path):
    table = tmp_path / "images.csv"
    table.write_text("path\nimages/a.png\n")
    with pytest.raises(OptionError, match=r"^labels='sorted' belongs to a folder"):
        sycam.load_images(table, labels="sorted")
    said = refused("evaluate", "grad-cam", "--images", table, "--labels", "sorted")
    assert said.startswith("--labels sorted belongs to a folder")


def test_a_note_and_a_value_that_its_user_chooses(images, tmp_path):
    notes: list[str] = []
    source = open_source(
        images, sycam.open_network(nn.Conv2d(3, 2, 1)), lambda event: notes.append(str(event))
    )
    assert any("of the network; size, mean and std set it" in note for note in notes)
    with pytest.raises(DataError, match=r"; give size \(what the short side"):
        source.whole()
    network = tmp_path / "net.py"
    network.write_text("import torch\ndef make():\n    return torch.nn.Conv2d(3, 2, 1)\n")
    given = ["evaluate", "grad-cam", "--network", f"{network}:make", "--images", str(images)]
    done = CliRunner().invoke(app, given)
    assert "--size, --mean and --std set it" in " ".join(done.output.split())
    assert "; give --size S (what the short side" in str(done.exception)


def test_a_switch_and_a_list(tmp_path):
    file = tmp_path / "my metric.py"
    with pytest.raises(SycamError) as error, reading_a_run():
        permit(file, "metric")
    assert f"give metric_files=[{str(file)!r}], or say trust=True" in str(error.value)


def test_an_error_that_is_raised_again_with_more_said():
    with pytest.raises(UnknownNameError) as error:
        sycam.evaluate("demo", "auto", "demo", ["mean(nosuch(G))"], ["iou"])
    assert "in expression" in str(error.value)
    assert "needs the import of the file that declares it" in str(error.value)
    said = refused("evaluate", "mean(nosuch(G))", "--metric", "iou")
    assert "in expression" in said
    assert "one of your own needs --operators FILE.py" in said
    # A command that has no such option names none.
    assert "--operators" not in refused("methods", "show", "mean(nosuch(G))")


def test_text_of_users_is_said_as_it_is(tmp_path):
    folder = tmp_path / "labels max_cost=3 `out` {size}"
    assert str(folder) in refused("evaluate", "grad-cam", "--images", folder)


# What speaks of flags by itself.
_EXCEPTIONS = {
    "data/demo/train.py": "a command of its own, with flags of its own",
    "data/readers/class_folders.py": "notes of a run, which are compared when it is verified",
    "report/asked.py": "the command that asks for the same, on a run's page",
    "report/listings/metrics.py": "a page of the documentation",
    "report/listings/zoo.py": "a page of the documentation, and commands to copy",
}


_OF_PYTHON = {"alpha", "executor", "gates", "reduction"}  # arguments that no command has


def _parameters() -> Iterator[object]:
    """Of all commands."""

    def below(command: object) -> Iterator[object]:
        yield from command.params
        for one in getattr(command, "commands", {}).values():
            yield from below(one)

    return below(typer.main.get_command(app))


def _trees() -> Iterator[tuple[str, ast.AST]]:
    for file in sorted(SOURCE.rglob("*.py")):
        name = file.relative_to(SOURCE).as_posix()
        if not name.startswith("cli/") and name not in _EXCEPTIONS:
            yield name, ast.parse(file.read_text(encoding="utf-8"))


def test_no_text_of_the_library_names_a_flag():
    flags = {opt for p in _parameters() for opt in (*p.opts, *p.secondary_opts)}
    flags = {flag for flag in flags if flag.startswith("--")}
    assert {"--max-cost", "--no-constants", "--heldout-images"} <= flags
    told = [
        f"{name}:{node.lineno}: {flag}"
        for name, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for flag in flags
        if flag in node.value
    ]
    assert told == []


def test_arguments_that_messages_name_are_parameters_of_commands():
    known = {p.name for p in _parameters()} | _OF_PYTHON
    named = {
        node.args[0].value
        for _, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "argument"
        and isinstance(node.args[0], ast.Constant)
    }
    assert {"max_cost", "out", "metric_files"} <= named
    assert named <= known
