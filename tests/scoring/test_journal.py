"""The journal survives a crash at any byte."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import time
import zlib

import numpy as np
import pytest

from sycam.errors import RunError
from sycam.metrics import Road
from sycam.scoring.blocks import ImageBlock
from sycam.scoring.journal import Journal, checked_line
from sycam.scoring.scorer import Score


def score(i):
    return Score.of(Road(), np.array([i / 7, -i / 3]).round(7), i % 3, True)


STAGES = (ImageBlock(0, 2, 2),)


def opened(path, identity="me", **options):
    return Journal(path, identity, Road(), STAGES, **options)


def known(path):
    """Names on record, in their order."""
    return [name for name, _ in opened(path, writable=False).known]


def write(path, count=4):
    journal = opened(path)
    for i in range(count):
        journal.append(0, [f"e{i}", f"f{i}"], [score(i), score(i + 1)])
    journal.close()
    return path.read_bytes()


def test_everything_appended_is_found_again(tmp_path):
    write(tmp_path / "j")
    found = opened(tmp_path / "j").known
    assert list(found) == [(f"{letter}{i}", 0) for i in range(4) for letter in "ef"]
    assert found["e2", 0].values.tolist() == score(2).values.tolist()
    assert found["e2", 0].degenerate == 2


def test_cut_at_any_byte_it_keeps_whole_batches_and_goes_on(tmp_path):
    whole = write(tmp_path / "whole")
    for end in range(len(whole) + 1):
        path = tmp_path / "cut"
        path.write_bytes(whole[:end])
        journal = opened(path)
        assert len(journal.known) // 2 == max(0, whole[:end].count(b"\n") - 1)
        assert len(journal.known) % 2 == 0
        journal.append(0, ["new"], [score(9)])
        journal.close()
        assert "new" in known(path)


def test_a_damaged_line_is_passed_over_and_nothing_else_is_lost(tmp_path):
    whole = bytearray(write(tmp_path / "j"))
    whole[whole.index(b'"e2"') + 1] ^= 1
    (tmp_path / "j").write_bytes(whole)
    journal = opened(tmp_path / "j")
    assert [name for name, _ in journal.known] == ["e0", "f0", "e1", "f1", "e3", "f3"]
    assert journal.damaged == 1
    journal.append(0, ["e2", "f2"], [score(2), score(3)])
    journal.close()
    assert set(known(tmp_path / "j")) == {f"{letter}{i}" for i in range(4) for letter in "ef"}


def as_before(line):
    """A line as versions wrote it whose checksum was no field of the object."""
    record = json.loads(line)
    del record["check"]
    text = json.dumps(record, separators=(",", ":"))
    return f"{text}\t{zlib.crc32(text.encode()):08x}\n".encode()


def test_a_journal_of_an_earlier_version_is_read_and_gone_on_with(tmp_path):
    lines = write(tmp_path / "j").splitlines()
    before = [as_before(line) for line in lines]
    before[2] = before[2].replace(b"e1", b"e9")  # damaged
    (tmp_path / "j").write_bytes(b"".join(before))
    journal = opened(tmp_path / "j")
    assert [name for name, _ in journal.known] == ["e0", "f0", "e2", "f2", "e3", "f3"]
    assert journal.damaged == 1
    journal.append(0, ["e1", "f1"], [score(1), score(2)])
    journal.close()
    assert len(known(tmp_path / "j")) == 8


def test_pandas_reads_a_journal(tmp_path):
    pandas = pytest.importorskip("pandas")
    journal = opened(tmp_path / "j")
    journal.append(0, ["e", "f"], [score(1), Score.of(Road(), np.array([0.5, np.nan]), 0, True)])
    journal.close()
    lines = pandas.read_json(tmp_path / "j", lines=True)
    entries = pandas.json_normalize(lines["candidates"].dropna().explode().tolist())
    assert entries["name"].tolist() == ["e", "f"]
    assert entries["scores"][0] == score(1).values.tolist()
    assert entries["scores"][1][0] == 0.5


WRONG = {
    "no candidates": {"stage": 0},
    "another stage": {"stage": 1, "candidates": []},
    "a stage in words": {"stage": "0", "candidates": []},
    "candidates that are none": {"stage": 0, "candidates": [1]},
    "too few scores": {"scores": [0.5]},
    "scores in words": {"scores": ["0.5", "0.5"]},
    "scores that are none": {"scores": [None, None]},
    "scores within scores": {"scores": [[0.5], [0.5]]},
    "ragged scores": {"scores": [0.5, [0.5]]},
    "huge scores": {"scores": [10**400, 0]},
    "a list of flat images": {"degenerate": [1]},
    "more flat images than there are": {"degenerate": 3},
    "a name that is none": {"name": None},
    "half a character": {"name": "\ud800"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_line_with_a_right_checksum_and_wrong_content_is_passed_over(tmp_path, wrong):
    write(tmp_path / "j", 1)
    entry = {"name": "e", "scores": [0.5, 0.5], "degenerate": 0, "finite": True}
    record = wrong if "stage" in wrong else {"stage": 0, "candidates": [{**entry, **wrong}]}
    with open(tmp_path / "j", "ab") as file:
        file.write(checked_line(record))
    journal = opened(tmp_path / "j", writable=False)
    assert [name for name, _ in journal.known] == ["e0", "f0"]
    assert journal.damaged == 1


def test_undefined_scores_are_kept(tmp_path):
    journal = opened(tmp_path / "j")
    journal.append(0, ["e"], [Score.of(Road(), np.array([0.5, np.nan]), 0, True)])
    journal.close()
    found = opened(tmp_path / "j", writable=False)
    assert found.damaged == 0
    assert np.isnan(found.known["e", 0].values[1])


def test_a_damaged_first_line_is_refused_not_overwritten(tmp_path):
    whole = bytearray(write(tmp_path / "j"))
    whole[5] ^= 1
    (tmp_path / "j").write_bytes(whole)
    with pytest.raises(RunError, match="damaged in its first line"):
        opened(tmp_path / "j")
    assert (tmp_path / "j").read_bytes() == bytes(whole)


def test_the_same_record_twice_counts_once(tmp_path):
    whole = write(tmp_path / "j")
    (tmp_path / "j").write_bytes(whole + whole.splitlines(keepends=True)[-1])
    assert len(known(tmp_path / "j")) == 8


def test_another_run_is_refused(tmp_path):
    write(tmp_path / "j")
    with pytest.raises(RunError, match="holds another run"):
        opened(tmp_path / "j", "you")
    with pytest.raises(RunError, match="holds another run"):
        Journal(tmp_path / "j", "me", Road(), (ImageBlock(0, 1, 1), ImageBlock(1, 2, 2)))


def hold(path, ready):
    journal = opened(path)
    ready.send(len(journal.known))
    time.sleep(60)


def test_a_second_process_is_refused_until_the_first_is_gone_however_it_went(tmp_path):
    write(tmp_path / "j")
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe()
    process = context.Process(target=hold, args=(tmp_path / "j", there), daemon=True)
    process.start()
    assert here.poll(60)
    with pytest.raises(RunError, match="another process"):
        opened(tmp_path / "j")
    assert len(known(tmp_path / "j")) == 8  # reading is free
    process.kill()
    process.join()
    opened(tmp_path / "j").close()


def test_a_disk_without_locks_is_not_taken_for_another_process(tmp_path, monkeypatch):
    def unsupported(_descriptor, **_options):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("sycam.scoring.journal.lock_descriptor", unsupported)
    with pytest.raises(RunError, match=r"cannot use journal .* No locks available"):
        opened(tmp_path / "j")


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path, monkeypatch):
    write(tmp_path / "j", 2)
    journal = opened(tmp_path / "j")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        journal.append(0, ["x"], [score(0)])
    monkeypatch.undo()
    journal.close()
    assert {"e0", "f1"} <= set(known(tmp_path / "j"))
