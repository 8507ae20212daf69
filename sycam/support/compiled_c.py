"""C files of the package, compiled and loaded when they are first used."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from importlib.resources import files
from itertools import product
from pathlib import Path

# No -ffast-math: linking with it would change the whole process's floating-point mode.
_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros",
          "-fassociative-math", "-shared", "-fPIC")  # fmt: skip
# The first that the compiler knows: gcc avoids the widest vectors unless asked; OpenMP finds the
# pool of threads that torch uses, so that no two pools wait actively on the same cores.
_TUNING = (("-fopenmp", "-mprefer-vector-width=512"), ("-fopenmp",), ())
_COMPILERS = ("cc", "gcc", "clang")


@functools.cache
def c_library(package: str, name: str, *defined: str) -> ctypes.CDLL | None:
    """The functions of a C file, or None where no compiler makes a library of it.

    The library lives in a temporary folder only while it is loaded: nothing is cached on disk
    that another process could exchange.

    Args:
        package: that holds the file.
        name: of the file, without its ending.
        defined: macros, ``NAME=VALUE``.
    """
    text = files(package).joinpath(f"{name}.c").read_text(encoding="utf-8")
    macros = [f"-D{macro}" for macro in defined]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source, library = Path(folder, f"{name}.c"), Path(folder, f"{name}.so")
        source.write_text(text, encoding="utf-8")
        for compiler, tuning in product(filter(None, map(shutil.which, _COMPILERS)), _TUNING):
            command = [compiler, *_FLAGS, *tuning, *macros, str(source), "-o", str(library), "-lm"]
            try:
                subprocess.run(command, check=True, capture_output=True, timeout=60)
                return ctypes.CDLL(str(library))
            except (OSError, subprocess.SubprocessError):
                continue
    return None
