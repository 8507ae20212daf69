"""Files are written whole or not at all, and nothing but plain files is read or written over."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import stat
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import sycam
from sycam.data.pictures import UnreadablePictureError, read_mask, read_picture
from sycam.data.preprocessing import Preprocessing
from sycam.data.readers.archive import archive_reader
from sycam.data.tables import read_labels
from sycam.errors import (
    DataError,
    GrammarError,
    NetworkError,
    OptionError,
    RunError,
    SycamError,
)
from sycam.evidence import Cache
from sycam.evidence.cache import key_of
from sycam.grammar import load_grammar
from sycam.metrics import find_metric
from sycam.networks import read_class_names
from sycam.networks.sources.checkpoint import read_weights
from sycam.networks.sources.user_file import load_network
from sycam.report.html import write_report
from sycam.report.pictures.explain import explain
from sycam.support.files import NotPlainError, open_plain, read_plain, write_whole

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")


@pytest.fixture(scope="module")
def finished(small_run, tmp_path_factory):
    """A run made by the command, without its pictures."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    done = small_run(folder, "--quiet", pictures=False)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the run that a test may tamper with."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def secret(tmp_path):
    """A file of the user's outside the run."""
    path = tmp_path / "bashrc"
    path.write_text("mine")
    return path


class FullDisk(io.RawIOBase):
    """Takes a little, then no more."""

    def __init__(self, file):
        self.file = file

    def write(self, data):
        self.file.write(bytes(data)[:10])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_is_written_whole_and_keeps_its_permissions(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_whole(path, "ä\ud800\n")
    assert path.read_bytes() == "ä\\ud800\n".encode()
    path.chmod(0o640)
    write_whole(path, b"again")
    assert path.read_bytes() == b"again"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_what_cannot_be_written_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, lambda file: FullDisk(file).write(b"x" * 100))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_links_that_the_user_names_are_followed_and_stay_links(tmp_path):
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    link.symlink_to(real)
    assert read_plain(link, 10) == b"old"
    assert read_class_names(link) == ("old",)
    write_whole(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    run = tmp_path / "linked"  # as is a run's own folder
    run.symlink_to(tmp_path)
    write_whole(run / "real.txt", "newer", within=run)
    assert read_plain(run / "real.txt", 10, within=run) == b"newer"


def test_links_below_a_run_are_refused(tmp_path, secret):
    run = tmp_path / "run"
    (run / "sub").mkdir(parents=True)
    (run / "file").symlink_to(secret)
    (run / "folder").symlink_to(tmp_path)
    (run / "nowhere").symlink_to(tmp_path / "absent")
    for name in ("file", "folder/bashrc", "nowhere"):
        with pytest.raises(NotPlainError, match="is a link"):
            read_plain(run / name, 10, within=run)
        with pytest.raises(NotPlainError, match="is a link"):
            write_whole(run / name, "x", within=run)
        with pytest.raises(NotPlainError, match="is a link"):
            open_plain(run / name, "ab", within=run)
    (run / "other").hardlink_to(secret)
    with pytest.raises(NotPlainError, match="is a link"):
        open_plain(run / "other", "ab", within=run)
    write_whole(run / "other", "x", within=run)
    assert secret.read_text() == "mine"
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("what", ["pipe", "device", "folder", "large"])
def test_what_is_no_plain_file_is_refused_at_once(what, tmp_path):
    path = tmp_path / "a.txt"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    with pytest.raises(NotPlainError):
        read_plain(path, 1000)
    if what != "large":
        with pytest.raises(OSError, match=r"plain file|directory"):
            write_whole(path, "x")


@pytest.mark.parametrize("what", ["pipe", "device"])
def test_no_pipe_or_device_behind_any_name_is_read(what, tmp_path, small_run):
    reading = Preprocessing(mean=(0,), std=(1,), channels=3)
    attempts = {
        "labels.csv": (DataError, read_labels),
        "set.npz": (DataError, lambda path: archive_reader(path, reading)),
        "names.txt": (DataError, read_class_names),
        "image.png": (UnreadablePictureError, lambda path: read_picture(path, 3)),
        "mask.png": (UnreadablePictureError, read_mask),
        "metric.py": (OptionError, lambda path: find_metric(f"{path}:mine")),
        "network.py": (NetworkError, lambda path: load_network(f"{path}:make")),
        "weights.pt": (NetworkError, read_weights),
        "weights.safetensors": (NetworkError, read_weights),
        "grammar.lark": (GrammarError, lambda path: load_grammar(str(path))),
        "result.json": (RunError, sycam.load),
        "scores.jsonl": (RunError, lambda path: resume(small_run, path.parent)),
        "study.log": (RunError, lambda path: resume(small_run, path.parent)),
    }
    for name, (error, attempt) in attempts.items():
        path = tmp_path / name
        if what == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero")
        with pytest.raises(error, match=rf"{re.escape(name)}|/dev/zero"):
            attempt(path)
        path.unlink()


def test_a_pipe_in_the_cache_is_no_value(tmp_path):
    cache, key = Cache(tmp_path / "leaves"), key_of(leaf="S")
    place = tmp_path / "leaves" / key[:2] / f"{key}.safetensors"
    place.parent.mkdir(parents=True)
    (tmp_path / "leaves").chmod(0o700)
    os.mkfifo(place)
    assert cache.read(key) is None


def test_a_small_archive_that_unpacks_to_very_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("sycam.data.readers.archive._LARGE", 1 << 20)
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, images=np.zeros((2, 1024, 1024), np.uint8))
    with pytest.raises(DataError, match="more than 200 times the file"):
        archive_reader(path, Preprocessing(mean=(0,), std=(1,)))


