"""How the package's C files become libraries: for the wheel, and on a machine with a compiler.

The build hook loads this file alone, where neither torch nor the package is installed.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

# No -ffast-math: linking with it would change the whole process's floating-point mode.
_FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros",
          "-fassociative-math", "-fPIC")  # fmt: skip
# A second or two of work. On a machine that many share it may be late, but a process that gave up
# would compute by other code than the rest of a run, and other last digits.
PATIENCE = 600  # seconds
# gcc avoids the widest vectors unless asked.
_WIDEST = "-mprefer-vector-width=512"

HERE = (("-march=native", "-fopenmp", _WIDEST), ("-march=native", "-fopenmp"), ("-march=native",))
"""Options for this machine's processor, of which the first that the compiler knows are taken."""

BASELINE = "baseline"
LEVELS = {"x86-64-v4": ("-march=x86-64-v4", _WIDEST), "x86-64-v3": ("-march=x86-64-v3",),
          BASELINE: ()}  # fmt: skip
"""Options for each level of processors that the wheel has libraries for, the best first."""


def levels() -> list[str]:
    """The levels that this kind of processor knows."""
    return list(LEVELS) if platform.machine().lower() in ("x86_64", "amd64") else [BASELINE]


def library_name(name: str, macros: Sequence[str], level: str) -> str:
    """The file of the wheel that a C file became with macros ``NAME=VALUE`` at a level."""
    return "-".join([name, *(macro.partition("=")[2] for macro in macros), level]) + ".so"


def compiled(
    source: Path,
    library: Path,
    macros: Sequence[str],
    compilers: Sequence[str],
    choices: Sequence[Sequence[str]],
    link_openmp: bool = True,
) -> Iterator[Path]:
    """The library, once for each compiler and choice of options that makes it.

    Args:
        source: the C file.
        library: to be written.
        macros: ``NAME=VALUE``.
        compilers: names of programs; those that are not there are passed over.
        choices: of options.
        link_openmp: whether the library names the compiler's OpenMP as what it needs. Without it,
            what is loaded when the library is must bring OpenMP's functions, as torch does.
    """
    compiling = [*_FLAGS, *(f"-D{macro}" for macro in macros)]
    made = library.with_suffix(".o")
    for compiler, options in product(filter(None, map(shutil.which, compilers)), choices):
        linking = options if link_openmp else ()
        commands: tuple[list[str | Path], ...] = (
            [compiler, *compiling, *options, "-c", source, "-o", made],
            [compiler, *linking, "-shared", made, "-o", library, "-lm"],
        )
        try:
            for command in commands:
                subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
        except (OSError, subprocess.SubprocessError):
            continue
        yield library
