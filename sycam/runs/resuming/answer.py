"""What a finished run answers, kept so that the same command can say it again at once.

Nothing here imports torch: whoever asks again does not wait for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import sycam
from sycam.runs.file_names import CANDIDATES_FILE, RESULT_FILE
from sycam.support.arguments import argument
from sycam.support.bounded_json import SchemaError, read_json
from sycam.support.files import MEBIBYTE, read_plain, write_whole
from sycam.support.schema import from_plain, to_plain
from sycam.support.text.terminal import json_text

ANSWER_FILE = "answer.json"
_ANSWERED = (RESULT_FILE, CANDIDATES_FILE)  # that a whole result consists of
_LARGEST = 1 << 28  # bytes of these


@dataclass(frozen=True)
class Answer:
    """What a run's folder says to whoever asks the same again.

    Attributes:
        code: digest of the files of SyCAM that made it.
        files: SHA-256 of the files that the result consists of.
        folder: of the run, as it was named.
        created: date of the run.
        page: all that is printed of the result, as plain data for any width of console.
        question: digest of the command and of the state of all files that it read; None where these
            cannot be told, or no command asked.
        network: digest of the network, where it must be built to know that it is the same.
        closing: lines below the page, in rich's markup: where all is kept.
    """

    code: str
    files: Mapping[str, str]
    folder: str
    created: str
    page: tuple[Any, ...]
    question: str | None = None
    network: str | None = None
    closing: tuple[str, ...] = ()

    def keep(self, folder: Path) -> None:
        """Write it into the run's folder, unless that cannot be written."""
        with contextlib.suppress(OSError):
            write_whole(folder / ANSWER_FILE, json_text(to_plain(self)), within=folder, sync=False)


def kept_answer(folder: Path) -> Answer | None:
    """The answer in a run's folder; None where there is none, or it is of other files than lie
    there, or of another version of SyCAM.

    Args:
        folder: of the run.
    """
    try:
        answer = from_plain(Answer, read_json(folder / ANSWER_FILE, 8 * MEBIBYTE), "answer")
    except (OSError, SchemaError):
        return None
    current = answer.code == code_digest() and answer.files == result_files(folder)
    return answer if current and answer.files else None


def result_files(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that a result consists of; empty where one is absent or no plain file.

    Args:
        folder: of the run.
    """
    try:
        contents = {name: read_plain(folder / name, _LARGEST, within=folder) for name in _ANSWERED}
    except OSError:
        return {}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


@cache
def code_digest() -> str:
    """Of the files of SyCAM by their sizes and times; ``""`` where they do not lie in a folder."""
    root = os.path.dirname(os.path.abspath(sycam.__file__))
    facts = []
    for where, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            file = os.path.join(where, name)
            seen = os.stat(file)
            facts.append((os.path.relpath(file, root), seen.st_size, seen.st_mtime_ns))
    return hashlib.sha256(repr((root, facts)).encode()).hexdigest() if facts else ""


def said_again(folder: Path, created: str) -> str:
    """The note of a run that is not searched again."""
    return (
        f"{folder} holds the finished run of this question, made on {created[:10]}: nothing is "
        f"measured again; a larger {argument('budget')} searches on, another {argument('out')} "
        "begins anew"
    )
