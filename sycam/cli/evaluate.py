"""Named methods under metrics, as a command."""

from __future__ import annotations

from typing import Annotated

import typer

import sycam
from sycam.cli.options import completion
from sycam.cli.options.bridge import with_options
from sycam.cli.options.shared import (
    IMAGES,
    ROAD,
    WHAT,
    AsJson,
    Checkpoint,
    ClassNames,
    Count,
    Csv,
    Devices,
    LayerNames,
    Log,
    Network,
    Operators,
    Quiet,
    Seed,
    Source,
    Workers,
)
from sycam.cli.printing.watching import console_for, telling
from sycam.data.names import DEMO
from sycam.problem.options import DataOptions, ExplainOptions, FileOptions
from sycam.support.text.table import check_csv, write_csv
from sycam.support.text.terminal import json_text


@with_options(without=("search_images", "heldout", "groups", "precision"))
def evaluate(
    methods: Annotated[
        list[str] | None,
        typer.Argument(
            help="names or expressions; by default all methods without expensive leaves",
            autocompletion=completion.methods,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="repeat for several", autocompletion=completion.metrics, rich_help_panel=WHAT
        ),
    ] = None,
    network: Network = DEMO,
    checkpoint: Checkpoint = None,
    layer: LayerNames = None,
    *,
    explain: Annotated[ExplainOptions, WHAT],
    class_names: ClassNames = None,
    operators: Operators = None,
    images: Source = DEMO,
    count: Count = None,
    data: Annotated[DataOptions, IMAGES],
    files: Annotated[FileOptions, IMAGES],
    seed: Seed = 0,
    csv: Csv = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log: Log = None,
    device: Devices = None,
    workers: Workers = None,
) -> None:
    """Score named methods and expressions under metrics, as a table.

    Examples:

      sycam evaluate grad-cam "mean(relu(G)) * max(A)" --metric road --metric deletion

      sycam evaluate --network timm:resnet50.a1_in1k --images photos/ --count 200

      sycam evaluate grad-cam layer-cam --network nets.py:resnet --checkpoint best.pth --images val/
    """
    # Not at the top: they import torch, for which a page of help does not wait.
    from sycam.cli.options.inputs import layer_of, open_inputs
    from sycam.cli.printing.tables import evaluation_table
    from sycam.jobs.evaluation import COLUMNS

    console = console_for(as_json)
    check_csv(csv)
    with telling("evaluate", log, None if quiet else console) as notify:
        known, image_set = open_inputs(
            network, checkpoint, class_names, images, files, operators, notify
        )
        table = sycam.evaluate(
            known,
            layer or layer_of(network),
            image_set,
            methods or None,
            metric or [ROAD],
            count=count,
            data=data,
            explain=explain,
            seed=seed,
            device=device,
            workers=workers,
            progress=False,
            notify=notify,
        )
    if csv is not None:
        write_csv(csv, COLUMNS, table.rows())
    if as_json:
        print(json_text(table.to_dict()))
    else:
        console.print(evaluation_table(table))
