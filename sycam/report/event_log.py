"""What a command tells of its work as lines of JSON in a file, for programs that watch it."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from sycam.errors import OptionError
from sycam.events import Event
from sycam.runs.events import Failed, Finished
from sycam.runs.result import Result
from sycam.search.selection.select import Candidate
from sycam.support.arguments import argument
from sycam.support.schema import to_plain
from sycam.support.text.terminal import json_text
from sycam.validation.findings import Validated
from sycam.version import __version__


class EventLog:
    """Appends events to a file, each as one line as soon as it comes; a context manager.

    A line is ``{"time": ..., "event": KIND, ...}``: the time in UTC, the name of the event's class
    in small letters (``stage``, ``step``, ``note``, ``interrupted``, ``opened``, ``plan``,
    ``forecast``, ``scored``, ``validated``) and its fields. The first line is ``started``; the last
    is ``finished``, or ``failed`` with the error. What came of a search is in the line ``result``.

    Args:
        path: the file, appended to; nothing is written where it is None.
        command: name of the command, for the first line.

    Raises:
        OptionError: the file cannot be opened.
    """

    def __init__(self, path: Path | None, command: str):
        self._file: TextIO | None = None
        self._command = command
        if path is None:
            return
        try:
            self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115
        except OSError as error:
            raise OptionError(
                f"{argument('log')} '{path}' cannot be written: {error.strerror}; expected a file "
                "in a folder that exists"
            ) from None

    def __enter__(self) -> EventLog:
        self._write("started", command=self._command, version=__version__, process=os.getpid())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._write("finished")
        else:
            self._write("failed", error=kind.__name__, message=str(error))
        if self._file is not None:
            self._file.close()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Finished):
            self._result(event.result)
        elif self._file is not None and not isinstance(event, Failed):  # of that the end tells
            name = re.sub(r"(?<!^)(?=[A-Z])", "-", type(event).__name__).lower()
            self._write(name, **_facts(event))

    def _result(self, result: Result) -> None:
        """What came of it: where it is kept, the winner, its figures, and what ended the search."""
        best = result.best
        self._write(
            "result",
            folder=None if result.path is None else str(result.path),
            winner=None if best is None else best.expression,
            metric=result.metric,
            search=None if best is None else to_plain(best.score),
            heldout=to_plain(best.heldout.mean) if best is not None and best.heldout else None,
            beats_published=result.validation.beats_published,
            candidates=result.record.search.candidates,
            stopped=result.record.search.stopped,
        )

    def _write(self, event: str, **facts: Any) -> None:
        """Append a line; a disk that is full ends the log, not the work."""
        if self._file is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        try:
            self._file.write(json_text({"time": now, "event": event, **facts}) + "\n")
        except OSError as error:
            self._file = None
            warnings.warn(f"the log ends here: {error}", stacklevel=2)


def _facts(event: Event) -> dict[str, Any]:
    """The fields that are plain data; of candidates and of the evidence, what a table shows."""
    if isinstance(event, Validated):
        evidence = event.validation
        rows = [
            {"name": row.name, "kind": row.kind, "heldout": to_plain(row.heldout.mean)}
            for row in evidence.rows
        ]
        return {"metric": evidence.metric, "images": evidence.images, "rows": rows}
    return {f.name: _plain(getattr(event, f.name)) for f in fields(event)}  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    """Of candidates what a table shows, of a file its path."""
    if isinstance(value, Candidate):
        facts = {"name": value.name, "kind": value.kind, "cost": value.cost, "mean": value.mean}
        return to_plain(facts)
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    try:
        return to_plain(value)
    except TypeError:
        return str(value)
