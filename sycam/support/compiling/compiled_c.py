"""C files of the package as libraries: those of the wheel, or compiled when they are first used."""

from __future__ import annotations

import ctypes
import functools
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

import torch

from sycam.support.compiling.c_compiler import BASELINE, HERE, compiled, levels, library_name

COMPILERS = ("cc", "gcc", "clang")
# What torch calls a processor; each that has these vectors has the rest of the level, too.
_CAPABILITIES = {"AVX512": "x86-64-v4", "AVX2": "x86-64-v3"}


class CLibrary(ctypes.CDLL):
    """The functions of a C file.

    Attributes:
        origin: where the library comes from, in words.
    """

    def __init__(self, path: Path, origin: str):
        super().__init__(str(path))
        self.origin = origin


@functools.cache
def c_library(package: str, name: str, *defined: str) -> CLibrary | None:
    """The functions of a C file, or None where none came with the package and no compiler makes
    a library of it.

    Args:
        package: that holds the file.
        name: of the file, without its ending.
        defined: macros, ``NAME=VALUE``.
    """
    return _shipped(package, name, defined) or _compiled_here(package, name, defined)


def _shipped(package: str, name: str, defined: tuple[str, ...]) -> CLibrary | None:
    """The library of the wheel for the best level that this processor has."""
    best = _CAPABILITIES.get(torch.backends.cpu.get_cpu_capability(), BASELINE)
    known = levels()
    for level in known[known.index(best) :]:
        try:
            with as_file(files(package).joinpath(library_name(name, defined, level))) as path:
                return CLibrary(path, f"shipped, for {level}")
        except OSError:  # a checkout, a pure wheel, or a library that does not fit this system
            continue
    return None


def _compiled_here(package: str, name: str, defined: tuple[str, ...]) -> CLibrary | None:
    """A library for this processor.

    It lives in a temporary folder only while it is loaded: nothing is cached on disk that another
    process could exchange. OpenMP finds the pool of threads that torch uses, so that no two pools
    wait actively on the same cores.
    """
    text = files(package).joinpath(f"{name}.c").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source, library = Path(folder, f"{name}.c"), Path(folder, f"{name}.so")
        source.write_text(text, encoding="utf-8")
        for path in compiled(source, library, defined, COMPILERS, HERE):
            try:
                return CLibrary(path, "compiled here")
            except OSError:
                continue
    return None
