"""A network with what is known of it: where it came from, its preprocessing, its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from sycam.data.preprocessing import Preprocessing
from sycam.errors import DataError, OptionError
from sycam.support.files import TEXT, read_text

WORD = "random"
"""After ``@``: the architecture with random weights, always the same; for trying things out."""


@dataclass(frozen=True)
class NamedNetwork:
    """A network that a text named.

    Attributes:
        module: the network, in evaluation mode.
        name: short, for people and folder names.
        source: the text that names it, weights included; loads the same again. None for a module
            that was given as such.
        weights: what its weights are, in words.
        preprocessing: what it expects of pictures; None where nothing says so.
        class_names: of all its classes, in order; None where nothing says so.
        classes: how many it has; None where nothing says so.
        checkpoint: the file of its weights and that file's SHA-256, or None.
        notes: what was done to it that its user should know.
    """

    module: nn.Module
    name: str
    source: str | None
    weights: str = ""
    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] | None = None
    classes: int | None = None
    checkpoint: tuple[Path, str] | None = None
    notes: tuple[str, ...] = ()

    def with_class_names(self, names: Sequence[str]) -> NamedNetwork:
        """The same with the names of its classes.

        Two classes may have one name (ImageNet has two cranes): their numbers tell them apart.

        Raises:
            OptionError: more or fewer names than the network has classes.
        """
        names = tuple(names)
        if self.classes not in (None, len(names)):
            raise OptionError(f"{len(names)} class names were given, {self.source} has "
                              f"{self.classes} classes")  # fmt: skip
        return replace(self, class_names=names)


def read_class_names(file: str | Path) -> tuple[str, ...]:
    """The names of the classes from a text file, one a line, in the network's order.

    Raises:
        DataError: a file that cannot be read, or holds no name or an empty line between names.
    """
    try:
        lines = read_text(file, TEXT, encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the class names {file}: {error}") from error
    names = [line.strip() for line in lines]
    if not names or not all(names):
        where = f"line {names.index('') + 1} is empty" if names else "the file is empty"
        raise DataError(f"{file}: {where}; expected one class name a line, in the network's order")
    return tuple(names)
