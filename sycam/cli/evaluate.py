"""Named methods under metrics, as a command."""

from __future__ import annotations

from typing import Annotated

import typer

from sycam.cli import completion
from sycam.cli.options import (
    ROAD,
    AsJson,
    Boxes,
    Checkpoint,
    ClassNames,
    CorrectOnly,
    Device,
    Fused,
    Interpolation,
    Labels,
    LayerNames,
    Masks,
    Mean,
    Network,
    Operators,
    Output,
    Quiet,
    Reshaped,
    Resize,
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
    network_of,
    reading_of,
)
from sycam.cli.tables import evaluation_table
from sycam.evaluation import evaluate as evaluate_methods
from sycam.problem.images import DEMO
from sycam.report.progress import Watcher
from sycam.support.terminal import json_text


def evaluate(
    methods: Annotated[
        list[str] | None,
        typer.Argument(
            help="names or expressions; all methods without dear leaves if none",
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
    reshape: Reshaped = None,
    fusion: Fused = "mean",
    images: Source = DEMO,
    labels: Labels = "auto",
    masks: Masks = None,
    boxes: Boxes = None,
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    resize: Resize = None,
    interpolation: Interpolation = None,
    count: Annotated[
        int | None, typer.Option(help="how many of the images, drawn by --seed; all if none")
    ] = None,
    correct_only: CorrectOnly = False,
    target: Target = "predicted",
    output: Output = "auto",
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
        reading = reading_of(mean, std, size, resize, interpolation)
        table = evaluate_methods(
            known,
            layer or layer_of(network),
            image_set_of(images, known, watch, masks=masks, boxes=boxes, labels=labels, **reading),
            methods or None,
            metric or [ROAD],
            target=target,
            output=output,
            device=device,
            seed=seed,
            reshape=reshape,
            fusion=fusion,
            count=count,
            correct_only=correct_only,
            notify=watch,
        )
    if as_json:
        print(json_text(table.to_dict()))
    else:
        console.print(evaluation_table(table))
