"""What is asked for is answered, whatever becomes of the workers."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import sycam.workers.team as team_room
from sycam.errors import DataError, OptionError, RunError
from sycam.events import Note
from sycam.scoring.scorer import Raw
from sycam.workers import hiring, pools
from sycam.workers.hiring import scoring_by
from sycam.workers.orders import Done, Failed, Missing, Order
from sycam.workers.parcels import Parcel
from sycam.workers.pools import checked_workers, next_device
from sycam.workers.team import BARREN, LOST, Job, Team


def answer(number: int) -> Done:
    return Done(Raw((np.full((1, 1), number),), np.zeros((1, 1), bool), np.ones(1, bool)), 1)


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    recipe, shard = (Parcel.put(text, tmp_path) for text in (b"recipe", b"shard"))
    return [Job(Order(recipe, shard, i, i + 1, 1.0, (), None, (), None)) for i in range(40)]


class Fickle:
    """Answers with an order's number, unless ``lose`` says what happens instead."""

    _max_workers = 3

    def __init__(self, lose: Callable[[Order, dict], Any] = lambda order, attached: None):
        self.lose = lose

    def submit(self, _function: Callable, order: Order, attached: dict) -> Future:
        future: Future = Future()
        happens = self.lose(order, attached)
        if happens == "silence":
            return future
        if isinstance(happens, BaseException):
            future.set_exception(happens)
        else:
            future.set_result(happens or answer(order.start))
        return future


def numbers(answers: list[Done]) -> list[int]:
    return [int(done.raw.values[0][0, 0]) for done in answers]


def test_answers_come_in_the_order_of_the_jobs(jobs):
    chance = random.Random(0)

    def slow(_function: Callable, order: Order, _attached: dict) -> Done:
        time.sleep(chance.random() / 100)
        return answer(order.start)

    with ThreadPoolExecutor(4) as pool:
        pool.submit_ = pool.submit  # type: ignore[attr-defined]

        class Threads:
            _max_workers = 4

            def submit(self, *given: Any) -> Future:
                return pool.submit(slow, *given)

        assert numbers(Team(Threads()).results(jobs)) == list(range(40))


def test_no_more_is_given_out_than_workers_can_begin_soon(jobs):
    given: list[Future] = []

    class Counting:
        _max_workers = 3

        def submit(self, *_: Any) -> Future:
            given.append(Future())
            return given[-1]

    team = Team(Counting())
    team.foresee(jobs)
    team._fill()
    assert len(given) == 6


def test_what_is_under_way_is_not_begun_again_when_it_is_foreseen_again(jobs):
    given: dict[int, list[Future]] = {}

    class Waiting:
        _max_workers = 2

        def submit(self, _: Callable, order: Order, *__: Any) -> Future:
            given.setdefault(order.start, []).append(Future())
            return given[order.start][-1]

    team = Team(Waiting())
    team.foresee(jobs[:8])
    team._fill()
    assert list(given) == [0, 1, 2, 3]
    for first in range(4):  # as a search does: one batch is done, those after it are foreseen
        given[first][0].set_result(answer(first))
        team.results(jobs[first : first + 1])
        team.foresee(jobs[first + 1 : 8])
    assert {number: len(futures) for number, futures in given.items()} == dict.fromkeys(range(8), 1)


def test_what_a_worker_misses_is_sent_along(jobs):
    def forgetful(order: Order, attached: dict) -> Missing | None:
        lacking = {order.recipe.digest, order.shard.digest} - attached.keys()
        return Missing(tuple(lacking)) if lacking else None

    done = Team(Fickle(forgetful)).results(jobs)
    assert numbers(done) == list(range(40))
    assert jobs[0].attached == {
        jobs[0].order.recipe.digest: b"recipe", jobs[0].order.shard.digest: b"shard"
    }  # fmt: skip


def test_lost_tasks_are_given_out_again(jobs):
    chance = random.Random(1)
    lost = Fickle(lambda *_: ConnectionError("gone") if chance.random() < 0.5 else None)
    assert numbers(Team(lost).results(jobs)) == list(range(40))


def test_a_task_that_is_always_lost_ends_the_run(jobs):
    always = Fickle(lambda order, _: ConnectionError("gone") if order.start == 3 else None)
    with pytest.raises(RunError, match=f"lost {LOST + 1} times.*gone"):
        Team(always).results(jobs)


def test_a_broken_executor_is_made_again(jobs):
    chance, made, told = random.Random(2), [], []

    def make() -> Fickle:
        made.append(
            Fickle(lambda *_: BrokenProcessPool("killed") if chance.random() < 0.2 else None)
        )
        return made[-1]

    assert numbers(Team(make, notify=told.append).results(jobs)) == list(range(40))
    assert len(made) > 2
    assert any(isinstance(event, Note) and "a worker was lost" in event.text for event in told)


