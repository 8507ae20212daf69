"""What the text of an exported class is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ClassTemplate:
    """The parts of an exported class's module that differ from library to library.

    Attributes:
        file: of :mod:`sycam.export.templates`, that holds the class.
        helpers: functions of SyCAM that the class calls.
        measures: whether the class measures the leaves itself, whatever they are.
        by_maps: whether the class needs the maps ``w_k A_k`` before they are summed.
        differs: file of what takes the place of definitions and methods of the same names in
            ``file``.
        ends: file of what follows the class.
        use: lines for the module's docstring; ``NAME`` and ``LAYER`` are replaced.
    """

    file: str
    helpers: tuple[Callable, ...] = ()
    measures: bool = False
    by_maps: bool = False
    differs: str = ""
    ends: str = ""
    use: str = ""
