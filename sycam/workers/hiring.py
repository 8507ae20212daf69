"""Workers for the time of a call: from a number of processes, or from an executor of the user's."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from sycam.errors import OptionError
from sycam.events import Note, Notify, ignore
from sycam.inference import sharing_cores
from sycam.inference.freed_memory import giving_back
from sycam.problem.devices import unlike
from sycam.scoring.scoring import IN_PROCESS, Scoring
from sycam.support.arguments import argument
from sycam.workers.pools import AUTO, RAY, Executor, checked_workers, processes
from sycam.workers.ray_cluster import RayExecutor
from sycam.workers.remote_scorer import RemoteScoring
from sycam.workers.team import Team
from sycam.workers.worker import one_thread


def by_workers(
    workers: int | str | None, executor: object, devices: Sequence[str | torch.device | None]
) -> bool:
    """Whether others score than the run's own process."""
    return workers is not None or executor is not None or len(devices) > 1


@contextmanager
def scoring_by(
    workers: int | str | None,
    executor: Executor | Callable[[], Executor] | None = None,
    notify: Notify = ignore,
    devices: Sequence[str | torch.device | None] = (None,),
) -> Iterator[Scoring]:
    """Who scores within a call.

    Args:
        workers: number of processes of this machine, ``"auto"`` or ``"ray"``.
        executor: of the user's, see :class:`~sycam.workers.pools.Executor`.
        notify: is told of threads and of workers that were lost.
        devices: of :func:`sycam.problem.devices.devices_of`; several take a worker each, or as
            many as there are, in turn. ``"auto"`` workers are one each GPU of a run on CUDA.

    Raises:
        OptionError: both are given, one is not understood, or does not go with several devices.
    """
    several = tuple(map(str, devices)) if len(devices) > 1 else ()
    if workers is not None and executor is not None:
        raise OptionError(
            f"{argument('workers')} and {argument('executor')} are given; give one of them: the "
            "executor has workers of its own"
        )
    if several and (executor is not None or workers == RAY):
        whose = argument("executor") if executor is not None else argument("workers", RAY)
        raise OptionError(
            f"{argument('device')} names {len(several)} devices, which processes of this machine "
            f"would share; by {whose}, whoever places the workers says which device each has: "
            "name one, the run's own"
        )
    if said := unlike(several):
        notify(Note(said))
    with ExitStack() as stack:
        if not by_workers(workers, executor, devices):
            stack.enter_context(sharing_cores(lambda text: notify(Note(text))))
            yield IN_PROCESS
            return
        if workers == RAY:
            cluster = RayExecutor(gpus=_on_gpu(devices[0]))
            stack.callback(cluster.shutdown)
            team = Team(cluster, notify=notify)
        elif executor is None:
            places = several or (_gpus(devices[0]) if workers == AUTO else ())
            count = checked_workers(workers, len(places))
            team = Team(processes(count, places), owned=True, notify=notify)
        else:
            team = Team(executor, notify=notify)
        stack.callback(team.close)
        # Workers have the cores; what the driver measures must not depend on how many it has.
        stack.enter_context(one_thread())
        stack.enter_context(giving_back())  # no batches are computed here
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sycam-workers-"))
        yield RemoteScoring(team, Path(folder))


def _gpus(device: str | torch.device | None) -> tuple[str, ...]:
    """The GPUs of a run on CUDA: the one named, or all that this process sees; else none."""
    if not _on_gpu(device):
        return ()
    if device is not None:
        return (str(device),)
    return tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))


def _on_gpu(device: str | torch.device | None) -> bool:
    """Whether a run computes on CUDA, as far as it is said before the network is there."""
    if device is None:
        return torch.cuda.is_available()
    return str(device).startswith("cuda")
