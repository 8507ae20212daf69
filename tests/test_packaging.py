"""What is handed over: the wheel, the source archive, the citation."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
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


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Standard output of a command that knows nothing of the source tree."""
    ours = ("PYTHON", "VIRTUAL_ENV")
    elsewhere = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=elsewhere | {"SYCAM_CACHE": "off"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def needs_the_builder() -> None:
    """Skips where the wheel cannot be built."""
    for module in ("build", "hatchling"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module}, which builds the wheel, is not installed")


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> dict[str, Path]:
    """The source archive, and the wheel that is built from it."""
    needs_the_builder()
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


def environment_with(wheel: Path, home: Path) -> Path:
    """The Python of an environment of its own, with heavy dependencies borrowed from this one."""
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home.parent)
    python = home / "bin" / "python"
    site = run(python, "-c", "import sysconfig as s; print(s.get_path('purelib'))", cwd=home)
    # Only a plain path: an editable install is not found by it.
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    Path(site.strip(), "borrowed.pth").write_text("\n".join(borrowed), encoding="utf-8")
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
        "--no-index", "--force-reinstall", wheel, cwd=home,
    )  # fmt: skip
    return python


@pytest.fixture(scope="module")
def installed(archives, tmp_path_factory) -> Path:
    """The Python of an environment with the wheel."""
    return environment_with(archives["wheel"], tmp_path_factory.mktemp("home") / "venv")


def test_the_wheel_runs_the_demo_in_an_environment_of_its_own(installed, tmp_path):
    where = run(installed, "-c", "import sycam; print(sycam.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parents[1])
    assert (Path(where.strip()).parent / "py.typed").exists()
    command = installed.with_name("sycam")
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


HELPERS = """
import json
import torch
from sycam.inference.winograd import convolution_library
from sycam.metrics.imputation.c_engine import imputation_library, native_available
from sycam.metrics.imputation.impute import impute
from sycam.metrics.removal.pixel_ranks import ranks_library

kinds = torch.float32, torch.float64
libraries = [ranks_library(), convolution_library()]
libraries += [imputation_library(kind, n) for kind in kinds for n in (1, 3)]
origins = [library and library.origin for library in libraries]
torch.manual_seed(0)
off, served = 0, 0
for kind in kinds:
    for colours in (1, 2, 3, 4, 5):
        images, removed = torch.rand(3, colours, 32, 32).to(kind), torch.rand(3, 32, 32) < 0.5
        gap = impute(images, removed, native=True) - impute(images, removed)
        off = max(off, float(gap.abs().max()))
        served += native_available(images.shape[1:], kind)
print(json.dumps([origins, served, off]))
"""


def helpers(python: Path, folder: Path, **environment: str) -> tuple[set[str | None], int, float]:
    """Without a compiler on the path: where the C helpers come from, of how many of ten kinds of
    images the compiled imputer takes care, and how far it is from torch's."""
    environment |= {"PATH": str(folder)}
    origins, *rest = json.loads(run(python, "-c", HELPERS, cwd=folder, **environment))
    return set(origins), *rest


@pytest.mark.skipif(
    sys.platform == "linux" and shutil.which("gcc") is None, reason="no C compiler here"
)
@pytest.mark.parametrize("capability", ["default", ""])
def test_the_wheel_brings_every_c_helper_for_machines_without_a_compiler(
    archives, installed, tmp_path, capability
):
    """For the oldest processors, and for this one."""
    tag = archives["wheel"].stem.split("-", 2)[2]
    assert tag.startswith("py3-none-")
    assert tag != "py3-none-any"
    lowered = {"ATEN_CPU_CAPABILITY": capability} if capability else {}
    (origin,), served, off = helpers(installed, tmp_path, **lowered)
    assert origin.startswith("shipped")
    assert origin.endswith("baseline") or not capability
    assert served == 10
    assert 0 < off <= 2e-2  # each engine's tolerance is the half


def test_a_wheel_without_c_helpers_leaves_the_work_to_torch(tmp_path):
    needs_the_builder()
    run(
        sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, ROOT,
        cwd=tmp_path, SYCAM_NO_C="1",
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*-py3-none-any.whl")
    assert helpers(environment_with(wheel, tmp_path / "venv"), tmp_path) == ({None}, 0, 0)


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
