"""The main job as a command."""

from __future__ import annotations

from dataclasses import replace
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
from sycam.cli.printing.answers import Asked, keep_asked, told_again
from sycam.cli.printing.watching import (
    INTERRUPTED,
    RESUMES,
    console_for,
    interruptible,
    telling,
    warn,
)
from sycam.data.names import DEMO
from sycam.events import Event, Interrupted, each
from sycam.problem.options import DataOptions, ExplainOptions, FileOptions
from sycam.search.options import SearchOptions
from sycam.support.text.table import check_csv


@with_options()
def synthesize(
    context: typer.Context,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="what to optimise (see: sycam metrics); by default road; repeat for several goals",
            autocompletion=completion.metrics,
            rich_help_panel=WHAT,
        ),
    ] = None,
    network: Network = DEMO,
    checkpoint: Checkpoint = None,
    layer: LayerNames = None,
    grammar: Annotated[
        str | None,
        typer.Option(
            help="NAME or FILE.lark (see: sycam grammars); by default network with layer auto, "
            "gradient with one layer",
            autocompletion=completion.grammars,
            rich_help_panel=WHAT,
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            help="what the winner must also fulfil, like 'class-sensitivity>0.2'; repeatable",
            rich_help_panel=WHAT,
        ),
    ] = None,
    *,
    explain: Annotated[ExplainOptions, WHAT],
    class_names: ClassNames = None,
    operators: Operators = None,
    images: Source = DEMO,
    heldout_source: Annotated[
        str | None,
        typer.Option(
            "--heldout",
            help="FOLDER, FILE.csv or FILE.npz to validate on; else part of --images",
            rich_help_panel=IMAGES,
        ),
    ] = None,
    data: Annotated[DataOptions, IMAGES],
    files: Annotated[FileOptions, IMAGES],
    search: Annotated[SearchOptions, SEARCH],
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="the run's folder; the same command resumes it, or prints it again",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    csv: Csv = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log: Log = None,
    device: Devices = None,
    workers: Workers = None,
) -> None:
    """Search for the formula that scores best, and validate it on unseen images.

    Examples:

      sycam synthesize --metric road

      sycam synthesize --network nets.py:resnet --images photos/ --size 224 --metric insertion

      sycam synthesize --network torchvision:resnet50 --checkpoint my.pth --images val/

      sycam synthesize --network timm:convnext_tiny.fb_in1k --images photos/

      sycam synthesize --network nets.py:unet --images slices.csv --metric iou
    """
    with interruptible(RESUMES):
        asked = None if csv or log else Asked.of(context.params)
        if asked is not None and told_again(asked, out, as_json, quiet):
            return
    # Not at the top: they import torch, for which a page of help does not wait.
    from sycam.cli.options.inputs import image_set_of, layer_of, open_inputs
    from sycam.cli.printing.results import closing_lines, tell, write_candidates
    from sycam.export import suggested_base
    from sycam.report.keeping import keep_pictures
    from sycam.runs.resuming.earlier import settled
    from sycam.validation.findings import Validated

    console, budget = console_for(as_json), search.budget.started()
    validated: list[Validated] = []
    interrupts: list[Interrupted] = []
    check_csv(csv)

    def keep(event: Event) -> None:
        if isinstance(event, Validated):
            validated.append(event)
        if isinstance(event, Interrupted):
            interrupts.append(event)

    goal = (metric or [ROAD])[0]
    with telling("synthesize", log, None if quiet else console, goal) as told:
        notify = each(keep, told)
        known, image_set = open_inputs(
            network, checkpoint, class_names, images, files, operators, notify
        )
        if heldout_source is not None:
            # Masks and boxes beside it are of a table's own columns.
            unseen = image_set_of(heldout_source, known, notify, **files.given({"masks", "boxes"}))
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
            workers=workers,
            out=out,
            progress=False,
            notify=notify,
            report=False,
        )
    # Before pictures are tried: what the search found must not be lost to a full disk.
    tell(result, as_json)
    write_candidates(result, csv)
    base = suggested_base(result)
    if validated and result.validation.rows:  # none of a run that was finished before
        keep_pictures(result, validated[0], budget, base, warn)
    closing = closing_lines(result, base)
    if not quiet and not as_json:
        for line in closing:
            console.print(line, soft_wrap=True)
    if interrupts:
        raise typer.Exit(INTERRUPTED)
    if result.path is not None and settled(result.path, search) is not None:
        keep_asked(result, asked, closing)
