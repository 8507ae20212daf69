"""A finished command that is typed again: answered at once while nothing that it read has changed.

Torch alone takes longer to import than all of this.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType

from sycam.data.names import DEMO
from sycam.errors import SycamError
from sycam.report.printed import Page, Words, laid_out
from sycam.runs.file_names import REPORT_FILE, RESULT_FILE
from sycam.runs.resuming.answer import (
    ANSWER_FILE,
    Answer,
    kept_answer,
    said_again,
)
from sycam.runs.resuming.file_states import SETTLED, FileStates, states_of
from sycam.support.bounded_json import SchemaError, parse_json
from sycam.support.files import read_plain
from sycam.support.schema import from_plain
from sycam.support.text.terminal import json_text, open_console, shown

if TYPE_CHECKING:
    from sycam.runs.result import Result

_HANDED_OVER = ("out", "csv", "as_json", "quiet", "log")  # options that decide no result
_RUNS_CODE = ("operators", "storage")  # what these bring may be another each time
_FILES = ("checkpoint", "class_names", "masks", "boxes")
_SOURCES = ("images", "heldout_source")
_CODE = ".py:"
_LARGEST = 1 << 28


@dataclass(frozen=True)
class Asked:
    """A command with the state of all files that it names.

    Attributes:
        text: the command's options and where it was typed.
        states: of the files, before any was read.
        network: as it was named.
        checkpoint: the file of its weights, or None.
        began: when this was seen, in seconds since 1970.
    """

    text: str
    states: FileStates
    network: str
    checkpoint: Path | None
    began: float

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Asked | None:
        """Of the values of a command's options by their names in Python; None where it cannot be
        told from files alone whether it asks the same.

        Args:
            given: what was typed, or the defaults.
        """
        if any(given.get(name) for name in _RUNS_CODE):
            return None
        decides = {k: v for k, v in given.items() if k not in _HANDED_OVER}
        if any(_CODE in text for k, v in decides.items() if k != "network" for text in _texts(v)):
            return None
        places = [Path(given[name]) for name in _FILES if given.get(name)]
        places += [Path(given[n]) for n in _SOURCES if given.get(n) and given[n] != DEMO]
        grammar = given.get("grammar")
        if grammar and str(grammar).endswith(".lark"):
            places.append(Path(grammar))
        states = states_of(places)
        if states is None:
            return None
        text = json.dumps([decides, os.getcwd()], sort_keys=True, default=str)
        return cls(text, states, given["network"], given.get("checkpoint"), time.time())

    @property
    def question(self) -> str:
        """One digest of all of it."""
        return hashlib.sha256(f"{self.text}\n{self.states.digest}".encode()).hexdigest()

    @property
    def settled(self) -> bool:
        """Whether a later change of a file will show."""
        return self.states.changed < self.began - SETTLED


def _texts(value: Any) -> list[str]:
    several = isinstance(value, list | tuple)
    return [text for one in value for text in _texts(one)] if several else [str(value)]


def told_again(asked: Asked, out: Path | None, as_json: bool, quiet: bool) -> bool:
    """Print the answer of a run that was asked just this before; whether there is one.

    Args:
        asked: what is asked now.
        out: the run's folder; None for one in ``runs``.
        as_json, quiet: as for the command.
    """
    for folder in [out] if out is not None else sorted(Path("runs").glob("*/")):
        if not (folder / ANSWER_FILE).exists():
            continue
        answer = kept_answer(folder)
        if (
            answer is None
            or answer.question != asked.question
            or answer.folder != str(folder)
            or not (folder / REPORT_FILE).exists()
        ):
            continue
        printed = _as_json(folder) if as_json else _tables(answer, open_console())
        if printed is None or not _same_network(asked, answer):
            continue
        if not quiet:
            note = open_console(stderr=as_json)
            note.print(f"[dim]·[/] {shown(said_again(folder, answer.created))}")
        _print(printed)
        if not quiet and not as_json:
            closing = [Words(line) for line in answer.closing]
            _print(laid_out(closing, open_console(), wrap=False))
        return True
    return False


def shown_again(run: Path, as_json: bool) -> bool:
    """Print the result in a run's folder from its answer alone; whether it suffices.

    Args:
        run: the folder.
        as_json: as for the command.
    """
    answer = kept_answer(run)
    if answer is None:
        return False
    printed = _as_json(run) if as_json else _tables(answer, open_console())
    if printed is None:
        return False
    _print(printed)
    return True


def keep_asked(result: Result, asked: Asked | None, closing: Sequence[str]) -> None:
    """Keep what a finished command printed, for whoever types it again.

    Args:
        result: of the run, in whose folder it is kept.
        asked: the command; None where the same text may ask something else next time.
        closing: lines below the tables, in rich's markup.
    """
    from sycam.report.keeping import keep_answer

    question = asked.question if asked is not None and asked.settled else None
    demo = asked is None or asked.network == DEMO
    keep_answer(result, question, None if demo else result.record.network.digest, closing)


def _tables(answer: Answer, console: Console) -> RenderableType | None:
    """None where a folder from elsewhere holds what no table does."""
    try:
        page = from_plain(Page, list(answer.page), "page")
    except SchemaError:
        return None
    return laid_out(page, console)


def _as_json(folder: Path) -> str | None:
    try:
        data = parse_json(read_plain(folder / RESULT_FILE, _LARGEST, within=folder))
    except (OSError, SchemaError):
        return None
    return json_text({"folder": str(folder), **data}, default=str)


def _print(printed: RenderableType | str | None) -> None:
    if isinstance(printed, str):
        print(printed, flush=True)
    elif printed is not None:
        open_console().print(printed, end="", crop=False)


def _same_network(asked: Asked, answer: Answer) -> bool:
    """Whether the network is the one on record; one of the user's is built to know."""
    if asked.network == DEMO:
        return True
    from sycam.networks.sources.opening import open_network
    from sycam.support.content_digest import network_digest

    try:
        known = open_network(asked.network, asked.checkpoint)
    except SycamError:
        return False  # said by who looks closer
    return network_digest(known.module) == answer.network
