"""A result as commands hand it over: tables on a terminal, JSON, a CSV file."""

from __future__ import annotations

from pathlib import Path

from sycam.cli.printing.watching import console_for
from sycam.export import TARGETS
from sycam.report.keeping import where_kept
from sycam.report.tables import result_tables
from sycam.runs.candidates import COLUMNS, candidate_rows
from sycam.runs.result import Result
from sycam.support.text.table import write_csv
from sycam.support.text.terminal import json_text, shown


def tell(result: Result, as_json: bool) -> None:
    """Print tables and verdict, or what ``result.json`` holds together with the run's folder."""
    if as_json:
        said = {"folder": str(result.path), **result.to_dict()}
        print(json_text(said, default=str), flush=True)
    else:
        console_for(as_json).print(result_tables(result))


def closing_lines(result: Result, base: str | None) -> list[str]:
    """What stands below the tables, in rich's markup: where all is kept, how it is handed over.

    Args:
        result: of a run that is kept.
        base: the export that is suggested; none if None.
    """
    lines = ["", *where_kept(result)]
    if base is not None:
        usual = base == "torch"
        said = "a class that needs only torch" if usual else TARGETS[base].summary
        flag = "" if usual else f" --base {base}"
        folder = shown(str(result.path))
        lines.append(f"  sycam export {folder} -o my_cam.py --name MyCAM{flag}   {said}")
    return lines


def write_candidates(result: Result, file: Path | None) -> None:
    """Write the table of all candidates, where a file for it was named."""
    if file is not None:
        write_csv(file, COLUMNS, candidate_rows(result.candidates))
