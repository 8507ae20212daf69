"""Forward passes take as many threads of a CPU as are fastest, and leave torch as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import sycam
from sycam.data import demo
from sycam.inference import Classifier, sharing_cores, threads
from sycam.inference.threads import active_threads, allowed_threads


class Machine:
    """A clock that goes on while work is done, which takes longer where cores are short.

    Attributes:
        cores: that this process gets.
        said: what the user is told.
        runs: of how many threads each piece was.
    """

    def __init__(self):
        self.cores, self.now, self.waited, self.said = 8.0, 0.0, 0.0, []
        self.runs: list[int] = []

    def work(self, least: float = 0.0, shared: float = 0.01) -> str:
        """A piece: what one thread must do, and what threads share."""
        count = torch.get_num_threads()
        seconds = least + (shared / count if count <= self.cores else 5 * shared)
        self.pass_time(seconds, seconds * max(0, count - self.cores))
        self.runs.append(count)
        return "done"

    def pass_time(self, seconds: float, waited: float = 0.0) -> None:
        self.now += seconds
        self.waited += waited


@pytest.fixture
def machine(monkeypatch):
    found = Machine()
    monkeypatch.setattr(threads, "time", SimpleNamespace(monotonic=lambda: found.now))
    monkeypatch.setattr(threads, "_waits", lambda: {"1": found.waited})
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    yield found
    torch.set_num_threads(before)


def until(machine: Machine, seconds: float, *works, kinds=("batch", "rest")) -> int:
    """Do pieces of these kinds in turn for so long; the number of threads in the end."""
    end = machine.now + seconds
    while machine.now < end:
        for kind, work in zip(kinds, works or [machine.work], strict=False):
            active_threads().run(kind, work)
    return torch.get_num_threads()


@pytest.mark.parametrize("waiting", [0, 0.05])
def test_where_cores_are_free_nothing_is_tried(machine, waiting):
    def work() -> None:
        machine.work()
        machine.pass_time(0, waiting * 8 * 0.01 / 8)

    with sharing_cores(machine.said.append):
        until(machine, 60, work)
    assert set(machine.runs) == {8}
    assert machine.said == []


def test_what_is_done_is_returned(machine):
    with sharing_cores(machine.said.append):
        for cores in (8, 1):
            machine.cores = cores
            for _ in range(1000):
                assert active_threads().run("batch", machine.work) == "done"


def test_fewer_while_cores_are_short_and_all_again_afterwards(machine):
    with sharing_cores(machine.said.append):
        counts = []
        for cores in (8, 2.5, 8):
            machine.cores = cores
            counts.append(until(machine, 30))
            assert allowed_threads() == 8
        assert counts == [8, 2, 8]
    (said,) = machine.said
    assert "on 2 of 8 threads: other work keeps the cores busy" in said


def test_the_next_look_tells_that_cores_have_become_short(machine):
    """The many quick pieces before it do not make the few slow ones look quick."""
    with sharing_cores(machine.said.append):
        assert until(machine, 1.5) == 8
        machine.cores = 2
        assert until(machine, 1.5) == 2


def test_trying_takes_a_twentieth_of_the_time_however_long_cores_are_short(machine):
    machine.cores = 1
    with sharing_cores(machine.said.append):
        until(machine, 300)
    slow = 0.05 * sum(count > 1 for count in machine.runs[-10_000:])
    assert 0 < slow < 0.06 * 0.01 * 10_000


def test_a_short_rest_between_whole_batches_does_not_decide(machine):
    """It would be fastest on one thread."""

    def rest() -> None:
        machine.pass_time(0.002 + 0.0005 * torch.get_num_threads())

    with sharing_cores(machine.said.append):
        counts = []
        for cores in (2, 8):
            machine.cores = cores
            counts.append(until(machine, 60, lambda: machine.work(shared=0.4), rest))
        assert counts == [2, 8]


def test_work_that_is_over_does_not_decide_any_more(machine):
    with sharing_cores(machine.said.append):
        until(machine, 1.5, lambda: machine.work(shared=4.0))
        machine.cores = 1
        assert until(machine, 30, kinds=("another",)) == 1


def test_small_gains_add_up_on_the_way_to_all_threads(machine):
    """Doubling gains 9 %, which is too little to tell; four times as many gain more."""

    def work() -> None:
        count = torch.get_num_threads()
        short = count > machine.cores
        machine.pass_time(0.2 if short else 0.01 * count**-0.13, 0.2 * count if short else 0)

    with sharing_cores(machine.said.append):
        machine.cores = 1
        assert until(machine, 30, work) == 1
        machine.cores = 8
        assert until(machine, 60, work) >= 4


def test_settling_at_first_finds_what_work_takes(machine):
    with sharing_cores(machine.said.append):
        assert active_threads().settle(machine.work) == pytest.approx(0.01 / 8)
        assert set(machine.runs) == {8, 4}  # half is twice as slow, so a quarter is not tried
        machine.cores = 4
        assert active_threads().settle(machine.work) == pytest.approx(0.01 / 4)
        assert torch.get_num_threads() == 4


def test_pieces_that_take_long_are_done_twice_where_threads_do_not_matter(machine):
    with sharing_cores(machine.said.append):
        assert active_threads().settle(lambda: machine.work(least=10, shared=0)) == 10
    assert machine.runs == [8, 4]


def test_a_hitch_is_no_reason_for_fewer(machine):
    """Where nothing waited for a core, one slow measurement must not decide."""
    slow = iter([0.5] * 3)

    def work() -> None:
        machine.pass_time(next(slow, 0.01 / torch.get_num_threads()))

    with sharing_cores(machine.said.append):
        active_threads().settle(work)
        assert torch.get_num_threads() == 8
    assert machine.said == []


def test_an_error_while_something_is_tried_leaves_the_threads_as_they_were(machine):
    """As where memory runs out; smaller batches go on."""
    machine.cores = 2

    def work() -> None:
        machine.work()
        if torch.get_num_threads() == 2:
            raise MemoryError

    with sharing_cores(machine.said.append):
        with pytest.raises(MemoryError):
            active_threads().settle(work)
        assert torch.get_num_threads() == 8


def test_threads_that_have_ended_do_not_hide_that_others_wait(monkeypatch, machine):
    waits = {"1": 0.0, "2": 50.0}
    monkeypatch.setattr(threads, "_waits", lambda: dict(waits))
    with sharing_cores(machine.said.append):
        del waits["2"]
        machine.cores, waits["1"] = 2, 8.0
        machine.pass_time(2)
        active_threads().settle(machine.work)
    assert "other work keeps the cores busy" in machine.said[0]


def test_torch_has_as_many_threads_as_before(machine):
    machine.cores = 1

    def interrupted() -> None:
        with sharing_cores(machine.said.append):
            active_threads().settle(machine.work)
            assert torch.get_num_threads() == 1
            with sharing_cores(machine.said.append):  # a search that validates, say
                assert allowed_threads() == 8
            assert torch.get_num_threads() == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert torch.get_num_threads() == 8
    assert active_threads() is None


def test_the_batch_does_not_depend_on_the_threads_of_the_moment(machine):
    """Activations so large that four images fill the caches: eight threads have eight."""
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4096, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    with sharing_cores(machine.said.append):
        torch.set_num_threads(1)
        classifier = Classifier(network)
        classifier.probability(torch.rand(1, 3, 16, 16), torch.zeros(1, dtype=torch.long))
    assert classifier.batch == 8


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="this system does not say who waits for cores"
)
@pytest.mark.slow
def test_two_threads_that_share_one_core_become_one():
    """In a process of its own, as in a container that is granted less than it sees."""
    code = """
