"""A folder that holds another run: the message says what differs."""

from __future__ import annotations

import numpy as np
import pytest

from sycam.errors import RunError
from sycam.problem.problem import Problem

OTHERS = {
    "--seed 1": ["--seed is 1 and 0 there"],
    "--metric deletion": ["--metric is ", " and average-drop there"],
    "--require class-sensitivity>0.2": ["--require is class-sensitivity>0.2 and nothing there"],
    "--grammar spatial": ["--grammar is spatial and gradient there"],
}


def test_what_differs_is_said_before_anything_is_measured(small_run, tmp_path, monkeypatch):
    run = tmp_path / "run"
    assert small_run(run, "--quiet", pictures=False).exit_code == 0
    others = tmp_path / "others.npz"
    np.savez(others, images=np.random.default_rng(4).integers(0, 256, (8, 16, 16, 3), np.uint8))
    images = {f"--images {others}": ["--images are others than there"]}
    for other, said in (OTHERS | images).items():
        with monkeypatch.context() as patch:
            patch.setattr(Problem, "measured", lambda *_: pytest.fail("measured"))
            done = small_run(run, "--quiet", *other.split(), pictures=False)
        assert isinstance(done.exception, RunError), other
        message = str(done.exception)
        assert f"'{run}' holds another run: " in message
        assert all(part in message for part in said), message
        assert message.endswith("Choose another folder by --out")
        # Another seed draws other images of the same source; else they are said to be others.
        assert ("are others than there" in message) == ("others.npz" in other), message
    # A folder of an earlier version says less.
    (run / "asked.json").unlink()
    done = small_run(run, "--quiet", "--seed", "1", pictures=False)
    assert "holds another run" in str(done.exception)


def test_a_run_that_failed_before_its_journal_does_not_close_the_folder(small_run, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "asked.json").write_text("{")
    assert small_run(run, "--quiet", pictures=False).exit_code == 0
