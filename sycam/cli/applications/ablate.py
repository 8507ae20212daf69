"""Hot spots removed, as a command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sycam.applications.hot_spots.options import AblationOptions
from sycam.cli.options import completion
from sycam.cli.options.bridge import with_options
from sycam.cli.options.shared import (
    IMAGES,
    OUTPUT,
    SEARCH,
    WHAT,
    AsJson,
    Checkpoint,
    ClassNames,
    Count,
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


@with_options(
    without=(
        *("search_images", "heldout", "groups"),
        *("precision", "fusion"),
    )
)
def ablate(
    methods: Annotated[
        list[str] | None,
        typer.Argument(
            help="names, METHOD@LAYER, expressions or folders of runs; by default grad-cam, "
            "layer-cam and, as a control, random-weights",
            autocompletion=completion.methods,
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
    how: Annotated[AblationOptions, SEARCH],
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="folder for tables and a picture per image; by default none",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    csv: Csv = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log: Log = None,
    device: Device = None,
) -> None:
    """Remove the regions that CAMs mark, and tell what the network says without them.

    Area, change of the probability and share of changed predictions stand beside those without the
    same regions moved elsewhere in the image, with intervals.

    Examples:

      sycam ablate grad-cam layer-cam

      sycam ablate layer-cam --network nets.py:resnet --images photos/ --threshold 0.7 --out spots

      sycam ablate runs/mine --network nets.py:resnet --images photos/ --masks masks/ --allowed
    """
    # Not at the top: they import torch, for which a page of help does not wait.
    from sycam.applications import ablate as found_in
    from sycam.applications.hot_spots.result import COLUMNS, PICTURES
    from sycam.applications.hot_spots.study import USUAL
    from sycam.cli.options.inputs import layer_of, open_inputs
    from sycam.report.formula_table import text_table

    console = console_for(as_json)
    check_csv(csv)
    with telling("ablate", log, None if quiet else console) as notify:
        known, image_set = open_inputs(
            network, checkpoint, class_names, images, files, operators, notify
        )
        result = found_in(
            known,
            layer or layer_of(network),
            image_set,
            methods or USUAL,
            count=count,
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
        print(json_text(result.to_dict()))
        return
    for title, head, rows in result.tables():
        console.print(text_table(title, head, rows))
    for line in result.remarks:
        console.print(shown(line))
    if out is not None and not quiet:
        console.print(f"\nKept in [bold]{shown(str(out))}[/]", soft_wrap=True)
        if result.examples:
            console.print(f"  {shown(str(out / PICTURES))}   a picture per image", soft_wrap=True)
