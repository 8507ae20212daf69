"""Folders of the user's alone, for what is kept between runs and trusted when it is found again."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

_COMPILED = "TORCHINDUCTOR_CACHE_DIR"
_MATPLOTLIB = "MPLCONFIGDIR"


def user_cache(name: str) -> Path:
    """A folder of SyCAM's in the user's cache folder (``$XDG_CACHE_HOME``, else ``~/.cache``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sycam" / name


def private_folder(folder: Path, *, mend: bool = False) -> None:
    """Make a folder for this user alone, or check that nobody else can write into it.

    Args:
        folder: made with its parents where it is absent.
        mend: take all permission of an own folder from others, rather than refuse it.

    Raises:
        OSError: it cannot be made; it belongs to another user, or others may write into it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = os.stat(folder)
    if not hasattr(os, "getuid"):  # Windows: a user's profile is private
        return
    if facts.st_uid != os.getuid():
        raise PermissionError(
            f"the folder '{folder}' belongs to another user (number {facts.st_uid}), who could "
            "plant files there"
        )
    if mend and stat.S_IMODE(facts.st_mode) != 0o700:
        folder.chmod(0o700)
    elif facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(
            f"other users may write into the folder '{folder}' and could plant files there; "
            f"say chmod go-w '{folder}'"
        )


def private_user_cache(name: str) -> Path:
    """:func:`user_cache`, made or mended so that it and the folder above it are private.

    Raises:
        OSError: see :func:`private_folder`.
        RuntimeError: the user has no home.
    """
    folder = user_cache(name)
    private_folder(folder.parent, mend=True)  # who may write there could exchange the folder
    private_folder(folder, mend=True)
    return folder


def keep_compiled_private() -> None:
    """Let torch keep what it compiles in a folder of this user's alone, unless one was chosen.

    Its default has a name that anyone can tell, in the folder for temporary files, and is used
    whoever owns it: libraries that others left there would be loaded. To be called before each
    ``torch.compile``.
    """
    from torch._inductor.runtime.runtime_utils import default_cache_dir  # slow to import

    # It writes its default into the environment itself, so that this is no choice.
    chosen = os.environ.get(_COMPILED)
    if chosen is not None and os.path.abspath(chosen) != os.path.abspath(default_cache_dir()):
        return
    try:
        folder = private_user_cache("compiled")
    except (OSError, RuntimeError):  # no home, or one that cannot be written: for this process
        folder = Path(tempfile.mkdtemp(prefix="sycam-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[_COMPILED] = str(folder)


def let_matplotlib_write() -> None:
    """Give matplotlib a folder of this process's alone where the user's cannot be written: it would
    make one itself, and warn of it. To be called before matplotlib is imported."""
    if _MATPLOTLIB in os.environ or not sys.platform.startswith("linux"):
        return
    try:
        home = Path.home()
        chosen = (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache"))
        folders = [Path(os.environ.get(name) or home / usual) for name, usual in chosen]
        if all(_can_be_made(folder / "matplotlib") for folder in folders):
            return
        folder = tempfile.mkdtemp(prefix="sycam-")
    except (OSError, RuntimeError):  # no home, or no folder for temporary files
        return
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[_MATPLOTLIB] = folder


def _can_be_made(folder: Path) -> bool:
    there = next(one for one in (folder, *folder.parents) if one.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
