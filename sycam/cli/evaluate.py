"""Named methods under metrics, as a command."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from sycam.cli.options import (
    ROAD,
    AsJson,
    Boxes,
    Device,
    Fused,
    LayerNames,
    Masks,
    Mean,
    Network,
    Operators,
    Quiet,
    Reshaped,
    Seed,
    Size,
    Source,
    Std,
    Target,
    console_for,
    declare_operators,
    image_set_of,
    interruptible,
    layer_of,
    numbers,
)
from sycam.evaluation import evaluate as evaluate_methods
from sycam.inputs import DEMO
from sycam.report import console as show


def evaluate(
    methods: Annotated[
        list[str] | None,
        typer.Argument(help="names or expressions; all methods without dear leaves if none"),
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(help="repeat for several")] = None,
    operators: Operators = None,
    network: Network = DEMO,
    layer: LayerNames = None,
    reshape: Reshaped = None,
    fusion: Fused = "mean",
    images: Source = DEMO,
    masks: Masks = None,
    boxes: Boxes = None,
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    target: Target = "predicted",
    device: Device = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score named methods and expressions under metrics, as a table.

    Example:

      sycam evaluate grad-cam "mean(relu(G)) * max(A)" --metric road --metric deletion
    """
    console = console_for(as_json)
    declare_operators(operators)
    with interruptible(), show.Watcher(None if quiet else console) as watch:
        scale = {"mean": numbers(mean, "--mean"), "std": numbers(std, "--std"), "size": size}
        table = evaluate_methods(
            network,
            layer or layer_of(network),
            image_set_of(images, masks=masks, boxes=boxes, **scale),
            methods or None,
            metric or [ROAD],
            target=target,
            device=device,
            seed=seed,
            reshape=reshape,
            fusion=fusion,
            notify=watch,
        )
    if as_json:
        print(json.dumps(table.to_dict(), ensure_ascii=False))
    else:
        console.print(show.evaluation_table(table))
