"""Commands that read the folders of runs alone: no network, no images, no measuring."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sycam.cli.options.shared import AsJson, Csv, Operators
from sycam.cli.printing.answers import shown_again
from sycam.support.text.terminal import json_text, open_console, shown


def show(
    run: Annotated[Path, typer.Argument(help="folder of a run")],
    operators: Operators = None,
    csv: Csv = None,
    as_json: AsJson = False,
) -> None:
    """Print a finished run again: formula, held-out tables, verdict.

    Examples:

      sycam show runs/demo-road-1a2b3c4d

      sycam show runs/demo-road-1a2b3c4d --csv candidates.csv
    """
    if operators or csv or not shown_again(run, as_json):
        # Not at the top: they import torch, for which a page of help does not wait.
        import sycam
        from sycam.cli.options.inputs import declare_operators
        from sycam.cli.printing.results import tell, write_candidates
        from sycam.report.keeping import keep_answer

        declare_operators(operators)
        result = sycam.load(run)
        write_candidates(result, csv)
        tell(result, as_json)
        if not operators:
            keep_answer(result)
        run = result.path or run
    if not as_json:
        open_console().print(f"\nKept in [bold]{shown(str(run))}[/]", soft_wrap=True)


def runs(
    folder: Annotated[Path, typer.Argument(help="folder that holds runs' folders")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """List the runs in a folder: what was searched, the winner, its lead on held-out images.

    Examples:

      sycam runs

      sycam runs experiments/ --json
    """
    from sycam.report.runs import runs_table
    from sycam.runs.summary import runs_in

    found = runs_in(folder)
    if as_json:
        print(json_text([one.to_dict() for one in found]))
    elif found:
        open_console().print(runs_table(found))
    else:
        open_console().print(f"There is no run in '{shown(str(folder))}'.", soft_wrap=True)


def compare(
    runs: Annotated[list[Path], typer.Argument(help="folders of two or more runs")],
    as_json: AsJson = False,
) -> None:
    """Put runs side by side: the settings that differ, winners, held-out figures.

    Example:

      sycam compare runs/seed0 runs/seed1 runs/seed2
    """
    import sycam
    from sycam.report.runs import comparison_tables
    from sycam.runs.summary import compare as compared

    found = compared([sycam.load(run) for run in runs])
    if as_json:
        print(json_text(found.to_dict()))
    else:
        open_console().print(comparison_tables(found))
