"""Whole runs: the same folder however many workers there are, and whatever becomes of them."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sycam
import sycam.workers.team as team_room
import sycam.workers.worker as worker_room
from sycam.errors import NetworkError, OptionError


def test_the_result_does_not_depend_on_the_number_of_workers(searched, content, apart):
    folders = []
    for count in (1, 2, 5):
        apart._max_workers = count
        folders.append(content(searched(f"of-{count}", executor=apart)))
    assert folders[0]["result"]["certificate"]["winner"] is not None
    assert folders[0] == folders[1] == folders[2]


BEGUN = """
import multiprocessing, os, signal, time
from sycam.workers.pools import processes

if __name__ == "__main__":
    pool = processes(2)()
    tasks = [pool.submit(abs, -n) for n in range(2)]
    for _ in range(10):  # also while they import
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGINT)
        time.sleep(0.1)
    print([task.result() for task in tasks], signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


def test_ctrl_c_passes_workers_by_from_the_moment_they_begin(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(BEGUN)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[0, 1] set()\n", "")


def test_a_run_with_workers_is_verified_by_one_process(searched, pictures, apart):
    verified = sycam.verify(searched("run", executor=apart), images=pictures, trust=True)
    assert verified.holds


def test_a_run_of_one_process_goes_on_with_workers(searched, content, apart):
    before = content(searched("both", budget=8))["scores.jsonl"]
    both = content(searched("both", executor=apart))
    assert both["scores.jsonl"][: len(before)] == before
    alone = content(searched("workers", executor=apart))["result"]["certificate"]
    # Of one process, which chose another form of the network, the last digits may be others.
    assert both["result"]["certificate"]["leaders"] == alone["leaders"]
    assert both["result"]["certificate"]["winner"]["figure"] == pytest.approx(
        alone["winner"]["figure"], abs=1e-6
    )


def test_in_bfloat16_workers_measure_as_well(searched, content, apart, monkeypatch):
    given = {"precision": "bfloat16", "metric": "average-drop"}
    own = content(searched("own", **given))
    orders, submit = [], apart.submit

    def watched(function, order, attached):
        orders.append(order)
        return submit(function, order, attached)

    monkeypatch.setattr(apart, "submit", watched)
    found = []
    for count in (1, 5):
        apart._max_workers = count
        found.append(content(searched(f"of-{count}", executor=apart, **given)))
    assert found[0] == found[1]
    # The 20 search and 10 held-out images, each measured once a run.
    measured = [digest for one in orders if not one.metrics for digest in one.shard.digests]
    assert len(measured) == 2 * len(set(measured)) == 2 * 30
    theirs, ours = (
        {one["name"]: one["scores"] for line in run["scores.jsonl"][1:]
         for one in line["candidates"] if line["stage"] == 0}
        for run in (found[0], own)
    )  # fmt: skip
    shared = theirs.keys() & ours.keys()
    assert len(shared) > 16
    for name in shared:
        np.testing.assert_allclose(theirs[name], ours[name], atol=0.02)


def test_a_table_of_methods_is_the_same(factory, pictures, apart):
    given = factory, "4", pictures, ["grad-cam", "eigen-cam", "relu(G)"], ["road", "insertion"]
    ours, theirs = sycam.evaluate(*given), sycam.evaluate(*given, executor=apart)
    assert theirs.degenerate == ours.degenerate
    for cell, scores in ours.scores.items():
        np.testing.assert_allclose(theirs.scores[cell], scores, atol=1e-6)


def test_a_module_is_sent_as_it_is(pictures, apart, small_network):
    torch.manual_seed(3)
    module = nn.Sequential(*list(small_network)[:4], nn.Flatten(), nn.Linear(6 * 64, 4)).eval()
    own, sent = (
        sycam.evaluate(module, "3", pictures, ["grad-cam", "relu(G)"], ["road"], executor=executor)
        for executor in (None, apart)
    )
    for name in own.methods:
        np.testing.assert_allclose(sent.scores[name, "road"], own.scores[name, "road"], atol=1e-6)


class Unsendable(nn.Sequential):
    def __reduce__(self) -> tuple:
        raise TypeError("it holds a connection")

    def __deepcopy__(self, memo: dict) -> nn.Module:
        return nn.Sequential(*self)


def test_a_network_that_cannot_be_sent_is_refused(searched, apart):
    module = Unsendable(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    ).eval()  # fmt: skip
    with pytest.raises(OptionError, match=r"holds a connection; name the network .*FILE\.py"):
        searched("run", network=module, executor=apart)


def test_a_factory_that_makes_another_network_each_time_is_refused(tmp_path, searched, apart):
    file = tmp_path / "chance.py"
    file.write_text(
        "import os\nfrom torch import nn\nimport torch\n"
        "def make():\n"
        "    torch.manual_seed(int.from_bytes(os.urandom(4), 'big'))\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(),\n"
        "        nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))\n"
    )
    with pytest.raises(NetworkError, match="the same network each time"):
        searched("run", network=f"{file}:make", executor=apart)


def test_a_worker_computes_on_its_own_device(searched, apart, monkeypatch):
    monkeypatch.setattr(worker_room, "_device", [])
    worker_room.compute_on("cuda:99")
    with pytest.raises(OptionError, match="device 'cuda:99' cannot be used"):
        searched("run", executor=apart)


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("cpu,", "names a device between each two commas"),
        ("cpu,tpu", "'tpu' cannot be used"),
        ("cpu,cuda:99", "'cuda:99' cannot be used"),
        ("cpu,meta", "several kinds"),
    ],
)
def test_devices_that_are_not_there_are_refused(searched, device, said):
    with pytest.raises(OptionError, match=said):
        searched("run", device=device)


