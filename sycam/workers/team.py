"""Orders to an executor: so many at a time, again where they are lost or late, answers in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from sycam.errors import RunError, SycamError
from sycam.events import Note, Notify, ignore
from sycam.support.arguments import argument
from sycam.workers.orders import Done, Failed, Missing, Order
from sycam.workers.pools import Executor, Future, as_executor, end, width_of
from sycam.workers.worker import perform, ready

AHEAD = 2  # orders under way for each worker, so that none waits for the driver
PATIENCE = 600.0  # seconds after which a first order is given out again
LATER = 20.0  # times what the longest order took, and this many seconds more, for the next ones
LOST = 20  # times that an order may be lost, with each executor that breaks
FAREWELL = 5.0  # seconds for what a worker is at when its team ends
BARREN = 4  # executors that break one after another, before any order is done


@dataclass(eq=False)
class Job:
    """An order on its way.

    Attributes:
        order: what is to be scored.
        done: the answer, once it is there.
        attached: content that a worker missed.
    """

    order: Order
    done: Done | None = None
    attached: dict[str, bytes] = field(default_factory=dict)
    _lost: int = 0
    _error: Exception | None = None


@dataclass(frozen=True, eq=False)
class _Ticket:
    """One try of a job."""

    job: Job
    since: float
    executor: Executor


class Team:
    """Workers, by an executor.

    Args:
        executor: anything with ``submit``, or a function that makes it; see
            :class:`~sycam.workers.pools.Executor`.
        owned: whether it is ended by :meth:`close`, and its processes where they do not answer.
        patience: seconds after which an order is given out again, before it is known how long they
            take.
        notify: is told of workers that were lost.

    Raises:
        OptionError: no executor.
    """

    def __init__(
        self,
        executor: Any,
        owned: bool = False,
        patience: float = PATIENCE,
        notify: Notify = ignore,
    ):
        self._executor, self._again = as_executor(executor)
        self._owned, self._patience, self._notify = owned, patience, notify
        self.width = width_of(self._executor)
        self._waiting: deque[Job] = deque()
        self._foreseen: deque[Job] = deque()
        self._running: dict[int, _Ticket] = {}
        self._late: dict[int, _Ticket] = {}  # given out again; whichever comes first counts
        self._numbers = count()
        self._news: SimpleQueue[tuple[int, Future]] = SimpleQueue()
        self._longest = 0.0
        self._barren = 0  # executors that broke since an order was done
        for _ in range(self.width if owned else 0):
            self._executor.submit(ready)  # while images are measured, processes start

    def results(self, jobs: Sequence[Job]) -> list[Done]:
        """The answers to jobs, which come before all that were foreseen.

        Raises:
            SycamError: what a worker found wrong with what was given.
            RunError: workers are lost again and again.
        """
        self._waiting.extend(jobs)
        try:
            for job in jobs:
                while job.done is None:
                    if job._error is not None:
                        raise job._error
                    self._step()
        finally:
            self._waiting.clear()  # where an interruption left some
        self._fill()
        return [job.done for job in jobs if job.done is not None]

    def foresee(self, jobs: Sequence[Job]) -> None:
        """Begin jobs where workers have nothing else to do; those before that were not begun are
        forgotten."""
        self._foreseen = deque(jobs)

    def close(self) -> None:
        """End the workers that are this team's own."""
        self._foreseen.clear()
        if self._owned:
            end(self._executor, FAREWELL)

    def _fill(self) -> None:
        while len(self._running) < AHEAD * self.width and (self._waiting or self._foreseen):
            self._begin((self._waiting or self._foreseen).popleft())

    def _begin(self, job: Job) -> None:
        # What is wanted may have been foreseen, and foreseen more than once.
        if job.done is not None or any(t.job is job for t in self._running.values()):
            return
        number = next(self._numbers)
        self._running[number] = _Ticket(job, time.monotonic(), self._executor)
        try:
            future = self._executor.submit(perform, job.order, job.attached)
        except Exception as error:  # whatever executors say that are broken or ended
            self._lose(number, error)
            return
        news = self._news
        if hasattr(future, "add_done_callback"):
            future.add_done_callback(lambda done: news.put((number, done)))
        else:
            Thread(target=_wait, args=(number, future, news), daemon=True).start()

    def _step(self) -> None:
        """Wait until something happens, and see to it."""
        self._fill()
        try:
            number, future = self._news.get(timeout=1.0)
        except Empty:
            self._give_out_late()
            return
        ticket = self._running.get(number) or self._late.pop(number, None)
        if ticket is None or ticket.job.done is not None:
            self._running.pop(number, None)
            return
        try:
            answer = future.result()
        except Exception as error:
            self._lose(number, error)
            return
        self._running.pop(number, None)
        job = ticket.job
        if isinstance(answer, Done):
            job.done, self._barren = answer, 0
            self._longest = max(self._longest, time.monotonic() - ticket.since)
        elif isinstance(answer, Missing):
            job.attached |= self._contents(job.order, answer)
            self._waiting.appendleft(job)
        elif isinstance(answer, Failed):
            job._error = _told(answer)

    @staticmethod
    def _contents(order: Order, missing: Missing) -> dict[str, bytes]:
        contents = {}
        for parcel in (order.recipe, order.shard):
            if parcel.digest in missing.digests:
                data = parcel.content()
                if data is None:
                    raise RunError(f"cannot read {parcel.path}, which this run wrote")
                contents[parcel.digest] = data
        return contents

    def _give_out_late(self) -> None:
        """Give out again what takes far longer than others did."""
        allowed = LATER * (self._longest + 1) if self._longest else self._patience
        now = time.monotonic()
        late = [n for n, ticket in self._running.items() if now - ticket.since > allowed]
        if not late:
            return
        said = f"{len(late)} tasks had no answer in {allowed:.0f} s and are given out again"
        self._notify(Note(said))
        if self._owned and self._again is not None:
            self._renew(TimeoutError(said))
            return
        for number in late:
            ticket = self._running.pop(number)
            self._late[number] = ticket
            self._count_loss(ticket.job, TimeoutError(said))

    def _lose(self, number: int, error: Exception) -> None:
        ticket = self._running.pop(number, None)
        if ticket is None:
            return
        broken = isinstance(error, BrokenExecutor) or _is_shut(error)
        if broken and ticket.executor is self._executor:
            self._running[number] = ticket
            self._renew(error)
        else:
            self._count_loss(ticket.job, error)

    def _count_loss(self, job: Job, error: Exception) -> None:
        job._lost += 1
        if job._lost > LOST:
            job._error = RunError(
                f"a task was lost {job._lost} times, the last time by {_said(error)}; if it needs "
                "more memory than a worker has, take fewer workers; what was scored is kept, and "
                "the same call resumes"
            )
        else:
            self._waiting.append(job)

    def _renew(self, error: Exception) -> None:
        """Another executor in place of a broken one; what it was at is given out again."""
        self._barren += 1
        if self._again is None:
            raise RunError(
                f"the executor is broken ({_said(error)}): a worker died. What was scored is kept, "
                f"and the same call resumes; {argument('executor')} as a function that makes an "
                "executor, like lambda: ProcessPoolExecutor(4), goes on by itself"
            )
        if self._barren > BARREN and not self._longest:
            raise RunError(
                f"workers die before they score anything ({_said(error)}); what they printed says "
                "why. A script that is run as a program must keep its calls under "
                "if __name__ == '__main__':, as each worker imports it"
            )
        if self._barren == 1:
            self._notify(Note(f"a worker was lost ({_said(error)}); its tasks are given out again"))
        if self._owned:
            end(self._executor, 0.0)
        jobs = [ticket.job for ticket in self._running.values()]
        self._running.clear()
        self._executor = self._again()
        for job in reversed(jobs):
            self._count_loss(job, error)


def _wait(number: int, future: Future, news: SimpleQueue[tuple[int, Future]]) -> None:
    """For a future that cannot call back."""
    with suppress(Exception):  # it is raised again where it is looked at
        future.result()
    news.put((number, future))


def _is_shut(error: Exception) -> bool:
    return isinstance(error, RuntimeError) and "shutdown" in str(error)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _told(answer: Failed) -> Exception:
    """The error of a worker, with where it was raised there."""
    if isinstance(answer.error, SycamError):
        return answer.error
    if answer.error is None:
        return RunError(f"a worker failed:\n{answer.text}")
    answer.error.add_note(f"In a worker:\n{answer.text}")
    return answer.error
