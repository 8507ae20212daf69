"""Compiles the C files into the wheel, for machines without a compiler.

One library for each level of processors, of which the best is chosen when it is loaded. The wheel
is pure Python where there is no compiler that makes all of them, or ``SYCAM_NO_C`` is set.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from runpy import run_path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

# On Linux only gcc: OpenMP's functions are those that torch brings, which are gcc's.
COMPILERS = {"linux": (("gcc",), ("-fopenmp",)), "darwin": (("cc", "clang"), ())}


class CLibraries(BuildHookInterface):
    """Adds the libraries of the table ``c-files`` in pyproject.toml, and the platform's tag."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless the installation is an editable one, which compiles at first use."""
        if version == "editable" or os.environ.get("SYCAM_NO_C") or sys.platform not in COMPILERS:
            return
        self._folder = TemporaryDirectory()
        shipped = self._compile(Path(self._folder.name))
        if shipped is None:
            self.app.display_warning("No C compiler made the libraries: the wheel is pure Python")
            return
        platform = next(tag for tag in platform_tags() if "many" not in tag and "musl" not in tag)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
        build_data["force_include"] |= shipped

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled: it is in the wheel."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()

    def _compile(self, folder: Path) -> dict[str, str] | None:
        """Each library and its place in the wheel, or None if one could not be made."""
        c = run_path(str(Path(self.root, "sycam", "support", "compiling", "c_compiler.py")))
        compilers, openmp = COMPILERS[sys.platform]

        def library(source: Path, macros: list[str], level: str) -> tuple[str, str] | None:
            name = c["library_name"](source.stem, macros, level)
            made = c["compiled"](
                Path(self.root, source), folder / name, macros, compilers,
                [(*c["LEVELS"][level], *openmp)], link_openmp=False,
            )  # fmt: skip
            path = next(made, None)
            return path and (str(path), (source.parent / name).as_posix())

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = [
                pool.submit(library, Path(file), macros, level)
                for file, variants in self.config["c-files"].items()
                for macros in variants
                for level in c["levels"]()
            ]
        done = [future.result() for future in found]
        return dict(done) if all(done) else None