# --- real processes ---------------------------------------------------------------------------


@contextmanager
def killer(times: int, seed: int, journal: Path) -> Iterator[list[int]]:
    """Kills a worker at random moments, so many times, once a first score is in the journal; the
    list tells whom."""
    chance, killed, over = random.Random(seed), [], threading.Event()

    def work() -> None:
        while not over.is_set() and not (journal.exists() and journal.stat().st_size > 500):
            over.wait(0.1)
        while len(killed) < times and not over.is_set():
            over.wait(chance.uniform(0.5, 9))
            if alive := multiprocessing.active_children():
                with suppress(OSError):
                    os.kill(victim := chance.choice(alive).pid, signal.SIGKILL)
                    killed.append(victim)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
def test_processes_find_what_one_would(searched, content, apart):
    expected = content(searched("apart", executor=apart))
    for count in (1, 2, 4):
        assert content(searched(f"processes-{count}", workers=count)) == expected


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_workers_change_nothing(searched, content, apart, tmp_path):
    given = {"budget": 150, "search_images": 30}
    expected = content(searched("apart", executor=apart, **given))
    killed: list[int] = []
    for attempt in range(20):
        name = f"killed-{attempt}"
        with killer(20 - len(killed), attempt, tmp_path / name / "scores.jsonl") as some:
            found = content(searched(name, workers=2, **given))
        assert found == expected
        killed += some
        if len(killed) >= 20:
            break
    assert len(killed) >= 20


@pytest.mark.slow
def test_a_worker_that_stops_answering_is_replaced(searched, content, apart, monkeypatch):
    expected = content(searched("apart", executor=apart, budget=100))
    monkeypatch.setattr(team_room, "LATER", 1.0)
    stopped = []

    def stop() -> None:
        time.sleep(8)
        if alive := multiprocessing.active_children():
            os.kill(alive[0].pid, signal.SIGSTOP)
            stopped.append(alive[0].pid)

    thread = threading.Thread(target=stop)
    thread.start()
    found = content(searched("stopped", workers=2, budget=100))
    thread.join()
    assert found == expected


DRIVER = """
import sys, torch, sycam
if __name__ == "__main__":
    network, out, pictures = sys.argv[1:]
    sycam.synthesize(
        network, "4", torch.load(pictures), out=out, metric="road:percentiles=30+70",
        budget=100, search_images=20, heldout=10, workers=2, report=False,
    )
"""


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_and_leaves_no_worker(
    searched, content, apart, factory, pictures, tmp_path
):
    expected = content(searched("apart", executor=apart, budget=100))
    script, images, out = tmp_path / "run.py", tmp_path / "images.pt", tmp_path / "driver"
    script.write_text(DRIVER)
    torch.save(pictures, images)
    command = [sys.executable, str(script), factory, str(out), str(images)]
    driver = subprocess.Popen(command)
    journal = out / "scores.jsonl"
    while driver.poll() is None and not (journal.exists() and journal.stat().st_size > 20_000):
        time.sleep(0.05)
    children = _children(driver.pid)
    driver.kill()
    driver.wait()
    assert children
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in children):
            break
        time.sleep(0.1)
    else:
        pytest.fail(f"workers {children} outlive the run that started them")
    subprocess.run(command, check=True)
    found = content(out)
    assert found["result"]["certificate"] == expected["result"]["certificate"]
    assert found["result"]["best"] == expected["result"]["best"]


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    if not tasks.exists():
        pytest.skip("whose children processes are is told by /proc on Linux alone")
    return [int(child) for child in tasks.read_text().split()]


@pytest.mark.slow
def test_devices_share_what_one_would_do(searched, content, apart):
    expected = content(searched("apart", executor=apart))
    assert content(searched("devices", device="cpu,cpu")) == expected


# --- executors of others ------------------------------------------------------------------------


def installed(name: str, extra: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: {extra}")


@pytest.mark.slow
def test_loky(searched, content, apart):
    installed("loky", "pip install loky")
    import loky

    expected = content(searched("apart", executor=apart))
    executor = loky.get_reusable_executor(max_workers=2)
    try:
        assert content(searched("loky", executor=loky.get_reusable_executor)) == expected
    finally:
        executor.shutdown(kill_workers=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_dask(searched, content, apart, tmp_path):
    installed("distributed", "pip install 'sycam[dask]'")
    from distributed import Client, LocalCluster

    expected = content(searched("apart", executor=apart))
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path
        ) as cluster,
        Client(cluster) as client,
    ):
        found = content(searched("dask", executor=client.get_executor()))
    assert found == expected


MPI = """
import sys, torch, sycam
from mpi4py.futures import MPIPoolExecutor
if __name__ == "__main__":
    network, out, pictures = sys.argv[1:]
    with MPIPoolExecutor() as executor:
        sycam.synthesize(
            network, "4", torch.load(pictures), out=out, metric="road:percentiles=30+70",
            budget=16, search_images=20, heldout=10, report=False, executor=executor,
        )
"""


@pytest.mark.slow
def test_mpi(searched, content, apart, factory, pictures, tmp_path):
    installed("mpi4py", "pip install mpi4py, and an MPI such as mpich")
    mpiexec = shutil.which("mpiexec", path=Path(sys.executable).parent) or shutil.which("mpiexec")
    if mpiexec is None:
        pytest.skip("no mpiexec: install an MPI, such as by pip install mpich")
    expected = content(searched("apart", executor=apart))
    script, images, out = tmp_path / "run.py", tmp_path / "images.pt", tmp_path / "mpi"
    script.write_text(MPI)
    torch.save(pictures, images)
    given = [script, factory, out, images]
    subprocess.run(
        [mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", *map(str, given)], check=True
    )
    assert content(out) == expected
