"""Executors: what is asked of one, and processes of this machine as one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor as _Executor
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from numbers import Integral
from typing import Any, Protocol

from sycam.errors import OptionError
from sycam.support.arguments import argument
from sycam.support.cores import cores
from sycam.workers.worker import compute_on

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


def checked_workers(workers: int | str | None, devices: int = 0) -> int:
    """The number of workers.

    Args:
        workers: a number, or ``"auto"`` for one each core that this process may use; where there
            are devices, one each device, as if None.
        devices: that they are spread over; 0 where each computes where the run does.

    Raises:
        OptionError: neither, or fewer than devices.
    """
    if devices and workers in (AUTO, None):
        return devices
    if workers == AUTO:
        return cores()
    if isinstance(workers, str) and workers.isdecimal():
        workers = int(workers)
    if not isinstance(workers, Integral) or workers < 1:
        raise OptionError(
            f"{argument('workers')} must be a number from 1 on, {AUTO!r} or {RAY!r}; got "
            f"{workers!r}"
        )
    if workers < devices:
        raise OptionError(
            f"{argument('workers', workers)} is fewer than the {devices} devices that "
            f"{argument('device')} names; each takes a worker or several: leave "
            f"{argument('workers')} out for one each, or name fewer devices"
        )
    return int(workers)


def processes(count: int, devices: Sequence[str] = ()) -> Callable[[], ProcessPoolExecutor]:
    """Makes pools of so many processes of this machine, which end with this one.

    Args:
        count: of processes.
        devices: that they take in turn; each computes where the run does if there are none.
    """
    context = multiprocessing.get_context("spawn")  # a forked torch may hang

    def pool() -> ProcessPoolExecutor:
        begun = context.Value("l", 0)
        return _Pool(
            count, mp_context=context, initializer=_begin, initargs=(begun, tuple(devices))
        )

    return pool


class _Pool(ProcessPoolExecutor):
    """Its processes are begun where one is submitted to; what they inherit lets Ctrl-C pass by
    from the first moment, seconds before :func:`_begin`."""

    def submit(self, *arguments: Any, **options: Any) -> Any:
        if not hasattr(signal, "pthread_sigmask"):  # on Windows
            return super().submit(*arguments, **options)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        try:
            return super().submit(*arguments, **options)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(begun: Any, devices: tuple[str, ...]) -> None:
    """Begin as a process of a pool.

    Args:
        begun: a number that its processes share: of those that have begun.
        devices: see :func:`processes`.
    """
    _end_with_parent()
    if devices:
        compute_on(next_device(begun, devices))


def next_device(begun: Any, devices: Sequence[str]) -> str:
    """The device of the next process that begins; ``begun`` counts them."""
    with begun.get_lock():
        place = begun.value
        begun.value += 1
    return devices[place % len(devices)]


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
