"""What watches a command while it works: progress on its console, its log, and Ctrl-C."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

from sycam.events import Notify, each
from sycam.support.text.terminal import open_console, shown

INTERRUPTED = 130  # the exit code of what Ctrl-C ended, as shells have it
RESUMES = "Finished scores are kept: the same command resumes."


def console_for(as_json: bool) -> Console:
    """Standard output; standard error where standard output carries JSON."""
    return open_console(stderr=as_json)


@contextmanager
def interruptible(kept: str = "") -> Iterator[None]:
    """Ctrl-C ends with one line and its exit code instead of a traceback.

    Args:
        kept: how to go on; nothing is said of it if empty.
    """
    try:
        yield
    except KeyboardInterrupt:
        open_console(stderr=True).print(f"\nInterrupted. {kept}".rstrip())
        raise typer.Exit(INTERRUPTED) from None


def warn(text: str) -> None:
    """Print a warning on standard error; the work goes on."""
    open_console(stderr=True).print(f"[bold yellow]warning:[/] {shown(text)}", soft_wrap=True)


@contextmanager
def telling(
    command: str, log: Path | None, console: Console | None, metric: str = ""
) -> Iterator[Notify]:
    """What watches a command that Ctrl-C may end: its log, and progress on the console.

    Args:
        command: its name, for the log.
        log: file that is appended to; none if None.
        console: where progress is shown; nowhere if None.
        metric: that a search optimises; empty without one.
    """
    # Not at the top: they import torch, for which a page of help does not wait.
    from sycam.report.event_log import EventLog
    from sycam.report.progress import Watcher

    with (
        interruptible(RESUMES),
        EventLog(log, command) as record,
        Watcher(console, metric) as watch,
    ):
        yield each(record, watch)
