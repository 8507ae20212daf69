"""The command that shows formulas which searches found, and prints a run as one of them.

It imports what it shows when it runs: that needs torch, for which a page of help does not wait.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import sycam
from sycam.cli.options import completion
from sycam.cli.options.shared import (
    AsJson,
    Device,
    MetricFiles,
    Operators,
    Quiet,
    RunNetwork,
    Trust,
)
from sycam.errors import OptionError
from sycam.support.text.terminal import json_text, open_console


def zoo(
    formula: Annotated[
        str | None,
        typer.Argument(help="name of a formula; by default all", autocompletion=completion.zoo),
    ] = None,
    entry: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="folder of a run: verify it and print it as an entry of the zoo"
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="name of that entry; by default its network and metric")
    ] = None,
    network: RunNetwork = None,
    operators: Operators = None,
    device: Device = None,
    metric_files: MetricFiles = None,
    trust: Trust = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List formulas that searches found, or show one: figures, rivals, how to use it.

    Exit code 1 where a run that is to be an entry does not verify.

    Examples:

      sycam zoo

      sycam zoo demo-road

      sycam zoo --entry runs/demo-road-1a2b3c4d --name demo-road-2
    """
    from sycam.cli.options.inputs import declare_operators

    declare_operators(operators)
    if entry is not None:
        if formula is not None:
            raise OptionError(
                f"--entry prints the entry of a run, {formula!r} shows one that there is: ask for "
                "one of them"
            )
        _print_entry(entry, name, network, device, metric_files or (), trust, quiet)
        return
    if name is not None:
        raise OptionError("--name is the name of a new entry: give its run by --entry")
    from sycam.methods import zoo as kept
    from sycam.report.listings import zoo as show_zoo

    asked = [*kept.zoo().values()] if formula is None else [kept.find_entry(formula)]
    if as_json:
        said = [show_zoo.description(one) for one in asked]
        print(json_text(said if formula is None else said[0]))
    else:
        open_console().print(
            show_zoo.listing(asked) if formula is None else show_zoo.detail(asked[0])
        )


def _print_entry(
    run: Path,
    name: str | None,
    network: str | None,
    device: str | None,
    metric_files: list[Path] | tuple[()],
    trust: bool,
    quiet: bool,
) -> None:
    """The entry on standard output, all else on standard error; no entry of a run that fails."""
    from sycam.cli.printing.tables import verification_table
    from sycam.report.progress import Watcher
    from sycam.runs.contribution import entry_of
    from sycam.support.schema import to_plain

    made = entry_of(sycam.load(run), network, name)  # before minutes are spent on a check
    console = open_console(stderr=True)
    with Watcher(None if quiet else console) as watch:
        done = sycam.verify(
            run, network, device=device, notify=watch, metric_files=metric_files, trust=trust,
            progress=False,
        )  # fmt: skip
    if not (quiet and done.holds):
        console.print(verification_table(done))
    if not done.holds:
        raise typer.Exit(1)
    print(json_text(to_plain(made), ensure_ascii=False, indent=1))