def resume(small_run, run):
    done = small_run(run)
    if done.exception is not None:
        raise done.exception


def report(_small_run, run):
    write_report(sycam.load(run))


def load(_small_run, run):
    sycam.load(run)


def save(_small_run, run):
    sycam.load(run.parent / "sound").save(run)


def draw(_small_run, run):
    explain(sycam.load(run), together=True, trust=True)


@pytest.mark.parametrize(
    ("name", "attack"),
    [
        ("report.html", report),
        ("gallery/gallery.json", report),
        ("curves.json", report),
        ("gallery", report),
        ("result.json", load),
        ("result.json", save),
        ("result.json", resume),
        ("scores.jsonl", resume),
        ("scores.jsonl.lock", resume),
        ("study.log", resume),
        ("explanations", draw),
        ("explanations/images.png", draw),
    ],
)
def test_a_link_in_a_run_is_refused_by_name(name, attack, run, small_run, finished, secret):
    os.symlink(finished, run.parent / "sound")
    path = run / name
    elsewhere = secret
    if name in ("gallery", "explanations"):
        elsewhere = secret.parent / "elsewhere"
        elsewhere.mkdir()
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(elsewhere)
    with pytest.raises(RunError, match="is a link"):
        attack(small_run, run)
    assert secret.read_text() == "mine"
    assert path.is_symlink()


@pytest.mark.parametrize("name", ["gallery/gallery.json", "curves.json"])
def test_a_page_is_written_without_what_is_nested_too_deeply(name, run, small_run):
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text("[" * 100_000 + "]" * 100_000)
    report(small_run, run)
    assert (run / "report.html").stat().st_size > 1000


def test_verify_reads_no_journal_through_a_link(run, finished):
    (run / "scores.jsonl").unlink()
    (run / "scores.jsonl").symlink_to(finished / "scores.jsonl")
    failed = [check for check in sycam.verify(run, trust=True).checks if not check.holds]
    assert len(failed) == 1
    assert "is a link" in failed[0].found


def test_images_behind_links_that_the_user_names_are_read(tmp_path):
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    (tmp_path / "real").mkdir()
    Image.fromarray(picture).save(tmp_path / "real" / "a.png")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "linked" / "b.png").symlink_to("a.png")
    assert np.array_equal(read_picture(tmp_path / "linked" / "b.png", 3), picture)


@pytest.mark.parametrize("name", ["report.html.part", "result.json.part", "curves.part"])
def test_a_link_where_drafts_were_kept_is_not_written_through(name, run, secret):
    (run / name).symlink_to(secret)
    write_report(sycam.load(run))
    sycam.load(run).save(run)
    assert secret.read_text() == "mine"


def test_a_full_disk_leaves_an_existing_export_as_it_is(finished, tmp_path, monkeypatch):
    path = tmp_path / "cam.py"
    path.write_text("# mine\n")

    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        sycam.export.export(sycam.load(finished), path)
    assert path.read_text() == "# mine\n"
    assert [p.name for p in tmp_path.iterdir()] == ["cam.py"]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_picture_that_fails_does_not_lose_the_printed_result(
    as_json, small_run, finished, run, monkeypatch
):
    def full(figure, *_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    done = small_run(run, *(["--json"] if as_json else []))
    assert done.exit_code == 0, done.output
    best = sycam.load(finished).best.expression
    if as_json:
        assert json.loads(done.stdout)["best"]["expression"] == best
    else:
        assert best in done.stdout
        assert "report.html" in done.stdout  # the page is written, without the pictures
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning:")]
    assert any("heatmaps on held-out images" in line for line in warnings)
    assert all("No space left" in line for line in warnings)


def test_an_error_names_the_path_as_it_was_given(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(SycamError, match="is a folder"):
        read_labels(Path(tmp_path / "a.csv"))


def test_a_file_takes_no_more_room_than_it_has(tmp_path):
    """Whatever the limit: 8 GiB of a journal, of which most have kilobytes."""
    (tmp_path / "small").write_bytes(b"x" * 1000)
    tracemalloc.start()
    try:
        assert len(read_plain(tmp_path / "small", 1 << 33)) == 1000
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    (tmp_path / "large").write_bytes(bytes(range(256)) * 20_000)  # in several pieces
    assert read_plain(tmp_path / "large", 1 << 33) == bytes(range(256)) * 20_000
