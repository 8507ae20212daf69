"""Masks from image labels alone (AME-CAM), as commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sycam.applications.segmentation.options import MaskOptions, SegmentOptions
from sycam.cli.options import completion
from sycam.cli.options.bridge import with_options
from sycam.cli.options.shared import (
    IMAGES,
    OUTPUT,
    SEARCH,
    WHAT,
    AsJson,
    Checkpoint,
    Count,
    Csv,
    Device,
    Log,
    Network,
    Operators,
    Quiet,
    Seed,
    Source,
)
from sycam.cli.options.spelling import Command, Group
from sycam.cli.printing.watching import console_for, telling
from sycam.data.names import DEMO
from sycam.problem.options import FileOptions
from sycam.support.text.table import check_csv, write_csv
from sycam.support.text.terminal import json_text, shown

AUTO = "auto"
Trained = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="what sycam segment train --out FOLDER kept")
]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--network",
        help="the encoder, where it is of a FILE.py or from Python; its weights are the folder's",
        rich_help_panel=WHAT,
    ),
]
CamLayer = Annotated[
    str,
    typer.Option(
        "--layer",
        help="of the encoder, where a CAM stands that names none; auto: that of the deepest exit",
        rich_help_panel=WHAT,
    ),
]

segment_app = typer.Typer(cls=Group, no_args_is_help=True)


@segment_app.callback()
def segment() -> None:
    """Learn masks from image labels alone (AME-CAM), predict them, judge them by true masks."""


@segment_app.command(cls=Command)
@with_options(without=("masks", "boxes", "groups", "series"))
def train(
    network: Network = DEMO,
    checkpoint: Checkpoint = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            help="after which an exit stands; repeat for several; by default the deepest "
            "layers that a search of the whole network would look at",
            rich_help_panel=WHAT,
        ),
    ] = None,
    *,
    reshape: Annotated[
        str | None,
        typer.Option(
            help="layout of the layers: channels-first, channels-last, tokens:prefix=1,grid=8x16; "
            "by default told by a pass",
            rich_help_panel=WHAT,
        ),
    ] = None,
    foreground: Annotated[
        str | None,
        typer.Option(
            help="classes that show the object, names or numbers, separated by commas; by "
            "default 1 where labels are 0 and 1",
            rich_help_panel=IMAGES,
        ),
    ] = None,
    images: Source = DEMO,
    count: Count = None,
    files: Annotated[FileOptions, IMAGES],
    how: Annotated[SegmentOptions, SEARCH],
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="folder for the segmenter and the state after each epoch, from which the same "
            "command resumes; by default nothing is kept",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    csv: Csv = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log: Log = None,
    device: Device = None,
) -> None:
    """Train exits of an encoder and attention over them, from image labels alone.

    AME-CAM (Chen et al., 2023): a classifier with an exit after several layers, then attention
    over the exits' maps by contrast of foreground and background. No mask is looked at.
    --simclr-epochs pre-trains the encoder on the same images, without their labels.

    Examples:

      sycam segment train --count 256 --epochs 5 --out digits

      sycam segment train --network timm:resnet18 --images scans/ --foreground benign,malignant --out lesions
    """  # noqa: E501 (a command stands on one line)
    # Not at the top: they import torch, for which a page of help does not wait.
    from sycam.applications import train_segmenter
    from sycam.applications.segmentation.segmenter import COLUMNS
    from sycam.cli.options.inputs import network_of

    console = console_for(as_json)
    check_csv(csv)
    kept = "" if out is None else "Finished epochs are kept: the same command resumes."
    with telling("segment train", log, None if quiet else console, kept=kept) as notify:
        known = network_of(network, checkpoint, None, notify)
        trained = train_segmenter(
            known,
            _images(images, known, notify, files),
            foreground,
            layer=layer or AUTO,
            how=how,
            reshape=reshape,
            count=count,
            seed=seed,
            device=device,
            out=out,
            progress=False,
            notify=notify,
        )
    if csv is not None:
        write_csv(csv, COLUMNS, trained.table())
    _show(trained, as_json, quiet, out)


@segment_app.command(cls=Command)
@with_options(without=("masks", "boxes", "groups", "series", "labels"))
def predict(
    folder: Trained,
    network: Encoder = None,
    cam: Annotated[
        str | None,
        typer.Option(
            help="in place of the attended map a CAM of the trained classifier: a name, "
            "METHOD@LAYER, an expression, the folder of a run",
            autocompletion=completion.methods,
            rich_help_panel=WHAT,
        ),
    ] = None,
    layer: CamLayer = AUTO,
    *,
    operators: Operators = None,
    images: Source = DEMO,
    count: Count = None,
    files: Annotated[FileOptions, IMAGES],
    how: Annotated[MaskOptions, SEARCH],
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="folder for masks (PNG and masks.npz), a table and a picture; by default none",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    csv: Csv = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log: Log = None,
    device: Device = None,
) -> None:
    """Cut masks of images.

    Examples:

      sycam segment predict digits --count 16 --out found

      sycam segment predict lesions --images new/ --threshold 0.4 --out found
    """
    from sycam.applications import segment as masks_of
    from sycam.applications.segmentation.prediction import COLUMNS
    from sycam.cli.options.inputs import declare_operators

    console = console_for(as_json)
    check_csv(csv)
    with telling("segment predict", log, None if quiet else console, kept="") as notify:
        declare_operators(operators)
        trained = _load(folder, network, device)
        result = masks_of(
            trained,
            _images(images, trained.known, notify, files),
            cam,
            layer=layer,
            how=how,
            count=count,
            seed=seed,
            out=out,
            progress=False,
            notify=notify,
        )
    if csv is not None:
        write_csv(csv, COLUMNS, result.table())
    _show(result, as_json, quiet, out)


@segment_app.command(cls=Command)
@with_options(without=("groups", "series", "labels"))
def evaluate(
    folder: Trained,
    network: Encoder = None,
    cams: Annotated[
        list[str] | None,
        typer.Option(
            "--cam",
            help="a CAM of the trained classifier to compare with: a name, METHOD@LAYER, an "
            "expression, the folder of a run; repeatable; by default grad-cam and layer-cam",
            autocompletion=completion.methods,
            rich_help_panel=WHAT,
        ),
    ] = None,
    layer: CamLayer = AUTO,
    *,
    operators: Operators = None,
    images: Source = DEMO,
    count: Count = None,
    files: Annotated[FileOptions, IMAGES],
    how: Annotated[MaskOptions, SEARCH],
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="folder for tables and a picture; by default none", rich_help_panel=OUTPUT
        ),
    ] = None,
    csv: Csv = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log: Log = None,
    device: Device = None,
) -> None:
    """Judge masks by true ones: Dice, IoU and HD95, beside single exits, their mean and CAMs.

    Images that the segmenter was trained on are left out.

    Examples:

      sycam segment evaluate digits

      sycam segment evaluate lesions --images scans/ --masks masks/ --cam grad-cam --cam runs/mine --out judged
    """  # noqa: E501 (a command stands on one line)
    from sycam.applications import segmentation_scores
    from sycam.applications.segmentation.evaluation import CAMS, COLUMNS
    from sycam.cli.options.inputs import declare_operators

    console = console_for(as_json)
    check_csv(csv)
    with telling("segment evaluate", log, None if quiet else console, kept="") as notify:
        declare_operators(operators)
        trained = _load(folder, network, device)
        result = segmentation_scores(
            trained,
            _images(images, trained.known, notify, files),
            cams or CAMS,
            layer=layer,
            how=how,
            count=count,
            seed=seed,
            out=out,
            progress=False,
            notify=notify,
        )
    if csv is not None:
        write_csv(csv, COLUMNS, result.table())
    _show(result, as_json, quiet, out, result.remarks)


def _load(folder: Path, network: str | None, device: str | None) -> Any:
    from sycam.applications import Segmenter

    return Segmenter.load(folder, network, device)


def _images(source: str, known: Any, notify: Any, files: FileOptions) -> Any:
    """The images, whose classes need not be the encoder's."""
    from dataclasses import replace

    from sycam.cli.options.inputs import image_set_of

    bare = replace(known, classes=None, class_names=None)
    return image_set_of(source, bare, notify, **files.given())


def _show(
    result: Any, as_json: bool, quiet: bool, out: Path | None, remarks: tuple[str, ...] = ()
) -> None:
    from sycam.report.formula_table import text_table

    if as_json:
        print(json_text(result.to_dict()))
        return
    console = console_for(as_json)
    for title, head, rows in result.tables():
        console.print(text_table(title, head, rows))
    for line in remarks:
        console.print(shown(line))
    if out is not None and not quiet:
        console.print(f"\nKept in [bold]{shown(str(out))}[/]", soft_wrap=True)
