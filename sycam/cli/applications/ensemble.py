"""Ensembles of CAMs as a command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sycam.applications.ensembles.options import EnsembleOptions
from sycam.cli.options import completion
from sycam.cli.options.bridge import with_options
from sycam.cli.options.shared import (
    IMAGES,
    OUTPUT,
    ROAD,
    SEARCH,
    WHAT,
    AsJson,
    Checkpoint,
    ClassNames,
    Csv,
    Device,
    LayerNames,
    Log,
    Network,
    Operators,
    Quiet,
    Seed,
    Source,
)
from sycam.cli.printing.watching import console_for, telling
from sycam.data.names import DEMO
from sycam.problem.options import DataOptions, ExplainOptions, FileOptions
from sycam.support.text.table import check_csv, write_csv
from sycam.support.text.terminal import json_text, shown


@with_options(without=("precision", "fusion"))
def ensemble(
    metric: Annotated[
        str,
        typer.Option(
            help="by which ensembles are chosen and judged",
            autocompletion=completion.metrics,
            rich_help_panel=WHAT,
        ),
    ] = ROAD,
    network: Network = DEMO,
    checkpoint: Checkpoint = None,
    layer: LayerNames = None,
    members: Annotated[
        list[str] | None,
        typer.Option(
            "--member",
            help="what may vote: a method, METHOD@LAYER, a formula, the folder of a run, or eleven "
            "(those that MetaCAM combines); repeatable; by default those of the eleven without "
            "passes of their own",
            autocompletion=completion.methods,
            rich_help_panel=WHAT,
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="folder of a run whose winner is compared with the ensemble; repeatable",
            rich_help_panel=WHAT,
        ),
    ] = None,
    *,
    explain: Annotated[ExplainOptions, WHAT],
    class_names: ClassNames = None,
    operators: Operators = None,
    images: Source = DEMO,
    data: Annotated[DataOptions, IMAGES],
    files: Annotated[FileOptions, IMAGES],
    how: Annotated[EnsembleOptions, SEARCH],
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="folder for scores, tables and the picture; the same command resumes there",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    csv: Csv = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log: Log = None,
    device: Device = None,
) -> None:
    """Find the CAMs whose agreement scores best (MetaCAM), and judge it on unseen images.

    It is compared with every single CAM, each also with its own best threshold; what each member
    adds is told with its interval.

    Examples:

      sycam ensemble --metric road

      sycam ensemble --network nets.py:resnet --images photos/ --member eleven --budget 20m

      sycam ensemble --member grad-cam --member layer-cam@layer2 --member runs/mine --run runs/mine
    """
    # Not at the top: they import torch, for which a page of help does not wait.
    from sycam.applications import ensemble as found_in
    from sycam.applications.ensembles.result import COLUMNS, PICTURE_FILE
    from sycam.cli.options.inputs import layer_of, open_inputs
    from sycam.report.formula_table import text_table

    console = console_for(as_json)
    check_csv(csv)
    with telling("ensemble", log, None if quiet else console) as notify:
        known, image_set = open_inputs(
            network, checkpoint, class_names, images, files, operators, notify
        )
        result = found_in(
            known,
            layer or layer_of(network),
            image_set,
            metric,
            members or None,
            against=against or (),
            how=how,
            data=data,
            explain=explain,
            seed=seed,
            device=device,
            out=out,
            progress=False,
            notify=notify,
        )
    if csv is not None:
        write_csv(csv, COLUMNS, result.table())
    if as_json:
        print(json_text({"folder": str(result.path), **result.to_dict()}))
        return
    console.print(f"[bold]{shown(result.headline)}[/]\n")
    for title, head, rows in result.tables():
        console.print(text_table(title, head, rows))
    for line in result.remarks:
        console.print(shown(line))
    if result.examples and not quiet:
        console.print(f"\nKept in [bold]{shown(str(result.path))}[/]", soft_wrap=True)
        console.print(
            f"  {shown(str(result.path / PICTURE_FILE))}   members and ensemble on held-out images",
            soft_wrap=True,
        )
