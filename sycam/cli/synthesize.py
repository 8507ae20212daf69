"""The main job as a command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

import sycam
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
    Groups,
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
from sycam.data.images import ImageSet
from sycam.errors import SycamError
from sycam.problem.explained_network import ExplainedNetwork
from sycam.problem.images import DEMO
from sycam.report.explain import overview
from sycam.report.html import keep_curves, keep_gallery, write_report
from sycam.report.progress import Watcher
from sycam.report.tables import result_tables
from sycam.runs.pictures import draw_front, draw_heldout
from sycam.runs.result import Result
from sycam.search.selection.select import DEFAULT_RULE, RULES
from sycam.support.terminal import json_text, open_console, shown
from sycam.validation.validate import Validated

PAGE = "all of it on one page"


def synthesize(
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="what to optimise (see: sycam metrics), road if none; repeat for a Pareto front",
            autocompletion=completion.metrics,
        ),
    ] = None,
    grammar: Annotated[
        str,
        typer.Option(
            help="NAME or FILE.lark (see: sycam grammars)", autocompletion=completion.grammars
        ),
    ] = "gradient",
    operators: Operators = None,
    network: Network = DEMO,
    checkpoint: Checkpoint = None,
    class_names: ClassNames = None,
    layer: LayerNames = None,
    reshape: Reshaped = None,
    fusion: Fused = "mean",
    images: Source = DEMO,
    labels: Labels = "auto",
    heldout: Annotated[
        str | None,
        typer.Option(help="FOLDER, FILE.csv or FILE.npz to validate on; else part of --images"),
    ] = None,
    masks: Masks = None,
    boxes: Boxes = None,
    groups: Groups = None,
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    resize: Resize = None,
    interpolation: Interpolation = None,
    search_images: Annotated[int, typer.Option(help="how many images to search on")] = 64,
    heldout_images: Annotated[int, typer.Option(help="how many images to validate on")] = 256,
    correct_only: CorrectOnly = False,
    mode: Annotated[
        str,
        typer.Option(
            help="race: drop poor candidates early, then go beyond the cost bound; exact: every "
            "candidate to the cost bound; guided: beyond the bound at once",
        ),
    ] = "race",
    max_cost: Annotated[int, typer.Option(help="highest cost that is enumerated")] = 4,
    budget: Annotated[str, typer.Option(help="90s, 20m, 2h, or a number of candidates")] = "5m",
    target: Target = "predicted",
    output: Output = "auto",
    require: Annotated[
        list[str] | None,
        typer.Option(
            help="what the winner must be besides, like 'class-sensitivity>0.2'; repeatable"
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="of the network while searching: float32 or bfloat16 (verified)")
    ] = "float32",
    guess: Annotated[
        list[str] | None, typer.Option(help="an expression to try first; repeatable")
    ] = None,
    threshold: Annotated[
        str | None, typer.Option(help="end at the first expression above: a number, best-published")
    ] = None,
    select: Annotated[
        str, typer.Option(help=f"how the winner is chosen: {', '.join(RULES)}")
    ] = DEFAULT_RULE,
    delta: Annotated[
        float, typer.Option(help="of a race: probability of losing the best, at most")
    ] = 0.05,
    tolerance: Annotated[
        float | None, typer.Option(help="of a race: what is better by less may be lost")
    ] = None,
    equivalence: Annotated[
        str, typer.Option(help="which expressions count as one: values, metric, both or none")
    ] = "values",
    sampler: Annotated[
        str, typer.Option(help="beyond the cost bound: grammar, tpe, random or evolution")
    ] = "grammar",
    storage: Annotated[
        str | None, typer.Option(help="URL of an Optuna storage that several runs share")
    ] = None,
    constants: Annotated[
        bool, typer.Option(help="tune constants of the leaders at the end")
    ] = True,
    scope: Annotated[
        str, typer.Option(help="global, or per-class: besides, the best for each class")
    ] = "global",
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
    console = console_for(as_json)
    finished: list[Validated] = []
    declare_operators(operators)
    with interruptible(), Watcher(None if quiet else console, (metric or [ROAD])[0]) as watch:

        def notify(event: object) -> None:
            if isinstance(event, Validated):
                finished.append(event)
            watch(event)

        known = network_of(network, checkpoint, class_names, watch)
        reading = reading_of(mean, std, size, resize, interpolation) | {"labels": labels}
        if groups is not None:
            reading["groups"] = groups
        image_set = image_set_of(images, known, watch, masks=masks, boxes=boxes, **reading)
        unseen = image_set_of(heldout, known, watch, **reading) if heldout else heldout_images
        result = sycam.synthesize(
            known,
            layer or layer_of(network),
            image_set,
            metric=metric or ROAD,
            grammar=grammar,
            max_cost=max_cost,
            mode=mode,
            guess=guess or (),
            threshold=threshold,
            select=select,
            delta=delta,
            tolerance=tolerance,
            equivalence=equivalence,
            sampler=sampler,
            storage=storage,
            constants=constants,
            scope=scope,
            budget=budget,
            search_images=search_images,
            heldout=unseen,
            correct_only=correct_only,
            target=target,
            output=output,
            device=device,
            seed=seed,
            reshape=reshape,
            fusion=fusion,
            require=require or (),
            precision=precision,
            out=out,
            notify=notify,
        )
    # Before pictures are tried: what the search found must not be lost to a full disk.
    if as_json:
        print(json_text(result.to_dict(), default=str), flush=True)
    else:
        console.print(result_tables(result))
    pictures = _pictures(result, finished[0].explained, finished[0].images)
    if not quiet and not as_json:
        console.print(f"\nKept in [bold]{shown(str(result.path))}[/]", soft_wrap=True)
        for said, picture in pictures.items():
            if isinstance(picture, Path):
                console.print(f"  {shown(str(picture))}   {said}", soft_wrap=True)
        if result.best is not None:
            console.print(
                f"  sycam export {shown(str(result.path))} -o my_cam.py --name MyCAM   "
                "a class that needs only torch",
                soft_wrap=True,
            )


def _pictures(result: Result, explained: ExplainedNetwork, unseen: ImageSet) -> dict[str, object]:
    """Draw what belongs to a finished run; what fails becomes a warning.

    Returns:
        What was made, by what is said of it; the page, which holds the others, first.
    """
    works: dict[str, Callable[[], object]] = {
        "heatmaps on held-out images": lambda: overview(result, explained, unseen),
        "the gallery": lambda: keep_gallery(result, explained, unseen),
        "figures and costs of the front": lambda: draw_front(result),
        "search against held-out figures": lambda: draw_heldout(result),
        "the curves of removal": lambda: [keep_curves(result, explained, unseen)],
        PAGE: lambda: write_report(result),
    }
    if result.best is None:
        del works["heatmaps on held-out images"], works["the gallery"]
    made: dict[str, object] = {PAGE: None}
    for said, work in works.items():
        try:
            made[said] = work()
        except Exception as error:  # whatever it is, the result stands
            known = isinstance(error, SycamError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            open_console(stderr=True).print(
                f"[bold yellow]warning:[/] not drawn: {said}: {shown(reason)}", soft_wrap=True
            )
    return made
