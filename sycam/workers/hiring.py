"""Workers for the time of a call: from a number of processes, or from an executor of the user's."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sycam.errors import OptionError
from sycam.events import Note, Notify, ignore
from sycam.inference import sharing_cores
from sycam.scoring.scoring import IN_PROCESS, Scoring
from sycam.support.arguments import argument
from sycam.workers.pools import RAY, Executor, checked_workers, processes
from sycam.workers.ray_cluster import RayExecutor
from sycam.workers.remote_scorer import RemoteScoring
from sycam.workers.team import Team
from sycam.workers.worker import one_thread


@contextmanager
def scoring_by(
    workers: int | str | None,
    executor: Executor | Callable[[], Executor] | None = None,
    notify: Notify = ignore,
) -> Iterator[Scoring]:
    """Who scores within a call.

    Args:
        workers: number of processes of this machine, ``"auto"`` or ``"ray"``.
        executor: of the user's, see :class:`~sycam.workers.pools.Executor`.
        notify: is told of threads and of workers that were lost.

    Raises:
        OptionError: both are given, or one is not understood.
    """
    if workers is not None and executor is not None:
        raise OptionError(
            f"{argument('workers')} and {argument('executor')} are given; give one of them: the "
            "executor has workers of its own"
        )
    with ExitStack() as stack:
        if workers is None and executor is None:
            stack.enter_context(sharing_cores(lambda text: notify(Note(text))))
            yield IN_PROCESS
            return
        if workers == RAY:
            team = Team(RayExecutor, notify=notify)
        elif workers is not None:
            team = Team(processes(checked_workers(workers)), owned=True, notify=notify)
        else:
            team = Team(executor, notify=notify)
        stack.callback(team.close)
        # Workers have the cores; what the driver measures must not depend on how many it has.
        stack.enter_context(one_thread())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sycam-workers-"))
        yield RemoteScoring(team, Path(folder))
