"""What is kept between runs lies in folders that only this user can write into."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch._inductor.runtime.runtime_utils import default_cache_dir

from sycam.evidence import Cache, default_folder
from sycam.evidence.cache import key_of
from sycam.heatmaps.compiled import compiled_heatmaps
from sycam.inference import acceleration
from sycam.language import parse_weights
from sycam.support import caches
from sycam.support.caches import keep_compiled_private, let_matplotlib_write, private_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes of POSIX")
COMPILED = "TORCHINDUCTOR_CACHE_DIR"
FONTS = "Matplotlib is building the font cache; this may take a moment."


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def usual(tmp_path, monkeypatch):
    """The user's own cache folder, from which no other is chosen."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SYCAM_CACHE", raising=False)
    monkeypatch.setenv(COMPILED, "")  # so that it is as before after the test
    monkeypatch.delenv(COMPILED)
    return tmp_path / "cache" / "sycam"


@pytest.fixture
def of_another_user(monkeypatch):
    """All folders belong to somebody else."""
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)


@pytest.mark.parametrize("stated", [None, "torch's default"])
def test_what_torch_compiles_is_kept_in_a_private_folder(stated, usual, monkeypatch):
    if stated:  # as torch itself writes it down
        monkeypatch.setenv(COMPILED, default_cache_dir())
    usual.mkdir(parents=True)
    usual.chmod(0o777)
    keep_compiled_private()
    assert os.environ[COMPILED] == str(usual / "compiled")
    assert mode(usual) == mode(usual / "compiled") == 0o700


def test_a_folder_for_compiled_networks_that_was_chosen_is_kept(usual, monkeypatch, tmp_path):
    monkeypatch.setenv(COMPILED, str(tmp_path / "mine"))
    keep_compiled_private()
    assert os.environ[COMPILED] == str(tmp_path / "mine")
    assert not usual.exists()


def test_a_folder_of_another_user_is_not_used_for_compiled_networks(usual, of_another_user):
    (usual / "compiled").mkdir(parents=True)
    keep_compiled_private()
    used = os.environ[COMPILED]
    assert used not in (str(usual / "compiled"), default_cache_dir())
    assert stat.S_IMODE(os.stat(used).st_mode) == 0o700


@pytest.mark.parametrize("what", ["network", "formula"])
def test_whatever_is_compiled_is_kept_there(what, usual, monkeypatch):
    seen = []

    def compiles(function, **_options):
        seen.append(os.environ.get(COMPILED))
        return function

    monkeypatch.setattr(torch, "compile", compiles)
    if what == "network":
        assert acceleration.compiled(torch.nn.ReLU(), torch.ones(1)) is not None
    else:
        compiled_heatmaps(parse_weights("relu(G)"))
    assert seen == [str(usual / "compiled")]


def test_leaves_are_kept_in_a_private_folder(usual):
    cache, key = Cache(default_folder()), key_of(leaf="S")
    cache.write(key, torch.ones(3))
    assert cache.trouble == ""
    assert torch.equal(Cache(default_folder()).read(key), torch.ones(3))
    assert mode(usual) == mode(usual / "leaves") == 0o700


def test_a_chosen_folder_for_leaves_is_made_private(tmp_path):
    Cache(tmp_path / "mine").write(key_of(leaf="S"), torch.ones(3))
    assert mode(tmp_path / "mine") == 0o700


def test_leaves_in_a_folder_that_others_write_into_are_not_read(tmp_path):
    key = key_of(leaf="S")
    Cache(tmp_path).write(key, torch.ones(3))
    tmp_path.chmod(0o770)
    cache = Cache(tmp_path)
    assert cache.read(key) is None
    cache.write(key, torch.ones(3))
    assert "other users may write into the folder" in cache.trouble
    assert "chmod go-w" in cache.trouble
    tmp_path.chmod(0o755)
    assert torch.equal(Cache(tmp_path).read(key), torch.ones(3))


def test_leaves_in_a_folder_of_another_user_are_not_read(tmp_path, monkeypatch):
    key = key_of(leaf="S")
    Cache(tmp_path).write(key, torch.ones(3))
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    cache = Cache(tmp_path)
    assert cache.read(key) is None
    assert "belongs to another user" in cache.trouble


def test_where_there_are_no_owners_a_folder_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(caches, "os", SimpleNamespace(stat=os.stat))
    private_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("writable", [True, False])
def test_matplotlib_says_nothing_of_a_home_that_cannot_be_written(tmp_path, monkeypatch, writable):
    home = tmp_path / "home"
    home.mkdir()
    if not writable:  # whoever runs the tests may be allowed everything: no folder, then
        (home / ".config").touch()
    for name in ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")  # so that it is as before after the test
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    let_matplotlib_write()
    assert ("MPLCONFIGDIR" in os.environ) != writable
    done = subprocess.run(
        [sys.executable, "-c", "import matplotlib.font_manager"], capture_output=True, text=True
    )
    assert done.stderr.replace(FONTS, "").strip() == ""
