"""Ray: actors that are lost, clusters that ask for a token, and signals."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch

from sycam.errors import OptionError
from sycam.workers.hiring import scoring_by
from sycam.workers.ray_cluster import RayExecutor

without_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'sycam[ray]'"
)
ACTOR = b"ray::_Actor"  # how Ray titles the processes of our actors


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Ray of this machine with two cores, whose token is not the user's."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("RAY_ADDRESS", raising=False)
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        try:
            yield
        finally:
            ray.shutdown()


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_it_is_said_how_to_have_it():
    with pytest.raises(OptionError, match=r"pip install 'sycam\[ray\]'"), scoring_by("ray"):
        pass


@without_ray
@pytest.mark.slow
def test_an_actor_that_is_lost_is_followed_by_another(ray):
    executor = RayExecutor()
    try:
        first = {executor.submit(os.getpid).result(60) for _ in range(8)}
        lost = [executor.submit(os._exit, 1) for _ in range(2)]
        assert all("Actor" in type(one.exception(60)).__name__ for one in lost)
        then = {executor.submit(os.getpid).result(60) for _ in range(8)}
        assert not first & then
        # What the function raises is no loss of the actor.
        assert isinstance(executor.submit(int, "x").exception(60), ValueError)
    finally:
        executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(os.getpid)


@without_ray
@pytest.mark.slow
def test_a_cluster_without_gpus_is_refused_where_the_run_has_one(ray):
    with pytest.raises(OptionError, match="cluster has no GPU"):
        RayExecutor(gpus=True)


@without_ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_actors_find_what_one_process_would_though_some_are_killed(ray, searched, content, apart):
    given = {"budget": 60}
    expected = content(searched("apart", executor=apart, **given))
    killed, over = [], threading.Event()

    def kill() -> None:
        while len(killed) < 2 and not over.wait(4.0):
            for pid in _actors()[:1]:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        assert content(searched("killed", workers="ray", **given)) == expected
    finally:
        over.set()
        thread.join()
    assert killed
    for _ in range(100):
        if not _actors():
            break
        time.sleep(0.1)
    assert not _actors(), "actors outlive the run"


DRIVER = """
import signal, sys, torch, sycam
if __name__ == "__main__":
    network, out, pictures = sys.argv[1:]
    sycam.synthesize(
        network, "4", torch.load(pictures), out=out, metric="road:percentiles=30+70",
        budget=60, search_images=20, heldout=10, workers="ray", report=False,
    )
"""


@without_ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_cluster_is_joined_by_its_address_and_token(
    searched, content, apart, factory, pictures, tmp_path
):
    expected = content(searched("apart", executor=apart, budget=60))
    script, images, out = tmp_path / "run.py", tmp_path / "images.pt", tmp_path / "run"
    script.write_text(DRIVER)
    torch.save(pictures, images)
    command = [sys.executable, str(script), factory, str(out), str(images)]
    with _cluster(tmp_path) as here:
        stranger = here | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
        refused = subprocess.run(command, env=stranger, capture_output=True, text=True, timeout=300)
        assert refused.returncode != 0
        assert "OptionError: Ray cannot be had" in refused.stderr
        assert not (out / "scores.jsonl").exists()

        # SIGTERM, by which Slurm, Kubernetes and docker end a process, is an exit in order.
        driver = subprocess.Popen(command, env=here)
        journal = out / "scores.jsonl"
        while driver.poll() is None and not (journal.exists() and journal.stat().st_size > 8_000):
            time.sleep(0.05)
        driver.send_signal(signal.SIGTERM)
        assert driver.wait(60) == signal.SIGTERM
        for _ in range(100):
            if not _actors():
                break
            time.sleep(0.1)
        else:
            pytest.fail("actors outlive the run that asked for them")

        subprocess.run(command, env=here, check=True, timeout=300)
    found = content(out)["result"]
    assert found["certificate"] == expected["result"]["certificate"]
    assert found["best"] == expected["result"]["best"]


@without_ray
@pytest.mark.slow
def test_a_handler_of_sigterm_that_was_there_stays(tmp_path):
    script = tmp_path / "own.py"
    script.write_text(
        "import signal\nfrom sycam.workers.ray_cluster import RayExecutor\n"
        "got = []\n"
        "def mine(*_): got.append(1)\n"
        "signal.signal(signal.SIGTERM, mine)\n"
        "RayExecutor(workers=1).shutdown()\n"
        "signal.raise_signal(signal.SIGTERM)\n"
        "assert got == [1]\n"
    )
    env = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    with tempfile.TemporaryDirectory(prefix="ray") as place:
        env |= {"HOME": str(tmp_path), "RAY_TMPDIR": place}
        subprocess.run([sys.executable, str(script)], env=env, check=True, timeout=300)


@contextmanager
def _cluster(folder: Path) -> Iterator[dict[str, str]]:
    """A cluster of one node that asks for a token; the environment of who knows it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {
        "HOME": str(folder),
        # What a cluster that has ended leaves there, others would try to join. A short path.
        "RAY_TMPDIR": tempfile.mkdtemp(prefix="ray"),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ADDRESS": f"127.0.0.1:{port}",
    }
    told = folder / "head.txt"
    with told.open("w") as out:
        head = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block",
             f"--port={port}", "--num-cpus=2", "--include-dashboard=false"],
            env={k: v for k, v in env.items() if k != "RAY_ADDRESS"}, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        while "Ray runtime started" not in told.read_text():
            assert head.poll() is None, told.read_text()
            time.sleep(0.2)
        yield env
    finally:
        head.terminate()
        try:
            head.wait(60)
        except subprocess.TimeoutExpired:
            head.kill()
        shutil.rmtree(env["RAY_TMPDIR"], ignore_errors=True)


def _actors() -> list[int]:
    """Processes of actors on this machine; told by /proc on Linux alone."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if file.read_bytes().startswith(ACTOR):
                found.append(int(file.parent.name))
    return found
