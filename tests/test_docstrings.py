"""The examples in docstrings run, and say what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import sycam
from sycam.testing import isolated_operators

ELSEWHERE = (
    "sycam.export.templates",
    "sycam.cli",
)  # texts for other libraries, and a program's start
MODULES = [
    module.name
    for module in pkgutil.walk_packages(sycam.__path__, "sycam.")
    if not module.name.startswith(ELSEWHERE)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    with isolated_operators():  # an example may declare some
        assert doctest.testmod(importlib.import_module(name)).failed == 0
