"""Ray as an executor: actors of a cluster, or of this machine where none is named."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from threading import Event, Lock, Thread, current_thread, main_thread
from typing import Any, NamedTuple

from sycam.errors import OptionError
from sycam.workers.worker import compute_on

CUDA = "cuda"  # in an actor the one GPU that Ray gave it
_SOON, _LATE = 1.0, 60.0  # seconds until an actor that could not be had is asked for again


class _Task(NamedTuple):
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    future: Future


class RayExecutor(Executor):
    """Carries tasks out by actors of Ray, which is joined, or started, where that was not done.

    ``RAY_ADDRESS`` names the cluster, as everywhere in Ray. Each actor has a core, or a core and a
    GPU, and keeps the network and what it has measured. Only one that has begun is given tasks, so
    that none waits for a place in the cluster. What is lost with an actor is given out again by the
    run itself: Ray restarts and repeats nothing, and the executor asks for another actor.

    Args:
        gpus: whether each actor computes on a GPU of its own.
        workers: how many actors at most; one each GPU, or each core, of the cluster if None.

    Raises:
        OptionError: Ray is not installed, or cannot be had, or there is no GPU.
    """

    def __init__(self, gpus: bool = False, workers: int | None = None):
        try:
            import ray
        except ImportError:
            raise OptionError("Ray is not installed: pip install 'sycam[ray]'") from None
        try:
            if not ray.is_initialized():
                with _own_sigterm():
                    ray.init(include_dashboard=False, log_to_driver=False)
            there = int(ray.cluster_resources().get("GPU" if gpus else "CPU", 0))
        except Exception as error:  # whatever Ray says of a cluster that is not there
            raise OptionError(
                f"Ray cannot be had: {type(error).__name__}: {error}; RAY_ADDRESS names a cluster, "
                "and RAY_AUTH_MODE=token with RAY_AUTH_TOKEN its token if it asks for one; without "
                "an address Ray starts on this machine"
            ) from error
        if not there:
            what = "GPU, and the run computes on one" if gpus else "core"
            raise OptionError(f"the Ray cluster has no {what}; what it has: ray status")
        self.max_workers = there if workers is None else min(workers, there)
        self._actor_class = ray.remote(
            num_cpus=1, num_gpus=int(gpus), max_restarts=0, max_task_retries=0
        )(_Actor)
        self._device = CUDA if gpus else None
        self._ray = ray
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._actors: dict[int, Any] = {}
        self._lock, self._ended = Lock(), Event()
        for place in range(self.max_workers):
            Thread(target=self._serve, args=(place,), daemon=True).start()

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:  # type: ignore[override]
        """See :class:`sycam.workers.pools.Executor`."""
        if self._ended.is_set():
            raise RuntimeError("cannot schedule new futures after shutdown")
        task = _Task(function, arguments, Future())
        self._tasks.put(task)
        return task.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the actors, whatever they are at; what was not begun is never done."""
        with self._lock:
            self._ended.set()
            actors = list(self._actors.values())
            self._actors.clear()
        for actor in actors:
            self._kill(actor)
        for _ in range(self.max_workers):
            self._tasks.put(None)

    def _serve(self, place: int) -> None:
        """Have one actor carry out task by task; another where it is lost."""
        actor, pause = None, _SOON
        while not self._ended.is_set():
            trouble: Exception | None = None
            if actor is None:
                try:
                    actor, pause = self._hired(place), _SOON
                except Exception as error:  # no SyCAM there, a node that is gone
                    trouble = error
            task = self._tasks.get()
            if task is None:
                return
            if trouble is None:
                try:
                    answer = self._ray.get(actor.perform.remote(task.function, *task.arguments))
                except self._ray.exceptions.RayActorError as error:
                    actor, trouble = None, error
                except Exception as error:  # not sent, or not to be read: the actor is well
                    task.future.set_exception(error)
                    continue
                else:
                    task.future.set_result(answer)
                    continue
            # The run counts how often a task is lost, and says why where that never ends.
            task.future.set_exception(trouble)
            if actor is None and self._ended.wait(pause):
                return
            pause = min(2 * pause, _LATE)

    def _hired(self, place: int) -> Any:
        """An actor that has begun."""
        actor = self._actor_class.remote(self._device)
        with self._lock:
            if self._ended.is_set():
                self._kill(actor)
                raise RuntimeError("the executor has ended")
            self._actors[place] = actor
        self._ray.get(actor.begun.remote())
        return actor

    def _kill(self, actor: Any) -> None:
        with suppress(Exception):  # where Ray itself has ended, and its actors with it
            self._ray.kill(actor)


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Let SIGTERM do what this process wants; where it wants nothing, let it end in order.

    Ray sets a handler of Python's that exits, and then, in its core, another over it that aborts
    the process at once.
    """
    mine = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        handler = mine if callable(mine) else signal.getsignal(signal.SIGTERM)
        if callable(handler) and current_thread() is main_thread():
            signal.signal(signal.SIGTERM, handler)


class _Actor:
    """A process that keeps what it makes."""

    def __init__(self, device: str | None):
        if device is not None:
            compute_on(device)

    def begun(self) -> bool:
        return True

    def perform(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)
