"""The state of files, told without reading them: whoever finds it the same need not read again."""

from __future__ import annotations

import csv
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sycam.support.files import TABLE, read_text

SETTLED = 2.0
"""Seconds: a file that changed later than this before a look at it may change again without a sign,
as some file systems count time in steps of that length."""


@dataclass(frozen=True)
class FileStates:
    """Files at one moment.

    Attributes:
        digest: of their names, sizes, times of change and numbers in their file systems.
        changed: when the last of them changed, in seconds since 1970.
    """

    digest: str
    changed: float


def states_of(places: Iterable[Path]) -> FileStates | None:
    """The state of files, of all that is below folders, and of the files that ``.csv`` tables name.

    Args:
        places: files and folders.

    Returns:
        None where it cannot be told: one is absent, no plain file, a link to a folder (below which
        links may lead round in a circle), or a table that names no file.
    """
    facts, changed = [], 0.0
    try:
        for place in places:
            for file in _files(Path(os.path.abspath(place))):
                seen = os.stat(file)
                if not stat.S_ISREG(seen.st_mode):
                    return None
                times = seen.st_mtime_ns, seen.st_ctime_ns
                facts.append((os.fspath(file), seen.st_size, *times, seen.st_ino, seen.st_dev))
                changed = max(changed, seen.st_mtime, seen.st_ctime)
    except (OSError, ValueError, csv.Error):
        return None
    return FileStates(hashlib.sha256(repr(facts).encode("utf-8", "replace")).hexdigest(), changed)


def _files(place: Path) -> Iterator[str | Path]:
    if place.is_dir():
        yield from _below(place)
        return
    yield place
    if place.suffix.lower() == ".csv":
        yield from _named_in(place)


def _below(folder: Path) -> Iterator[str]:
    for where, folders, names in os.walk(folder, onerror=_raised):
        folders.sort()
        if any(os.path.islink(os.path.join(where, name)) for name in folders):
            raise OSError(f"a link to a folder in {where}")
        yield from (os.path.join(where, name) for name in sorted(names))


def _named_in(table: Path) -> Iterator[Path]:
    named = False
    for row in csv.reader(read_text(table, TABLE, encoding="utf-8-sig").splitlines()):
        for cell in row:
            file = table.parent / cell.strip()
            if cell.strip() and file.is_file():
                named = True
                yield file
    if not named:
        raise OSError(f"no file is named in {table}")


def _raised(error: OSError) -> None:
    raise error
