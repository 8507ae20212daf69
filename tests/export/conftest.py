"""Exported modules, written to a file and imported."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from types import ModuleType

import pytest

from sycam.export import TARGETS
from sycam.language import parse


@pytest.fixture
def module_of(tmp_path) -> Callable[..., ModuleType]:
    """``module_of(text, base, name, layer, reshape)``: the exported module of a formula."""
    number = itertools.count()

    def write_and_import(
        text: str,
        base: str = "torch",
        name: str = "SomeCAM",
        layer: str = "3",
        reshape: str | None = None,
    ) -> ModuleType:
        path = tmp_path / f"some_cam{next(number)}.py"
        said = "Found on Friday."
        path.write_text(TARGETS[base].source(parse(text), name, said, layer, reshape))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return write_and_import
