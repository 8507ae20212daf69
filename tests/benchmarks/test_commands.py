"""The commands that README, documentation and results name are understood by what they name."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "RESULTS.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
PAGES = [page for page in PAGES if page.exists()]
PLACEHOLDERS = {"NAME": "demo", "DIR": "folder"}


def commands(text: str) -> Iterator[str]:
    """``python ...`` in code spans and on lines of fenced blocks, on one line each."""
    fence = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    for block in fence.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            yield line.strip().removeprefix(".venv/bin/")
    for span in re.findall(r"`([^`]+)`", fence.sub("", text)):
        yield " ".join(span.split())


def alternatives(words: list[str]) -> Iterator[list[str]]:
    """The commands that one with ``demo|busi`` in it stands for."""
    for chosen in itertools.product(*(word.split("|") for word in words)):
        yield [PLACEHOLDERS.get(word, word) for word in chosen]


NAMED = {
    command: page
    for page in PAGES
    for command in commands(page.read_text(encoding="utf-8"))
    if command.startswith("python ")
}
OF_BENCHMARKS = [command for command in NAMED if command.startswith("python benchmarks/")]
OF_MODULES = [command for command in NAMED if command.startswith("python -m ")]


def test_pages_name_commands():
    """Otherwise the tests below would pass on nothing."""
    assert len(OF_BENCHMARKS) >= 20
    assert "python benchmarks/kernels.py calls --batches 1 32" in OF_BENCHMARKS  # over two lines
    assert "python -m sycam.cli.reference" in OF_MODULES


@pytest.mark.parametrize("command", OF_BENCHMARKS)
def test_options_of_a_benchmark_are_understood(command, benchmark_file):
    _, file, *words = shlex.split(command)
    assert (ROOT / file).exists(), f"{NAMED[command]} names {file}"
    module = benchmark_file(Path(file).stem)
    for given in alternatives(words):
        options = module.make_parser().parse_args(given)
        known = {*getattr(module, "SETTINGS", ()), *getattr(module, "PARTS", ())}
        assert set(getattr(options, "names", ())) <= known


@pytest.mark.parametrize("command", OF_MODULES)
def test_a_module_that_is_run_exists(command):
    _, _, name, *_ = shlex.split(command)
    assert importlib.util.find_spec(name), f"{NAMED[command]} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_of_benchmarks_that_a_page_names_exist(page):
    named = re.findall(r"(?<![\w/])benchmarks/[\w/]+\.\w+", page.read_text(encoding="utf-8"))
    assert {name for name in named if not (ROOT / name).exists()} == set()
