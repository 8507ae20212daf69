"""The small tables beside a folder of images: labels and boxes by file name."""

from __future__ import annotations

import csv
import io
import math
import os.path
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from sycam.data.geometry import Box
from sycam.errors import DataError
from sycam.support.files import TABLE, open_plain

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


def read_labels(path: Path, class_names: Sequence[str] | None = None) -> dict[str, int]:
    """Read a table ``file,label``.

    Args:
        path: the CSV file.
        class_names: of the network, by which a label may be given instead of its number.

    Raises:
        DataError: unreadable, columns missing, a label that is neither a whole number from 0 on
            nor a class name, or two labels for one file.
    """
    labels: dict[str, int] = {}
    for line, row in rows(path, required=("file", "label")):
        label = label_of(row["label"], class_names, f"{path}, line {line}")
        file = key_of(row["file"])
        if labels.setdefault(file, label) != label:
            raise DataError(f"{path}, line {line}: {file} has two labels")
    return labels


def label_of(text: str, class_names: Sequence[str] | None, where: str) -> int:
    """The class that a cell names, by its number or its name.

    Raises:
        DataError: it is neither.
    """
    text = text.strip()
    if class_names is not None and text in class_names:
        same = [i for i, name in enumerate(class_names) if name == text]
        if len(same) > 1:
            raise DataError(
                f"{where}: label {text!r} is the name of {len(same)} classes, "
                f"{' and '.join(map(str, same))}; give the class's number"
            )
        index = same[0]
        if text.isdigit() and int(text) != index:
            raise DataError(
                f"{where}: label {text!r} is the name of class {index} and the number of another "
                "one; a table of labels for this network needs names that are no numbers"
            )
        return index
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_LABEL):
        names = " nor a class name of the network" if class_names else ""
        raise DataError(f"{where}: label {text!r} is no class index (0, 1, 2 ...){names}")
    return int(text)


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
    for line, row in rows(path, required=("file",)):
        boxes.setdefault(key_of(row["file"]), []).extend(boxes_of(path, line, row))
    return boxes


def boxes_of(path: Path, line: int, row: Mapping[str, str]) -> list[Box]:
    """The boxes of one row; DataError where a cell is none."""
    return [_box(cells, f"{path}, line {line}") for cells in _box_cells(path, row)]


def match(
    table: Mapping[str, Value], names: Sequence[str], folder: Path, path: Path
) -> list[Value | None]:
    """Look every image up in a table; None where it has no row.

    A table names an image by its path below the folder, by its bare file name, or with folders
    above: whatever its path ends with. The longest such entry counts.

    Args:
        table: values by file.
        names: the images' paths below ``folder``.
        folder: where the images lie.
        path: the table's file, for messages.

    Raises:
        DataError: one entry for two images.
    """
    values: list[Value | None] = []
    owner: dict[str, str] = {}
    for name in names:
        parts = key_of(os.path.abspath(folder / name)).split("/")
        endings = ("/".join(parts[i:]) for i in range(len(parts)))
        entry = next((ending for ending in endings if ending in table), None)
        if entry is None:
            values.append(None)
            continue
        if entry in owner:
            raise DataError(
                f"{path}: {entry!r} stands for both {owner[entry]} and {name}; "
                "name the files by their paths below the folder"
            )
        owner[entry] = name
        values.append(table[entry])
    return values


def rows(path: Path, required: tuple[str, ...]) -> Sequence[Row]:
    """The rows of a CSV table, by the names in its first line.

    Raises:
        DataError: unreadable, or a required column is missing.
    """
    try:
        with (
            open_plain(path, limit=TABLE) as binary,
            io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as file,
        ):
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


def key_of(file: str) -> str:
    """A file as tables are looked up by."""
    return file.strip().replace("\\", "/").removeprefix("./")


def _box_cells(path: Path, row: Mapping[str, str]) -> list[list[str]]:
    """The cells of each box in a row, still as text."""
    corners = ("x0", "y0", "x1", "y1")
    if all(corner in row for corner in corners):
        cells = [row[corner].strip() for corner in corners]
        return [cells] if any(cells) else []
    column = next((name for name in row if name.startswith("box")), None)
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
