"""What tests of workers share: executors that misbehave, and a small question."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

import sycam

FACTORY = """
import torch
from torch import nn

def make():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4),
    ).eval()
"""


def _copied(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301


class Apart:
    """Carries orders out at once, with copies of what is sent, as another process would have."""

    _max_workers = 2

    def __init__(self) -> None:
        self.submitted = 0

    def submit(self, function: Callable, *arguments: Any) -> Future:
        self.submitted += 1
        future: Future = Future()
        try:
            sent, given = _copied((function, arguments))
            future.set_result(_copied(sent(*given)))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def apart() -> Apart:
    return Apart()


@pytest.fixture
def factory(tmp_path: Path) -> str:
    """A network in a user's file."""
    file = tmp_path / "nets.py"
    file.write_text(FACTORY)
    return f"{file}:make"


@pytest.fixture(scope="session")
def pictures() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(40, 3, 16, 16, generator=generator)


@pytest.fixture
def searched(
    factory: str, pictures: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Searches with few candidates; the run's folder."""
    monkeypatch.setenv("SYCAM_CACHE", str(tmp_path / "cache"))

    images = pictures

    def search(
        name: str, network: Any = None, layer: str = "4", pictures: Any = images, **options: Any
    ) -> Path:
        given = {
            "metric": "road:percentiles=30+70", "budget": 16, "search_images": 20, "heldout": 10,
        }  # fmt: skip
        sycam.synthesize(
            network or factory, layer, pictures, out=tmp_path / name, report=False,
            **(given | options),
        )  # fmt: skip
        return tmp_path / name

    return search


@pytest.fixture(scope="session")
def content() -> Callable[[Path], dict[str, Any]]:
    """All that a run's folder says, but when it was made and how long that took."""
    return _content


def _content(folder: Path) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for file in sorted(folder.glob("*.jsonl")):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        said[file.name] = [
            {k: v for k, v in e.items() if k not in ("time", "check")} for e in lines
        ]
    result = json.loads((folder / "result.json").read_text())
    del result["created"], result["digest"], result["search"]["seconds"]
    return said | {"result": result}
