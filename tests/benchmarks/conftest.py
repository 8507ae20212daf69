"""Benchmarks as modules: they lie outside the package and import each other by name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark_file() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a file of benchmarks/ by name; afterwards nothing of that folder is left imported."""
    before, paths = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path[:] = paths  # some of them look for tests/torchvision_ops.py
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).parent == FOLDER:
            del sys.modules[name]
