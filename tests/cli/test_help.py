"""The pages of help, and what a shell learns of a command's end."""

from __future__ import annotations

import subprocess
import sys

from typer.testing import CliRunner

from sycam.cli import EXIT_CODES, app
from sycam.export import TARGETS
from sycam.export.summaries import SUMMARIES
from sycam.version import __version__

HEAVY = ("torch", "numpy", "scipy", "sympy", "matplotlib", "optuna", "sklearn")
PAGES = """
import sys
from sycam import cli
for words in {pages}:
    sys.argv = ["sycam", *words]
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code, (words, end.code)
print("loaded:", *[name for name in {heavy} if name in sys.modules])
"""


def test_help_of_no_command_imports_what_is_slow_to_import():
    commands = "recommend synthesize report explain evaluate verify export doctor metrics methods "
    commands += "grammars"
    pages = [["--help"], ["-h"], ["--version"], *([c, "--help"] for c in commands.split())]
    script = PAGES.format(pages=pages, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"
    assert f"sycam {__version__}" in done.stdout.splitlines()
    words = " ".join(done.stdout.split())
    for code, said in EXIT_CODES.items():
        assert f"{code} {said}" in words


def test_options_stand_under_headings_with_common_ones_first():
    page = CliRunner().invoke(app, ["synthesize", "--help"], env={"COLUMNS": "100"}).stdout
    firsts = {
        "What": "--metric",
        "Images": "--images",
        "Search": "--mode",
        "Output": "--out",
        "Device": "--device",
    }
    headings = [page.index(f"─ {heading} ─") for heading in firsts]
    flags = [page.index(f"│ {flag} ") for flag in firsts.values()]
    assert sorted([*headings, *flags]) == [
        place for pair in zip(headings, flags, strict=True) for place in pair
    ]
    assert page.index("│ --budget ") < page.index("│ --delta ")


def test_every_export_target_has_its_summary_and_only_those():
    assert {name: target.summary for name, target in TARGETS.items()} == SUMMARIES
    assert list(TARGETS) == list(SUMMARIES)
