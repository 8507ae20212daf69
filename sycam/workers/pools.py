"""Executors: what is asked of one, and processes of this machine as one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor as _Executor
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from numbers import Integral
from typing import Any, Protocol

from sycam.errors import OptionError
from sycam.support.arguments import argument
from sycam.support.cores import cores

AUTO, RAY = "auto", "ray"
UNKNOWN = 16  # workers that are assumed of an executor that does not say


class Future(Protocol):
    """What an executor gives for a task."""

    def result(self) -> Any:
        """What the task returned, once it is done."""


class Executor(Protocol):
    """Whoever carries tasks out: of ``concurrent.futures``, loky, mpi4py, ``submitit``, or
    ``dask.distributed``'s ``Client.get_executor()``."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Carry out a function of a module, with arguments that can be pickled."""


def as_executor(executor: Any) -> tuple[Executor, Callable[[], Executor] | None]:
    """An executor, and what makes another if it breaks, where that is known.

    Args:
        executor: one, or a function or class that makes one without arguments.

    Raises:
        OptionError: neither.
    """
    # A class has the methods of what it makes.
    if not isinstance(executor, type) and callable(getattr(executor, "submit", None)):
        return executor, None
    if callable(executor):
        made = executor()
        if callable(getattr(made, "submit", None)):
            return made, executor
    raise OptionError(
        f"{argument('executor')} must have submit(function, *arguments), which returns a future "
        f"with result(), or be a function that makes such a one; got {executor!r}"
    )


def checked_workers(workers: int | str) -> int:
    """The number of workers.

    Args:
        workers: a number, or ``"auto"`` for one each core that this process may use.

    Raises:
        OptionError: neither.
    """
    if workers == AUTO:
        return cores()
    if isinstance(workers, str) and workers.isdecimal():
        workers = int(workers)
    if not isinstance(workers, Integral) or workers < 1:
        raise OptionError(
            f"{argument('workers')} must be a number from 1 on, {AUTO!r} or {RAY!r}; got "
            f"{workers!r}"
        )
    return int(workers)


def processes(count: int) -> Callable[[], ProcessPoolExecutor]:
    """Makes pools of so many processes of this machine, which end with this one."""
    context = multiprocessing.get_context("spawn")  # a forked torch may hang

    def pool() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_parent)

    return pool


def _end_with_parent() -> None:
    """Let this process end where the one that started it was killed, but not by Ctrl-C, which
    reaches all processes of a terminal: it is the run that decides what ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def wait() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=wait, daemon=True).start()


def width_of(executor: Any) -> int:
    """How many workers an executor has, as far as it tells."""
    for name in ("_max_workers", "max_workers"):
        count = getattr(executor, name, None)
        if isinstance(count, int) and count > 0:
            return count
    client = getattr(executor, "_client", None)  # of dask
    if client is not None and hasattr(client, "nthreads"):
        return max(1, len(client.nthreads()))
    return UNKNOWN


def end(executor: Any, patience: float) -> None:
    """End an executor of processes, also those that do not answer.

    Args:
        executor: what it has not begun is not done.
        patience: seconds for what it is at; then it is killed.
    """
    running = dict(getattr(executor, "_processes", None) or {}).values()
    if isinstance(executor, _Executor):
        executor.shutdown(wait=False, cancel_futures=True)
    waiting, until = [process.sentinel for process in running], time.monotonic() + patience
    while waiting and (left := until - time.monotonic()) > 0:
        waiting = [one for one in waiting if one not in wait(waiting, left)]
    for process in running:
        if process.sentinel in waiting:
            process.kill()
