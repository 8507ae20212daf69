"""Whether files changed, told without reading them."""

from __future__ import annotations

import os
import time

import pytest

from sycam.runs.resuming.file_states import states_of


@pytest.fixture
def place(tmp_path):
    """A folder of two files, and a table that names one of them."""
    folder = tmp_path / "photos" / "inner"
    folder.mkdir(parents=True)
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"1234")
    (tmp_path / "table.csv").write_text("path,label\nphotos/inner/a.png,0\n")
    return tmp_path


def rewrite(file):
    """Other content of the same size, and the time of change put back."""
    before = file.stat()
    time.sleep(0.02)
    file.write_bytes(b"4321")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def exchanged(folder):
    """Another file of the same size and time."""
    new = folder / "new"
    new.write_bytes(b"4321")
    os.utime(new, ns=2 * ((folder / "a.png").stat().st_mtime_ns,))
    return new


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: rewrite(folder / "a.png"),
        lambda folder: (folder / "c.png").write_bytes(b"new"),
        lambda folder: (folder / "b.png").unlink(),
        lambda folder: (folder / "b.png").rename(folder / "d.png"),
        lambda folder: os.replace(exchanged(folder), folder / "a.png"),
    ],
    ids=["rewritten", "added", "removed", "renamed", "exchanged"],
)  # fmt: skip
def test_a_changed_folder(place, change):
    folder = place / "photos"
    before = states_of([folder])
    assert states_of([folder]) == before
    change(folder / "inner")
    assert states_of([folder]) != before


def test_a_table_counts_with_the_files_that_it_names(place):
    table, named = place / "table.csv", place / "photos" / "inner"
    before = states_of([table])
    rewrite(named / "b.png")
    assert states_of([table]) == before
    rewrite(named / "a.png")
    assert states_of([table]) != before


def test_what_cannot_be_told(place):
    assert states_of([place / "absent"]) is None
    (place / "other.csv").write_text("path\nnowhere.png\n")
    assert states_of([place / "other.csv"]) is None
    os.mkfifo(place / "photos" / "pipe")
    assert states_of([place / "photos"]) is None
    (place / "photos" / "pipe").unlink()
    (place / "photos" / "round").symlink_to(place, target_is_directory=True)
    assert states_of([place / "photos"]) is None
