"""sycam doctor, and what the shell completes."""

from __future__ import annotations

import importlib
import json

import pytest
from typer.testing import CliRunner

from sycam.cli import app
from sycam.cli.diagnosing import diagnosis
from sycam.cli.options import completion
from sycam.errors import NetworkError

# By its module's name: in the package of commands, doctor is the command.
COMMAND = importlib.import_module("sycam.cli.diagnosing.diagnosis")


@pytest.fixture(scope="module")
def found() -> diagnosis.Diagnosis:
    return diagnosis.diagnose()


def test_the_self_check_holds_here(found):
    assert found.sound
    assert {"imputer", "ranks of pixels", "3x3 convolutions"} == set(found.compiled)
    assert len(found.checks) >= 1
    assert found.versions["torch"]
    assert found.threads >= 1
    assert found.memory > 1 << 28


def test_the_command_in_words_and_as_json(monkeypatch, found):
    monkeypatch.setattr(COMMAND, "diagnose", lambda: found)
    words = CliRunner().invoke(app, ["doctor"])
    assert words.exit_code == 0
    for said in ("versions", "Slow here", "Self-check", found.cache["folder"] or "off"):
        assert said in words.output.replace("\n", "") or said in words.output
    data = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).output)
    assert data["sound"] is True
    assert data["optional"]["timm"]["extra"] == "networks"


def test_what_is_missing_or_slow_is_said(monkeypatch, tmp_path):
    def fail():
        raise NetworkError("does not fit")

    for library in ("imputation_library", "ranks_library", "convolution_library"):
        monkeypatch.setattr(diagnosis, library, lambda: None)
    monkeypatch.setattr(diagnosis.shutil, "which", lambda name: None)
    monkeypatch.setattr(diagnosis.LIBRARIES["timm:"], "library", fail)
    monkeypatch.setenv("SYCAM_CACHE", "off")
    found = diagnosis.diagnose()
    said = " ".join(found.slow)
    for reason in ("no C compiler", "no C++ compiler", "SYCAM_CACHE is off"):
        assert reason in said
    assert found.compiler is None
    assert set(found.compiled.values()) == {None}
    if found.optional["timm"]["version"]:
        assert found.optional["timm"]["trouble"] == "does not fit"
    monkeypatch.setenv("SYCAM_CACHE", str(tmp_path))
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "x.safetensors").write_bytes(b"12345")
    assert diagnosis.diagnose().cache == {"folder": str(tmp_path), "files": 1, "bytes": 5}


def test_a_check_that_fails_ends_with_code_1(monkeypatch, found):
    broken = diagnosis.Diagnosis(**{**vars(found), "checks": {"sums": "they differ"}})
    monkeypatch.setattr(COMMAND, "diagnose", lambda: broken)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "they differ" in result.output


def test_names_are_completed(timm):
    assert "road" in completion.metrics("ro")
    assert completion.grammars("grad") == ["gradient"]
    assert "grad-cam++" in completion.methods("grad-")
    assert completion.networks("t") == ["torchvision:", "timm:"]
    assert "torchvision:resnet50" in completion.networks("torchvision:res")
    assert "torchvision:resnet50@IMAGENET1K_V2" in completion.networks("torchvision:resnet50@I")
    assert "timm:test_resnet" in completion.networks("timm:test_")
    assert completion.networks("torchvision:no_such@") == []


@pytest.mark.parametrize(
    ("words", "offered"),
    [("sycam synthesize --metric roa", "road"), ("sycam methods show hire", "hirescam")],
)
def test_the_shell_is_offered_the_names(monkeypatch, words, offered):
    """As bash asks: by variables of the environment."""
    environment = {"_SYCAM_COMPLETE": "complete_bash", "COMP_WORDS": words,
                   "COMP_CWORD": str(len(words.split()) - 1)}  # fmt: skip
    result = CliRunner().invoke(app, [], env=environment, prog_name="sycam")
    assert offered in result.output.split()
