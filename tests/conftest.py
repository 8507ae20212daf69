"""What tests of several rooms share."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn
from typer.testing import CliRunner, Result

# The same examples every time, so that a change is what makes a test fail; a wider search with
# HYPOTHESIS_PROFILE=explore. No example has a time limit: other work on the machine is no fault.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / os.environ.get("SYCAM_DATA", "../shared/data")


NETWORK = """
import torch
from torch import nn

def make():
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 5),
    )
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def load_file(path: Path) -> ModuleType:
    """A Python file as a module, whatever the import path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tensors in tests are small: more threads only wait for each other where cores are shared.

    Commands that a test starts in a process of their own take it from the environment.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
        yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def no_pictures_from_python():
    """``sycam.synthesize`` draws nothing, which takes longer than most searches of tests."""
    with pytest.MonkeyPatch.context() as patch:
        synthesis = importlib.import_module("sycam.jobs.synthesis")
        patch.setattr(synthesis, "keep_pictures", lambda *_: None)
        yield


@pytest.fixture(scope="session")
def grad_cam() -> ModuleType:
    """The grad-cam package (pytorch_grad_cam), or a skip where it is not installed."""
    if importlib.util.find_spec("pytorch_grad_cam") is None:
        pytest.skip("the grad-cam package, the reference, is not installed: pip install grad-cam")
    load_file(ROOT / "tests" / "torchvision_ops.py").import_torchvision()
    return importlib.import_module("pytorch_grad_cam")


@pytest.fixture(scope="session")
def torchvision() -> ModuleType:
    """torchvision, or a skip where it is not installed."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed: pip install 'sycam[networks]'")
    load_file(ROOT / "tests" / "torchvision_ops.py").import_torchvision()
    return importlib.import_module("torchvision")


@pytest.fixture(scope="session")
def timm(torchvision) -> ModuleType:
    """timm, or a skip where it is not installed."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed: pip install 'sycam[networks]'")
    return importlib.import_module("timm")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real networks and images, or a skip where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"no real networks and images at {DATA}; set SYCAM_DATA")
    return DATA


@pytest.fixture(scope="session")
def cifar10() -> ModuleType:
    """benchmarks/networks/cifar10.py, which defines the real networks and loads their weights."""
    return load_file(ROOT / "benchmarks" / "networks" / "cifar10.py")


@pytest.fixture
def small_network() -> nn.Module:
    """Two convolutions and a fully connected head, so that gradients vary over places.

    ``[N,3,16,16]`` to ``[N,5]``; layer ``"3"`` is ``[N,6,8,8]``, after its ReLU.
    """
    torch.manual_seed(7)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 64, 24),
        nn.Tanh(),
        nn.Linear(24, 5),
    ).eval()


@pytest.fixture
def small_images() -> Tensor:
    """``[7,3,16,16]`` in [0, 1]."""
    return torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def draw_nothing(patch: pytest.MonkeyPatch) -> None:
    """Let ``sycam synthesize`` write no picture, which takes longer than a small search."""
    patch.setattr("sycam.report.keeping.keep_pictures", lambda *_: None)


@pytest.fixture
def no_pictures(monkeypatch) -> None:
    """``sycam synthesize`` writes no pictures."""
    draw_nothing(monkeypatch)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> Callable[..., Result]:
    """``small_run(out, *more, pictures=True)``: ``sycam synthesize`` on a very small network.

    It takes less than a second without the pictures. The same arguments go on with the run. The
    network's file lies outside of the run's folder.
    """
    from sycam.cli import app

    home = tmp_path_factory.mktemp("small")
    network, images = home / "net.py", home / "set.npz"
    network.write_text(NETWORK)
    pixels = np.random.default_rng(3).integers(0, 256, (8, 16, 16, 3), np.uint8)
    np.savez(images, images=pixels)
    arguments = [
        "synthesize", "--network", f"{network}:make", "--layer", "3", "--images", str(images),
        "--mean", "0", "--std", "1", "--metric", "average-drop", "--budget", "20",
        "--max-cost", "2", "--search-images", "4", "--heldout-images", "4", "--mode", "exact",
    ]  # fmt: skip

    def run(out: Path, *more: str, pictures: bool = True) -> Result:
        with pytest.MonkeyPatch.context() as patch:
            if not pictures:
                draw_nothing(patch)
            return CliRunner().invoke(app, [*arguments, "--out", str(out), *more])

    return run
