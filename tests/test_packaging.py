"""What is handed over: the wheel, the source archive, the citation."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

import sycam

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TEXTS = Path("sycam/export/templates/libraries")  # for libraries that need not be installed
ELSEWHERE = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}


def run(*command: object, cwd: Path) -> str:
    """Standard output of a command that knows nothing of the source tree."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=ELSEWHERE | {"SYCAM_CACHE": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> dict[str, Path]:
    """The source archive, and the wheel that is built from it."""
    for module in ("build", "hatchling"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module}, which builds the wheel, is not installed")
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (source,) = out.glob("*.tar.gz")
    (wheel,) = out.glob("*.whl")
    return {"source": source, "wheel": wheel}


def test_the_source_archive_holds_what_the_tests_and_the_documentation_need(archives):
    with tarfile.open(archives["source"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    # What is no part of the project proper: hidden files, and what tools leave behind.
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\n")
    wanted = {name for name in tracked if name and not name.startswith(".")}
    if not wanted:
        pytest.skip("no git checkout to compare with")
    assert {name for name in wanted if (ROOT / name).exists()} - names == set()


@pytest.mark.slow
def test_the_wheel_runs_the_demo_in_an_environment_of_its_own(archives, tmp_path):
    home = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=tmp_path)
    python = home / "bin" / "python"
    site = run(python, "-c", "import sysconfig as s; print(s.get_path('purelib'))", cwd=tmp_path)
    # Heavy dependencies are borrowed. Only a plain path: an editable install is not found by it.
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    Path(site.strip(), "borrowed.pth").write_text("\n".join(borrowed), encoding="utf-8")
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
        "--no-index", "--force-reinstall", archives["wheel"], cwd=tmp_path,
    )  # fmt: skip

    where = run(python, "-c", "import sycam; print(sycam.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(home)
    assert (Path(where.strip()).parent / "py.typed").exists()
    command = home / "bin" / "sycam"
    grammars = json.loads(run(command, "grammars", "--json", "--max-cost", 2, cwd=tmp_path))
    assert {"gradient", "full"} <= {grammar["name"] for grammar in grammars}
    found = json.loads(
        run(
            command, "synthesize", "--metric", "iou", "--budget", 30, "--max-cost", 2,
            "--search-images", 8, "--heldout-images", 8, "--json", "--quiet", cwd=tmp_path,
        )
    )  # fmt: skip
    assert found["best"]["heldout"]["mean"] > 0
    assert (tmp_path / "runs").is_dir()


def test_what_is_imported_at_once_is_declared():
    """A module that an optional extra brings is imported where it is used.

    Except in the texts that are written for other libraries.
    """
    provided = importlib.metadata.packages_distributions()
    wanted = {re.split(r"[^\w.-]", text)[0].lower() for text in PROJECT["dependencies"]}
    undeclared = set()
    for path in (ROOT / "sycam").rglob("*.py"):
        if path.parent.relative_to(ROOT) == TEXTS:
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            else:
                continue
            for name in names:
                top = name.partition(".")[0]
                if top == "sycam" or top in sys.stdlib_module_names:
                    continue
                known = {found.lower() for found in provided.get(top, [top])}
                if not known & wanted:
                    undeclared.add((str(path.relative_to(ROOT)), top))
    assert undeclared == set()


def test_the_citation_is_complete_and_of_this_version():
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(said)  # required by CFF 1.2.0
    assert said["cff-version"] == "1.2.0"
    assert said["version"] == sycam.__version__ == PROJECT["version"]
    assert said["license"] == PROJECT["license"]
    for paper in said["references"]:
        assert {"type", "title", "authors"} <= set(paper)
        assert [author["family-names"] for author in paper["authors"]] == [
            "Luque-Cerpa",
            "Polgreen",
            "Rajan",
            "Torfah",
        ]
        assert paper["year"] == 2025
