"""Reading and writing files with care: plain files only, and what is written is whole.

A run's folder may come from somebody else. Below it no link is followed, neither for reading nor
for writing; a path that the user names may be a link. What is not a plain file (a named pipe, a
device) is refused without waiting for it.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

# What a kind of system lacks is left out: Windows has no O_NOFOLLOW and no O_NONBLOCK.
_CAREFUL = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_MODES = {
    "rb": os.O_RDONLY,
    "ab": os.O_WRONLY | os.O_APPEND | os.O_CREAT,
}
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
MEBIBYTE = 1 << 20
TEXT = 64 * MEBIBYTE  # of a text that a person wrote
TABLE = 1024 * MEBIBYTE
PICTURE = 1024 * MEBIBYTE


class NotPlainError(OSError):
    """What stands at a path is a link, no plain file, or too large."""


def open_plain(
    path: str | Path, mode: str = "rb", *, within: Path | None = None, limit: int | None = None
) -> io.BufferedReader | io.FileIO:
    """Open a plain file, unbuffered where it is appended to.

    Args:
        path: the file.
        mode: ``"rb"``, or ``"ab"``, which makes it where it is absent.
        within: the run's folder: links below it are refused.
        limit: bytes above which it is refused.

    Raises:
        NotPlainError: it is a link below ``within`` (a hard link only to be appended to), no plain
            file, or larger than the limit.
        OSError: it is absent or cannot be opened.
    """
    handle = os.open(place_of(path, within), _MODES[mode] | _CAREFUL, 0o666)
    try:
        facts = os.fstat(handle)
        _require_plain(facts, path)
        if mode == "ab" and within is not None:
            _require_alone(facts, path)
        if limit is not None and facts.st_size > limit:
            raise _too_large(path, limit)
        opened = os.fdopen(handle, mode, buffering=0 if mode == "ab" else -1)
        return cast(io.BufferedReader | io.FileIO, opened)
    except BaseException:
        os.close(handle)
        raise


def read_plain(path: str | Path, limit: int, *, within: Path | None = None) -> bytes:
    """The content of a plain file; arguments and errors as for :func:`open_plain`."""
    with open_plain(path, within=within, limit=limit) as file:
        # By its size, as Python takes the room for all bytes that are asked for beforehand.
        content = file.read(min(os.fstat(file.fileno()).st_size, limit) + 1)
        # It may have grown, or say that it is empty (/proc).
        while content and len(content) <= limit and (more := file.read(MEBIBYTE)):
            content += more
    if len(content) > limit:
        raise _too_large(path, limit)
    return content


def read_text(
    path: str | Path, limit: int, *, within: Path | None = None, encoding: str = "utf-8"
) -> str:
    """The text of a plain file with ``\\n`` at the end of each line; arguments and errors as for
    :func:`open_plain`, and UnicodeDecodeError."""
    content = io.BytesIO(read_plain(path, limit, within=within))
    return io.TextIOWrapper(content, encoding=encoding).read()


def write_whole(
    path: str | Path,
    content: str | bytes | Callable[[BinaryIO], object],
    *,
    within: Path | None = None,
    sync: bool = True,
) -> None:
    """Write a file whole or not at all: beside it, then renamed.

    Folders above it are made. A file that was there keeps its permissions.

    Args:
        path: the file.
        content: text is written as UTF-8, lone surrogates as ``\\udcXX``; a function is given the
            open file.
        within: the run's folder: links below it are refused.
        sync: wait until the disk has it, for what must outlast a crash.

    Raises:
        NotPlainError: a link below ``within``, or something that is no plain file, stands there.
        OSError: it cannot be written; what was there is as it was.
    """
    place = place_of(path, within)
    place.parent.mkdir(parents=True, exist_ok=True)
    before = check_target(path, within=within)
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    draft = place.parent / f".sycam-{secrets.token_hex(8)}.part"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CAREFUL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            if callable(data):
                data(file)
            else:
                file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())  # or a full disk shows after the old file is gone
        if before is not None:
            draft.chmod(stat.S_IMODE(before.st_mode) & 0o777)
        os.replace(draft, place)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def check_target(
    path: str | Path, *, within: Path | None = None, appended: bool = False
) -> os.stat_result | None:
    """What stands where a file will be written; None for nothing.

    Args:
        path: the file.
        within: the run's folder: links below it are refused.
        appended: it is changed in place, so that a file of several names is refused.

    Raises:
        NotPlainError: a link below ``within``, or something that is no plain file.
    """
    place = place_of(path, within)
    try:
        facts = os.lstat(place)
    except FileNotFoundError:
        return None
    _require_plain(facts, path)
    if appended:
        _require_alone(facts, path)
    return facts


def place_of(path: str | Path, within: Path | None = None) -> Path:
    """Where a path leads: through the links that a user names, never through a run's own.

    Args:
        path: of a file, which may be absent.
        within: the run's folder, itself a folder that the user names; None, or a path that is not
            below it: all links are the user's.

    Raises:
        NotPlainError: a link below ``within``.
    """
    path = Path(os.path.abspath(path))
    root = None if within is None else Path(os.path.abspath(within))
    if root is None or not path.is_relative_to(root):
        return Path(os.path.realpath(path))
    place = Path(os.path.realpath(root))
    for part in path.relative_to(root).parts:
        place /= part
        if place.is_symlink() or getattr(os.path, "isjunction", _never)(place):
            raise NotPlainError(
                f"'{place}' is a link, and no link inside a run's folder is followed; put what it "
                "leads to in its place, or delete it"
            )
    return place


def _require_plain(facts: os.stat_result, path: str | Path) -> None:
    if not stat.S_ISREG(facts.st_mode):
        kind = _KINDS.get(stat.S_IFMT(facts.st_mode), "no plain file")
        raise NotPlainError(f"'{path}' is {kind}; expected a plain file")


def _require_alone(facts: os.stat_result, path: str | Path) -> None:
    if facts.st_nlink > 1:
        raise NotPlainError(
            f"'{path}' is a link to a file that has another name, too (a hard link), and what is "
            "appended would be written there; put a copy in its place"
        )


def _too_large(path: str | Path, limit: int) -> NotPlainError:
    return NotPlainError(f"'{path}' is larger than {limit / MEBIBYTE:,.0f} MiB, the most expected")


def _never(_path: Path) -> bool:
    return False