import os, time
import torch
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from sycam.data import demo
from sycam.inference import Classifier
from sycam.inference.threads import sharing_cores
torch.set_num_threads(2)
images, targets = demo.normalise(demo.scenes("heldout", 64).images), torch.arange(64) % 10
classifier, said = Classifier(demo.network(), batch=16), []
with sharing_cores(said.append):
    started = time.monotonic()
    while torch.get_num_threads() > 1 and time.monotonic() - started < 60:
        classifier.probability(images, targets)
    assert torch.get_num_threads() == 1
assert len(said) == 1 and said[0].startswith("torch computes on 1 of 2 threads"), said
assert torch.get_num_threads() == 2
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")
def test_a_compiled_network_is_not_compiled_again_for_another_number_of_threads(monkeypatch):
    from torch._dynamo.utils import counters

    monkeypatch.setattr(
        "sycam.inference.classifier.seconds_of", lambda _, *w, **_o: [2.0, 1.0][: len(w)]
    )
    images, targets = demo.normalise(demo.scenes("heldout", 16).images), torch.arange(16) % 10
    classifier, before = Classifier(demo.network(), batch=16), torch.get_num_threads()
    classifier.probability(images, targets)
    assert classifier.plan(10**12) == "compiled"
    graphs, found = counters["stats"]["unique_graphs"], []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(classifier.probability(images, targets))
    finally:
        torch.set_num_threads(before)
    assert counters["stats"]["unique_graphs"] == graphs > 0
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=1e-6)


def test_a_search_tells_of_fewer_threads_and_records_what_was_allowed(monkeypatch, tmp_path):
    """The demo on two threads of which one has no core, as the waiting says."""
    monkeypatch.setattr(threads, "_seconds", lambda count, work: (work(), float(count))[1])
    before, notes = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        result = sycam.synthesize(
            "demo", demo.LAYER, "demo", metric="average-drop", max_cost=2, budget=150,
            search_images=32, heldout=4, mode="exact", out=tmp_path, notify=notes.append,
        )  # fmt: skip
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert any("on 1 of 2 threads" in getattr(note, "text", "") for note in notes)
    assert result.record.environment["threads"] == 2