def test_a_broken_executor_that_cannot_be_made_again_is_an_error(jobs):
    with pytest.raises(RunError, match="executor as a function"):
        Team(Fickle(lambda *_: BrokenProcessPool("killed"))).results(jobs)


def test_executors_that_break_at_once_end_the_run(jobs):
    made = []

    def make() -> Fickle:
        made.append(Fickle(lambda *_: BrokenProcessPool("killed")))
        return made[-1]

    with pytest.raises(RunError, match="__main__"):
        Team(make).results(jobs)
    assert len(made) == BARREN + 1


def test_a_silent_worker_s_task_is_given_to_another(jobs):
    asked: list[int] = []

    def deaf_once(order: Order, _: dict) -> str | None:
        asked.append(order.start)
        return "silence" if order.start == 5 and asked.count(5) == 1 else None

    team = Team(Fickle(deaf_once), patience=0.1)
    team_room.LATER, before = 0.1, team_room.LATER
    try:
        assert numbers(team.results(jobs)) == list(range(40))
    finally:
        team_room.LATER = before
    assert asked.count(5) == 2


def test_futures_need_only_a_result(jobs):
    class Bare:
        def __init__(self, order: Order):
            self.order = order

        def result(self) -> Done:
            return answer(self.order.start)

    class Plain:
        def submit(self, _function: Callable, order: Order, _attached: dict) -> Bare:
            return Bare(order)

    assert numbers(Team(Plain()).results(jobs)) == list(range(40))


def test_what_is_wrong_with_what_was_given_is_raised(jobs):
    wrong = Failed(DataError("no masks"), "Traceback ...")
    with pytest.raises(DataError, match="no masks"):
        Team(Fickle(lambda order, _: wrong if order.start == 7 else None)).results(jobs)


def test_an_error_that_cannot_be_sent_is_told_by_its_traceback(jobs):
    with pytest.raises(RunError, match="KeyError: 'x'"):
        Team(Fickle(lambda *_: Failed(None, "KeyError: 'x'"))).results(jobs)


@pytest.mark.parametrize("given", [0, -1, "many", 1.5])
def test_a_number_of_workers_that_is_none_is_refused(given):
    with pytest.raises(OptionError, match="workers must be a number from 1 on"):
        checked_workers(given)


@pytest.mark.parametrize(
    ("workers", "devices", "count"), [(None, 2, 2), ("auto", 3, 3), (4, 2, 4), ("5", 5, 5)]
)
def test_each_device_has_a_worker(workers, devices, count):
    assert checked_workers(workers, devices) == count


@pytest.mark.parametrize(
    ("device", "workers", "places"),
    [
        (None, "auto", ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda:1", "auto", ["cuda:1"]),
        ("cuda", "auto", ["cuda"]),
        ("cpu", "auto", [""] * 5),
        ("cuda:1", 2, [""] * 2),
    ],
)
def test_auto_is_a_worker_for_each_gpu_of_a_run_on_cuda(monkeypatch, device, workers, places):
    """On a machine of three GPUs and five cores; a worker without a place computes where the run
    does."""
    begun = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setattr(pools, "cores", lambda: 5)

    def made(count, devices):
        begun.extend(devices[i % len(devices)] if devices else "" for i in range(count))
        return lambda: SimpleNamespace(submit=lambda *_: Future())

    monkeypatch.setattr(hiring, "processes", made)
    with scoring_by(workers, devices=(device,)):
        assert begun == places


def test_fewer_workers_than_devices_are_refused():
    with pytest.raises(OptionError, match="workers=1 is fewer than the 2 devices"):
        checked_workers(1, 2)


def test_processes_take_the_devices_in_turn():
    begun = multiprocessing.Value("l", 0)
    taken = [next_device(begun, ("cuda:0", "cuda:2")) for _ in range(5)]
    assert taken == ["cuda:0", "cuda:2", "cuda:0", "cuda:2", "cuda:0"]


@pytest.mark.parametrize("given", [("ray", None), (None, Fickle())])
def test_several_devices_are_of_processes_of_this_machine(given):
    with (
        pytest.raises(OptionError, match="whoever places the workers says"),
        scoring_by(*given, devices=("cpu", "cpu")),
    ):
        pass


def test_workers_and_executor_exclude_each_other():
    with pytest.raises(OptionError, match="give one of them"), scoring_by(2, Fickle()):
        pass


def test_a_class_makes_executors(jobs):
    assert numbers(Team(Fickle).results(jobs)) == list(range(40))


def test_what_is_no_executor_is_refused():
    with pytest.raises(OptionError, match="must have submit"), scoring_by(None, "dask"):
        pass
