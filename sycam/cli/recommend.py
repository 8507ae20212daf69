"""Which published CAM at which layer, as a command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import sycam
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
from sycam.cli.printing.watching import console_for, telling, warn
from sycam.data.names import DEMO
from sycam.errors import SycamError
from sycam.problem.options import DataOptions, ExplainOptions, FileOptions
from sycam.support.text.table import check_csv, write_csv
from sycam.support.text.terminal import json_text, shown

PICTURE = Path("recommendation.png")


@with_options(without=("groups", "precision", "fusion"))
def recommend(
    methods: Annotated[
        list[str] | None,
        typer.Argument(
            help="names or expressions beside the published CAMs, such as those with expensive "
            "leaves",
            autocompletion=completion.methods,
        ),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            help="what they are ranked by (see: sycam metrics)",
            autocompletion=completion.metrics,
            rich_help_panel=WHAT,
        ),
    ] = ROAD,
    network: Network = DEMO,
    checkpoint: Checkpoint = None,
    layer: LayerNames = None,
    *,
    explain: Annotated[ExplainOptions, WHAT],
    class_names: ClassNames = None,
    operators: Operators = None,
    images: Source = DEMO,
    data: Annotated[DataOptions, IMAGES],
    files: Annotated[FileOptions, IMAGES],
    budget: Annotated[
        str,
        typer.Option(
            help="time for the whole command: 90s, 5m; a note says what was left out for it",
            rich_help_panel=SEARCH,
        ),
    ] = "1m",
    seed: Seed = 0,
    picture: Annotated[
        Path,
        typer.Option(
            metavar="FILE.png",
            help="draw heatmaps of some images to this file",
            rich_help_panel=OUTPUT,
        ),
    ] = PICTURE,
    csv: Csv = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log: Log = None,
    device: Device = None,
) -> None:
    """Say which published CAM to use at which layer: a ranking in a minute, without a search.

    Examples:

      sycam recommend --network torchvision:resnet50 --images photos/

      sycam recommend score-cam --network nets.py:resnet --images val/ --budget 5m
    """
    # Not at the top: they import torch, for which a page of help does not wait.
    from sycam.cli.options.inputs import open_inputs
    from sycam.cli.printing.tables import recommendation_table
    from sycam.evidence import AUTO
    from sycam.report.recommended import COLUMNS
    from sycam.search.budget import Budget

    console, clock = console_for(as_json), Budget.parse(budget).started()
    check_csv(csv)
    with telling("recommend", log, None if quiet else console) as notify:
        known, image_set = open_inputs(
            network, checkpoint, class_names, images, files, operators, notify
        )
        found = sycam.recommend(
            known,
            image_set,
            metric,
            layer or AUTO,
            methods or (),
            budget=clock,
            data=data,
            explain=explain,
            seed=seed,
            device=device,
            progress=False,
            notify=notify,
        )
    if csv is not None:
        write_csv(csv, COLUMNS, found.table())
    if as_json:
        print(json_text(found.to_dict()))
    else:
        console.print(recommendation_table(found))
    try:
        found.picture(picture)
    except (SycamError, OSError) as error:
        warn(f"not drawn: {error}. The ranking stands")
    else:
        if not quiet and not as_json:
            console.print(f"\nHeatmaps, from its best image to its worst: {shown(str(picture))}")
    if not quiet and not as_json:
        for library in ("sycam", "pytorch-grad-cam"):
            if code := found.code(library):
                console.print(f"\n{shown(code, lines=True)}", soft_wrap=True)
