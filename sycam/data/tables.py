"""The small tables beside a folder of images: labels and boxes by file name."""

from __future__ import annotations

import csv
import math
import os.path
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from sycam.data.geometry import Box
from sycam.errors import DataError

Value = TypeVar("Value")
Row = tuple[int, dict[str, str]]
"""Line number and cells by column."""

SHOWN = 3
"""How many names a message lists."""

LONGEST_LABEL = 9
"""Digits of a label; more would not fit a class index on any network."""


def listed(names: Sequence[str]) -> str:
    """The first few names of many, for a message."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def read_labels(path: Path) -> dict[str, int]:
    """Read a table ``file,label``.

    Raises:
        DataError: unreadable, columns missing, a label that is no whole number from 0 on, or two
            labels for one file.
    """
    labels: dict[str, int] = {}
    for line, row in _rows(path, required=("file", "label")):
        text = row["label"].strip()
        if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_LABEL):
            raise DataError(f"{path}, line {line}: label {text!r} is no class index (0, 1, 2 ...)")
        file = _key(row["file"])
        if labels.setdefault(file, int(text)) != int(text):
            raise DataError(f"{path}, line {line}: {file} has two labels")
    return labels


def read_boxes(path: Path) -> dict[str, list[Box]]:
    """Read a table of boxes in pixels of the original images (after EXIF orientation).

    Columns are ``file,x0,y0,x1,y1``, as many rows a file as it has boxes; or ``file`` and one
    column whose name begins with ``boxes``, holding ``x0 y0 x1 y1;x0 y0 x1 y1;...``. Empty cells
    say that the image shows no object.

    Raises:
        DataError: unreadable, columns missing, or a box that is not four numbers with x0 <= x1
            and y0 <= y1.
    """
    boxes: dict[str, list[Box]] = {}
    for line, row in _rows(path, required=("file",)):
        found = boxes.setdefault(_key(row["file"]), [])
        for cells in _box_cells(path, row):
            found.append(_box(cells, f"{path}, line {line}"))
    return boxes


def match(
    table: Mapping[str, Value], names: Sequence[str], folder: Path, path: Path
) -> list[Value]:
    """Look every image up in a table.

    A table names an image by its path below the folder, by its bare file name, or with folders
    above: whatever its path ends with. The longest such entry counts.

    Args:
        table: values by file.
        names: the images' paths below ``folder``.
        folder: where the images lie.
        path: the table's file, for messages.

    Raises:
        DataError: images without an entry, or one entry for two images.
    """
    values, missing, owner = [], [], {}
    for name in names:
        parts = _key(os.path.abspath(folder / name)).split("/")
        endings = ("/".join(parts[i:]) for i in range(len(parts)))
        entry = next((ending for ending in endings if ending in table), None)
        if entry is None:
            missing.append(name)
            continue
        if entry in owner:
            raise DataError(
                f"{path}: {entry!r} stands for both {owner[entry]} and {name}; "
                "name the files by their paths below the folder"
            )
        owner[entry] = name
        values.append(table[entry])
    if missing:
        raise DataError(
            f"{path} has no row for {len(missing)} of {len(names)} images: {listed(missing)}"
        )
    return values


def _rows(path: Path, required: tuple[str, ...]) -> Iterable[Row]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [(name or "").strip() for name in reader.fieldnames or ()]
            absent = [name for name in required if name not in columns]
            if absent:
                raise DataError(
                    f"{path} has no column {absent[0]!r}; its first line names "
                    f"{', '.join(columns) or 'nothing'}"
                )
            reader.fieldnames = columns
            # A short row lacks cells (None), a long one has a rest under the key None.
            return [
                (reader.line_num, {k: v or "" for k, v in row.items() if k is not None})
                for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read the table {path}: {error}") from error


def _key(file: str) -> str:
    return file.strip().replace("\\", "/").removeprefix("./")


def _box_cells(path: Path, row: Mapping[str, str]) -> list[list[str]]:
    """The cells of each box in a row, still as text."""
    corners = ("x0", "y0", "x1", "y1")
    if all(corner in row for corner in corners):
        cells = [row[corner].strip() for corner in corners]
        return [cells] if any(cells) else []
    column = next((name for name in row if name.startswith("boxes")), None)
    if column is None:
        raise DataError(
            f"{path} has neither columns x0,y0,x1,y1 nor a column 'boxes'; it has {', '.join(row)}"
        )
    return [text.split() for text in row[column].split(";") if text.strip()]


def _box(cells: Sequence[str], where: str) -> Box:
    try:
        x0, y0, x1, y1 = (float(cell) for cell in cells)
    except ValueError as error:
        raise DataError(
            f"{where}: {' '.join(cells)!r} is no box; expected four numbers x0 y0 x1 y1"
        ) from error
    if not all(map(math.isfinite, (x0, y0, x1, y1))) or x1 < x0 or y1 < y0:
        raise DataError(
            f"{where}: box {' '.join(cells)} is turned round or not finite; "
            "expected x0 <= x1 and y0 <= y1"
        )
    return x0, y0, x1, y1
