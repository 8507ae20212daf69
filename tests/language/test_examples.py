"""The examples in docstrings run, and say what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

from sycam.testing import isolated_operators

ROOMS = ("language", "kernels", "evidence", "methods", "testing")
MODULES = [
    module.name
    for room in ROOMS
    for module in pkgutil.iter_modules(
        importlib.import_module(f"sycam.{room}").__path__, f"sycam.{room}."
    )
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    with isolated_operators():  # an example may declare some
        assert doctest.testmod(importlib.import_module(name)).failed == 0
