"""The main job as a command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

import sycam
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
from sycam.events import Event
from sycam.export import TARGETS, suggested_base
from sycam.problem.images import DEMO
from sycam.problem.options import DataOptions, ExplainOptions, FileOptions
from sycam.report.keeping import keep_pictures, where_kept
from sycam.report.progress import Watcher
from sycam.report.tables import result_tables
from sycam.search import SearchOptions
from sycam.support.terminal import json_text, open_console, shown
from sycam.validation.validate import Validated


@with_options()
def synthesize(
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="what to optimise (see: sycam metrics), road if none; repeat for a Pareto front",
            autocompletion=completion.metrics,
        ),
    ] = None,
    grammar: Annotated[
        str | None,
        typer.Option(
            help="NAME or FILE.lark (see: sycam grammars); network for layer auto, else gradient, "
            "if none",
            autocompletion=completion.grammars,
        ),
    ] = None,
    operators: Operators = None,
    network: Network = DEMO,
    checkpoint: Checkpoint = None,
    class_names: ClassNames = None,
    layer: LayerNames = None,
    images: Source = DEMO,
    heldout_source: Annotated[
        str | None,
        typer.Option(
            "--heldout", help="FOLDER, FILE.csv or FILE.npz to validate on; else part of --images"
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            help="what the winner must be as well, like 'class-sensitivity>0.2'; repeatable"
        ),
    ] = None,
    *,
    explain: ExplainOptions,
    files: FileOptions,
    data: DataOptions,
    search: SearchOptions,
    device: Device = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="the run's folder; the same command resumes it")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Search for the formula that scores best, and validate it on unseen images.

    Examples:

      sycam synthesize --metric road

      sycam synthesize --network nets.py:resnet --images photos/ --size 224 --metric insertion

      sycam synthesize --network torchvision:resnet50 --checkpoint my.pth --images val/

      sycam synthesize --network timm:convnext_tiny.fb_in1k --images photos/

      sycam synthesize --network nets.py:unet --images slices.csv --metric iou
    """
    console, budget = console_for(as_json), search.budget.started()
    finished: list[Validated] = []
    declare_operators(operators)
    with interruptible(), Watcher(None if quiet else console, (metric or [ROAD])[0]) as watch:

        def notify(event: Event) -> None:
            if isinstance(event, Validated):
                finished.append(event)
            watch(event)

        known = network_of(network, checkpoint, class_names, watch)
        image_set = image_set_of(images, known, watch, **files.given())
        if heldout_source is not None:
            # Masks and boxes beside it are of a table's own columns.
            unseen = image_set_of(heldout_source, known, watch, **files.given({"masks", "boxes"}))
            data = replace(data, heldout=unseen)
        result = sycam.synthesize(
            known,
            layer or layer_of(network),
            image_set,
            metric or ROAD,
            grammar,
            search=search,
            data=data,
            explain=explain,
            require=require or (),
            seed=seed,
            device=device,
            out=out,
            progress=False,
            notify=notify,
            report=False,
        )
    # Before pictures are tried: what the search found must not be lost to a full disk.
    if as_json:
        print(json_text(result.to_dict(), default=str), flush=True)
    else:
        console.print(result_tables(result))
    base = suggested_base(result)
    if result.validation.rows:
        spent = budget.seconds is not None and budget.elapsed > budget.seconds
        explained, unseen = finished[0].explained, finished[0].images
        keep_pictures(result, explained, unseen, not spent, base, _warn)
    if not quiet and not as_json:
        console.print()
        for line in where_kept(result):
            console.print(line, soft_wrap=True)
        if base is not None:
            usual = base == "torch"
            said = "a class that needs only torch" if usual else TARGETS[base].summary
            flag = "" if usual else f" --base {base}"
            console.print(
                f"  sycam export {shown(str(result.path))} -o my_cam.py --name MyCAM{flag}   "
                f"{said}",
                soft_wrap=True,
            )


def _warn(text: str) -> None:
    open_console(stderr=True).print(f"[bold yellow]warning:[/] {shown(text)}", soft_wrap=True)
