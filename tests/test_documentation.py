"""The examples in the documentation run, and print what they say."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest
import typer

from sycam import cli
from sycam.cli import reference
from sycam.grammar import grammar_names, load_grammar
from sycam.language import OPERATORS
from sycam.methods import METHODS
from sycam.metrics import METRICS, find_metric
from sycam.report.listings import grammars, methods, metrics, zoo
from sycam.testing import isolated_metrics, isolated_operators

DOCS = Path(__file__).resolve().parents[1] / "docs"
README = DOCS.parent / "README.md"
LANGUAGE = DOCS / "language.md"
PAGES = sorted(DOCS.glob("*.md"))
EXAMPLES = [page for page in PAGES if "\n>>> " in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
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
    with isolated_operators(), isolated_metrics():
        assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples).failed == 0


def test_most_pages_have_examples():
    assert {"language", "custom_metrics", "concepts", "troubleshooting", "choosing_a_metric"} <= {
        page.stem for page in EXAMPLES
    }


@pytest.mark.timeout(600)  # 100 s of CPU
def test_the_commands_of_the_first_five_minutes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "start.md").read_text(encoding="utf-8")
    commands = [line for block in _fenced(text, "console") for line in block.splitlines()]
    assert len(commands) == 6
    for command in commands:
        monkeypatch.setattr("sys.argv", shlex.split(command))
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code, capsys.readouterr()
    assert "class IouCAM" in (tmp_path / "iou_cam.py").read_text(encoding="utf-8")
    assert len(list((tmp_path / "runs/first/explanations").glob("*.png"))) == 6


def _fenced(text: str, language: str = r"\w*") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _command_lines(text: str) -> list[str]:
    """Lines of fenced blocks that begin with the command, continued lines joined."""
    blocks = (block.replace("\\\n", " ") for block in _fenced(text))
    lines = (
        line.strip().removeprefix(".venv/bin/") for block in blocks for line in block.split("\n")
    )
    return [part.strip() for line in lines for part in line.split(";") if part[:6] == "sycam "]


@pytest.mark.parametrize("page", [*PAGES, README], ids=lambda page: page.name)
def test_command_lines_are_understood(page):
    """By the commands themselves, which are not run: their files need not exist."""
    root = typer.main.get_command(cli.app)
    for line in _command_lines(page.read_text(encoding="utf-8")):
        _, *words = shlex.split(line, comments=True)
        command = root
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        try:
            context = command.make_context("sycam", words, resilient_parsing=True)
        except Exception as error:
            pytest.fail(f"{page.name}: {line}: {error}")
        assert getattr(command, "commands", None) is None or not context.args, line


@pytest.mark.parametrize("page", [*PAGES, README], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    text = re.sub(r"(?<!\[)`[^`\n]+`(?!\])", "", text)  # code, but not as the text of a link
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        found = (page.parent / file) if file else page
        assert found.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}
            assert anchor in anchors, target


def test_the_readme_fits_on_a_page_and_shows_a_picture():
    text = README.read_text(encoding="utf-8")
    assert len(text.split()) <= 700
    pictures = re.findall(
        r"!\[[^\]]{20,}\]\(([^)]+\.png)\)", text
    )  # with words for those who see none
    assert pictures
    assert all((README.parent / name).stat().st_size < 300_000 for name in pictures)
    assert {"make demo", "make test"} <= {
        line.partition("#")[0].strip() for block in _fenced(text) for line in block.splitlines()
    }


def test_the_index_has_every_page():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert {page.name for page in PAGES} - {"README.md"} <= set(re.findall(r"\((\w+\.md)\)", index))
    notebooks = {path.name for path in DOCS.parent.glob("notebooks/*.ipynb")}
    assert notebooks == set(re.findall(r"notebooks/(\w+\.ipynb)\)", index))


def test_every_trap_is_on_the_page_that_helps_to_choose():
    text = (DOCS / "choosing_a_metric.md").read_text(encoding="utf-8")
    named = set(re.findall(r"metrics\.md#([\w-]+)\)", text))
    kinds = (find_metric(name) for name, kind in METRICS.items() if kind.family != "custom")
    assert {kind.name for kind in kinds if kind.traps} - named == set()


def test_the_page_on_commands_is_the_one_that_is_generated():
    committed = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert committed == reference.page(), "python -m sycam.cli.reference > docs/commands.md"


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
        assert row == "all formulas of its leaves" or set(row.split(", ")) == held


def test_the_page_on_metrics_is_the_one_that_is_generated():
    ours = [find_metric(name) for name, kind in METRICS.items() if kind.family != "custom"]
    committed = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert committed == metrics.page(ours), (
        "python -m sycam.report.listings.metrics > docs/metrics.md"
    )


def test_the_page_on_methods_is_the_one_that_is_generated():
    committed = (DOCS / "methods.md").read_text(encoding="utf-8")
    assert committed == methods.page(METHODS.values()), (
        "python -m sycam.report.listings.methods > docs/methods.md"
    )


def test_the_page_on_the_zoo_is_the_one_that_is_generated():
    committed = (DOCS / "zoo.md").read_text(encoding="utf-8")
    assert committed == zoo.page(), "python -m sycam.report.listings.zoo > docs/zoo.md"


def test_examples_of_the_tables_of_grammars():
    assert doctest.testmod(grammars).failed == 0
