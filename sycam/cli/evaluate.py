"""Named methods under metrics, as a command."""

from __future__ import annotations

from typing import Annotated

import typer

from sycam.cli import completion
from sycam.cli.bridge import with_options
from sycam.cli.options import (
    ROAD,
    AsJson,
    Checkpoint,
    ClassNames,
    Device,
    LayerNames,
    Network,
    Operators,
    Quiet,
    Seed,
    Source,
    console_for,
    declare_operators,
    image_set_of,
    interruptible,
    layer_of,
    network_of,
)
from sycam.cli.tables import evaluation_table
from sycam.evaluation import evaluate as evaluate_methods
from sycam.problem.images import DEMO
from sycam.problem.options import DataOptions, ExplainOptions, FileOptions
from sycam.report.progress import Watcher
from sycam.support.terminal import json_text


@with_options(without=("search_images", "heldout", "groups", "precision"))
def evaluate(
    methods: Annotated[
        list[str] | None,
        typer.Argument(
            help="names or expressions; all methods without expensive leaves if none",
            autocompletion=completion.methods,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="repeat for several", autocompletion=completion.metrics),
    ] = None,
    operators: Operators = None,
    network: Network = DEMO,
    checkpoint: Checkpoint = None,
    class_names: ClassNames = None,
    layer: LayerNames = None,
    images: Source = DEMO,
    count: Annotated[
        int | None, typer.Option(help="how many of the images, drawn by --seed; all if none")
    ] = None,
    *,
    explain: ExplainOptions,
    files: FileOptions,
    data: DataOptions,
    device: Device = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score named methods and expressions under metrics, as a table.

    Examples:

      sycam evaluate grad-cam "mean(relu(G)) * max(A)" --metric road --metric deletion

      sycam evaluate --network timm:resnet50.a1_in1k --images photos/ --count 200

      sycam evaluate grad-cam layer-cam --network nets.py:resnet --checkpoint best.pth --images val/
    """
    console = console_for(as_json)
    declare_operators(operators)
    with interruptible(), Watcher(None if quiet else console) as watch:
        known = network_of(network, checkpoint, class_names, watch)
        table = evaluate_methods(
            known,
            layer or layer_of(network),
            image_set_of(images, known, watch, **files.given()),
            methods or None,
            metric or [ROAD],
            count=count,
            data=data,
            explain=explain,
            seed=seed,
            device=device,
            progress=False,
            notify=watch,
        )
    if as_json:
        print(json_text(table.to_dict()))
    else:
        console.print(evaluation_table(table))
