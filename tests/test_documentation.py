"""The examples in the documentation run, and print what they say."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from sycam.language import OPERATORS, grammar_names, load_grammar
from sycam.metrics import METRICS, find_metric
from sycam.report import grammars, metrics
from sycam.testing import isolated_metrics, isolated_operators

DOCS = Path(__file__).resolve().parents[1] / "docs"
LANGUAGE = DOCS / "language.md"
CUSTOM_METRICS = DOCS / "custom_metrics.md"
ADAPTERS = DOCS / "adapters.md"


@pytest.mark.parametrize("page", [LANGUAGE, CUSTOM_METRICS, ADAPTERS], ids=lambda page: page.name)
def test_examples_of_a_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    text = page.read_text(encoding="utf-8")
    for file, program in re.findall(r"Save this as\s`(\w+\.\w+)`:\n\n```\w*\n(.+?)^```$", text,
                                    re.MULTILINE | re.DOTALL):  # fmt: skip
        Path(file).write_text(program, encoding="utf-8")
    # A fence would be taken for output, were it not for the blank line.
    text = re.sub(r"^```.*$", "", text, flags=re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    assert len(examples.examples) >= 9
    with isolated_operators(), isolated_metrics():
        assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples).failed == 0


def test_the_page_on_the_language_names_all_of_it():
    text = LANGUAGE.read_text(encoding="utf-8")
    words = set(re.findall(r"[\w.]+", " ".join(re.findall(r"`([^`\n]+)`", text))))
    signs = {"add", "sub", "mul", "div"}  # written + - * /
    names = {op.symbol if op.is_leaf else op.name for op in OPERATORS.values()} - signs
    assert names - words == set()
    for name in grammar_names():
        row = re.search(rf"^\| `{name}` \|[^|]*\|([^|]*)\|$", text, re.MULTILINE)[1].strip()
        own = load_grammar(name).text
        comment = re.search(r"// Published CAMs: ([^.]+)\.", own[own.index(f"// {name}:") :])[1]
        held = set(comment.replace("\n//", "").split(", "))
        assert row == "all that are formulas" or set(row.split(", ")) == held


def test_the_page_on_metrics_is_the_one_that_is_generated():
    ours = [find_metric(name) for name, kind in METRICS.items() if kind.family != "custom"]
    committed = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert committed == metrics.page(ours), "python -m sycam.report.metrics > docs/metrics.md"


def test_examples_of_the_tables_of_grammars():
    assert doctest.testmod(grammars).failed == 0
