"""What watches a command while it works: progress on its console, its log, and what ends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

from sycam.events import Notify, each
from sycam.support.text.terminal import open_console, shown

INTERRUPTED, TERMINATED = 130, 143  # exit codes of what Ctrl-C and SIGTERM ended, as shells have it
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


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM, by which containers, schedulers and service managers end what runs, does what
    Ctrl-C does, but for the exit code; the first process of a container would not even hear it."""
    usual = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    told = False

    def tell(number: int, frame: object) -> None:
        nonlocal told
        told = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, tell)
    try:
        yield
    except typer.Exit as end:
        if told and end.exit_code == INTERRUPTED:
            raise typer.Exit(TERMINATED) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def warn(text: str) -> None:
    """Print a warning on standard error; the work goes on."""
    open_console(stderr=True).print(f"[bold yellow]warning:[/] {shown(text)}", soft_wrap=True)


@contextmanager
def telling(
    command: str, log: Path | None, console: Console | None, metric: str = "", kept: str = RESUMES
) -> Iterator[Notify]:
    """What watches a command that Ctrl-C may end: its log, and progress on the console.

    Args:
        command: its name, for the log.
        log: file that is appended to; none if None.
        console: where progress is shown; nowhere if None.
        metric: that a search optimises; empty without one.
        kept: as for :func:`interruptible`.
    """
    # Not at the top: they import torch, for which a page of help does not wait.
    from sycam.report.event_log import EventLog
    from sycam.report.progress import Watcher

    with (
        interruptible(kept),
        EventLog(log, command) as record,
        Watcher(console, metric) as watch,
    ):
        yield each(record, watch)
