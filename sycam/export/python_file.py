"""A Python file that an export writes: the name of its class, and the file itself."""

from __future__ import annotations

import keyword
from pathlib import Path

from sycam.errors import OptionError, RunError
from sycam.export.target import Winner
from sycam.support.files import write_whole


def check_class_name(name: str) -> None:
    """Refuse a name that no class can have.

    Raises:
        OptionError: it is no Python identifier.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise OptionError(f"class name {name!r} is not a Python identifier")


def write_source(winner: Winner, path: Path, source: str) -> None:
    """Write a module; no link inside the run's folder is followed.

    Raises:
        RunError: the file cannot be written.
    """
    try:
        write_whole(path, source, within=winner.result.path)
    except OSError as error:
        raise RunError(f"cannot write '{path}': {error}") from None
