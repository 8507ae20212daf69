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
from sycam.evidence import Classifier, threads
from sycam.evidence.threads import active_threads, allowed_threads, sharing_cores


class Machine:
    """A clock that goes on while work is done, which takes longer where cores are short.

    Attributes:
        cores: that this process gets.
        said: what the user is told.
    """

    def __init__(self, cores: float):
        self.cores, self.now, self.waited, self.said = cores, 0.0, 0.0, []
        self.runs: list[int] = []

    def work(self) -> str:
        count = torch.get_num_threads()
        seconds = 0.01 / count if count <= self.cores else 0.05
        self.now += seconds
        self.waited += seconds * max(0, count - self.cores)
        self.runs.append(count)
        return "done"


@pytest.fixture
def machine(monkeypatch):
    found = Machine(8)
    monkeypatch.setattr(threads, "time", SimpleNamespace(monotonic=lambda: found.now))
    monkeypatch.setattr(threads, "_waited", lambda: found.waited)
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    yield found
    torch.set_num_threads(before)


def test_where_cores_are_free_nothing_is_tried(machine):
    with sharing_cores(machine.said.append):
        while machine.now < 60:
            assert active_threads().run("passes", machine.work) == "done"
    assert set(machine.runs) == {8}
    assert machine.said == []


def test_fewer_while_cores_are_short_and_all_again_afterwards(machine):
    with sharing_cores(machine.said.append):
        counts = []
        for cores in (8, 2.5, 8):
            machine.cores, until = cores, machine.now + 30
            while machine.now < until:
                active_threads().run("passes", machine.work)
            counts.append(torch.get_num_threads())
            assert allowed_threads() == 8
        assert counts == [8, 2, 8]
    (said,) = machine.said
    assert "on 2 of 8 threads: other work keeps the cores busy" in said


def test_trying_takes_a_twentieth_of_the_time_however_long_cores_are_short(machine):
    machine.cores = 1
    with sharing_cores(machine.said.append):
        while machine.now < 300:
            active_threads().run("passes", machine.work)
    slow = 0.05 * sum(count > 1 for count in machine.runs[-10_000:])
    assert 0 < slow < 0.06 * 0.01 * 10_000


def test_pieces_of_different_sizes_are_not_compared(machine):
    """Short rests between whole batches would make those on fewer threads look slow."""
    with sharing_cores(machine.said.append):
        machine.cores = 2
        while machine.now < 20:
            for kind, repeats in (("batch", 10), ("rest", 1)):
                active_threads().run(kind, lambda n=repeats: [machine.work() for _ in range(n)])
        assert torch.get_num_threads() == 2


def test_settling_at_first_finds_what_work_takes(machine):
    with sharing_cores(machine.said.append):
        assert active_threads().settle(machine.work) == pytest.approx(0.01 / 8)
        machine.cores = 4
        assert active_threads().settle(machine.work) == pytest.approx(0.01 / 4)
        assert torch.get_num_threads() == 4


def test_a_hitch_is_no_reason_for_fewer(machine):
    """Where nothing waited for a core, one slow measurement must not decide."""
    slow = iter([5.0] * 4)

    def work() -> None:
        machine.now += next(slow, 0.01 / torch.get_num_threads())

    with sharing_cores(machine.said.append):
        active_threads().settle(work)
        assert torch.get_num_threads() == 8
    assert machine.said == []


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


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="this system does not say who waits for cores"
)
def test_two_threads_that_share_one_core_become_one():
    """In a process of its own, as in a container that is granted less than it sees."""
    code = """
import os, time
import torch
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from sycam.data import demo
from sycam.evidence import Classifier
from sycam.evidence.threads import sharing_cores
torch.set_num_threads(2)
images, targets = demo.normalise(demo.scenes("heldout", 64).images), torch.arange(64) % 10
classifier, said = Classifier(demo.network(), batch=16), []
with sharing_cores(said.append):
    started = time.monotonic()
    while torch.get_num_threads() > 1 and time.monotonic() - started < 60:
        classifier.probability(images, targets)
    assert torch.get_num_threads() == 1
assert said == ["forward passes run on 1 of 2 threads: other work keeps the cores busy"], said
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

    monkeypatch.setattr("sycam.evidence.classifier.seconds_of", lambda _, *w: [2.0, 1.0][: len(w)])
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
    assert result.record["environment"]["threads"] == 2
