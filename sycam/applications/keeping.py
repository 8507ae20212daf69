"""The result of an application in a folder: facts as JSON, the whole table as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sycam.errors import RunError
from sycam.support.files import write_whole
from sycam.support.text.table import csv_text
from sycam.support.text.terminal import json_text


def keep_result(
    json_file: Path,
    facts: Mapping[str, Any],
    table_file: Path,
    columns: Sequence[str],
    rows: Iterable[Any],
) -> None:
    """Write both, in a folder that is made.

    Args:
        json_file, table_file: in one folder.
        facts: plain data.
        columns, rows: as for :func:`sycam.support.text.table.csv_text`.

    Raises:
        RunError: they cannot be written.
    """
    folder = json_file.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json_text(facts, ensure_ascii=False, indent=1) + "\n"
        write_whole(json_file, text, within=folder)
        write_whole(table_file, csv_text(columns, rows), within=folder)
    except OSError as error:
        raise RunError(f"cannot write into '{folder}': {error}") from None
