"""Heatmaps as plain files, one per image: over the image, alone, and as numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from sycam.drawing.kinds import COMPARISON, KINDS
from sycam.drawing.overlays import ImageRow, coloured, overlay
from sycam.drawing.style import Style
from sycam.errors import OptionError, RunError, unknown_name
from sycam.support.arguments import argument
from sycam.support.files import write_whole


def checked_kinds(save: Sequence[str], together: bool) -> tuple[str, ...]:
    """What is to be saved, each once.

    Args:
        save: names of :data:`KINDS`.
        together: whether the comparisons go into one picture.

    Raises:
        UnknownNameError: another name.
        OptionError: nothing, or all images together where no comparison is asked for.
    """
    kinds = tuple(dict.fromkeys([save] if isinstance(save, str) else save))
    for kind in kinds:
        if kind not in KINDS:
            raise unknown_name(f"kind of file for {argument('save')}", kind, KINDS)
    if not kinds:
        raise OptionError(f"{argument('save')} names no kind of file; expected {', '.join(KINDS)}")
    if together and COMPARISON not in kinds:
        raise OptionError(
            f"{argument('together', True)} is one picture of all comparisons, and "
            f"{argument('save', ','.join(kinds))} asks for none; add {COMPARISON}"
        )
    return kinds


def save_heatmaps(
    row: ImageRow,
    titles: Sequence[str],
    kinds: Collection[str],
    folder: Path,
    stem: str,
    style: Style,
    within: Path | None,
) -> list[Path]:
    """Write one image's heatmaps as ``<folder>/<kind>/<stem>``; of several methods, in a folder
    each below that.

    Args:
        row: the image and its heatmaps.
        titles: of the methods.
        kinds: names of :data:`KINDS`; comparisons are left to others.
        folder: where.
        stem: of the files.
        style: of the colours.
        within: the run's folder, see :func:`sycam.support.files.write_whole`.

    Raises:
        RunError: a file cannot be written.
    """
    files = []
    folders = distinct(_plain(title) for title in titles) if len(titles) > 1 else [""]
    for title, below in zip(titles, folders, strict=True):
        contents: dict[str, tuple[str, Callable[[BinaryIO], object]]] = {
            "overlay": (".png", _png(lambda t=title: overlay(row.picture, row.flat(t), style))),
            "heatmap": (".png", _png(lambda t=title: coloured(row.flat(t), style))),
            "npy": (".npy", lambda file, t=title: np.save(file, row.heatmaps[t])),
        }
        for kind, (ending, content) in contents.items():
            if kind not in kinds:
                continue
            path = folder / kind / below / f"{stem}{ending}"
            try:
                write_whole(path, content, within=within)
            except OSError as error:
                raise RunError(f"cannot write '{path}': {error}") from None
            files.append(path)
    return files


def distinct_stems(names: Sequence[str]) -> list[str]:
    """Names of files for images, no two alike."""
    return distinct(Path(name).stem.replace("[", "-").replace("]", "") for name in names)


def distinct(names: Iterable[str]) -> list[str]:
    """Names with a number behind those that were there before; no two alike."""
    found: dict[str, None] = {}
    for i, name in enumerate(names):
        numbered = (f"{name}-{number}" for number in count(i))
        found[name if name not in found else next(n for n in numbered if n not in found)] = None
    return list(found)


def _plain(title: str) -> str:
    """A method as a folder's name."""
    return re.sub(r"[^A-Za-z0-9.@-]+", "_", title).strip("_.")[:80] or "method"


def _png(pixels: Callable[[], np.ndarray]) -> Callable[[BinaryIO], object]:
    def write(file: BinaryIO) -> None:
        values = pixels().round().clip(0, 255).astype(np.uint8)
        Image.fromarray(values).save(file, "PNG")

    return write
