"""Rows of named values as CSV or as a pandas table, whatever they are rows of."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sycam.errors import OptionError
from sycam.support.arguments import argument
from sycam.support.files import check_target, write_whole

Rows = Iterable[Mapping[str, object]]


def csv_text(columns: Sequence[str], rows: Rows) -> str:
    """CSV with a line of titles; None is an empty cell, numbers have all their digits.

    >>> csv_text(["name", "mean"], [{"name": "a, b", "mean": 0.1}, {"name": None, "mean": 2}])
    'name,mean\\n"a, b",0.1\\n,2\\n'
    """
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def check_csv(path: Path | None) -> None:
    """Refuse a file that cannot be written before anything long is begun.

    Raises:
        OptionError: it is no plain file, or its folder is none.
    """
    try:
        if path is not None:
            check_target(path)
    except OSError as error:
        raise _cannot_write(path, error) from None


def write_csv(path: Path, columns: Sequence[str], rows: Rows) -> None:
    """Write a table as :func:`csv_text`, whole or not at all.

    Raises:
        OptionError: the file cannot be written.
    """
    try:
        write_whole(path, csv_text(columns, rows))
    except OSError as error:
        raise _cannot_write(path, error) from None


def _cannot_write(path: Path | None, error: OSError) -> OptionError:
    return OptionError(f"{argument('csv')} '{path}' cannot be written: {error}; name another file")


def as_frame(columns: Sequence[str], rows: Rows) -> Any:
    """A ``pandas.DataFrame`` of the rows; None is a missing value.

    Raises:
        OptionError: pandas is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError as error:
        raise OptionError(
            f"to_pandas needs the package pandas, which is not installed: pip install pandas "
            f"({error})"
        ) from None
    return pandas.DataFrame(list(rows), columns=list(columns)).convert_dtypes()
