"""The journal survives a crash at any byte."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from sycam.errors import RunError
from sycam.metrics import Road
from sycam.search import Journal, Score


def score(i):
    return Score.of(Road(), np.array([i / 7, -i / 3]).round(7), i, True)


def write(path, count=4):
    journal = Journal(path, "me", Road())
    for i in range(count):
        journal.append([f"e{i}", f"f{i}"], [score(i), score(i + 1)])
    journal.close()
    return path.read_bytes()


def test_everything_appended_is_found_again(tmp_path):
    write(tmp_path / "j")
    known = Journal(tmp_path / "j", "me", Road()).known
    assert list(known) == [f"{letter}{i}" for i in range(4) for letter in "ef"]
    assert known["e2"].values.tolist() == score(2).values.tolist()
    assert known["e2"].degenerate == 2


def test_cut_at_any_byte_it_keeps_whole_batches_and_goes_on(tmp_path):
    whole = write(tmp_path / "whole")
    for end in range(len(whole) + 1):
        path = tmp_path / "cut"
        path.write_bytes(whole[:end])
        journal = Journal(path, "me", Road())
        assert len(journal.known) % 2 == 0
        assert len(journal.known) // 2 == max(0, whole[:end].count(b"\n") - 1)
        journal.append(["new"], [score(9)])
        journal.close()
        again = Journal(path, "me", Road())
        assert "new" in again.known
        again.close()


def test_a_damaged_line_ends_what_is_trusted(tmp_path):
    whole = bytearray(write(tmp_path / "j"))
    place = whole.index(b"e2")
    whole[place] ^= 1
    (tmp_path / "j").write_bytes(whole)
    assert list(Journal(tmp_path / "j", "me", Road()).known) == ["e0", "f0", "e1", "f1"]


def test_another_run_is_refused(tmp_path):
    write(tmp_path / "j")
    with pytest.raises(RunError, match="holds another run"):
        Journal(tmp_path / "j", "you", Road())


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path, monkeypatch):
    write(tmp_path / "j", 2)
    journal = Journal(tmp_path / "j", "me", Road())

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        journal.append(["x"], [score(0)])
    monkeypatch.undo()
    journal.close()
    assert {"e0", "f1"} <= set(Journal(tmp_path / "j", "me", Road()).known)
