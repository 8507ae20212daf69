"""Adversarial training whose budget per pixel follows a CAM, as commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sycam.applications.adversarial_training.options import (
    PGD,
    AttackOptions,
    BudgetOptions,
    TrainingOptions,
)
from sycam.cli.options import completion
from sycam.cli.options.bridge import with_options
from sycam.cli.options.shared import (
    DEVICE,
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
from sycam.cli.options.spelling import Command, Group
from sycam.cli.printing.watching import console_for, telling
from sycam.data.names import DEMO
from sycam.events import Note
from sycam.problem.options import FileOptions
from sycam.support.text.table import check_csv, write_csv
from sycam.support.text.terminal import json_text, shown

NONE = "none"
Cam = Annotated[
    str,
    typer.Argument(
        help="whose heat says where the budget is EPS: a name, METHOD@LAYER, an expression, the "
        "folder of a run; none: the full budget everywhere",
        autocompletion=completion.methods,
    ),
]
ReshapeText = Annotated[
    str | None,
    typer.Option(
        help="layout of the layer: auto, channels-first, channels-last, "
        "tokens:prefix=1,grid=8x16, or a function FILE.py:NAME to (N,K,h,w)",
        rich_help_panel=WHAT,
    ),
]
Batch = Annotated[int, typer.Option(help="images of a pass", rich_help_panel=DEVICE)]
UNREAD = ("groups", "masks", "boxes")  # nothing is divided, nothing localised

part_app = typer.Typer(cls=Group, no_args_is_help=True)


@part_app.callback()
def part() -> None:
    """Train adversarially with budgets per pixel from a CAM (PART), attack, measure robustness."""


@part_app.command(cls=Command)
@with_options(without=UNREAD)
def train(
    cam: Cam = "grad-cam",
    network: Network = DEMO,
    checkpoint: Checkpoint = None,
    layer: LayerNames = None,
    *,
    reshape: ReshapeText = None,
    class_names: ClassNames = None,
    operators: Operators = None,
    images: Source = DEMO,
    test: Annotated[
        str | None,
        typer.Option(
            help="images on which accuracies are measured in the end, as for --images; those "
            "trained on are left out; by default nothing is measured",
            rich_help_panel=IMAGES,
        ),
    ] = None,
    count: Count = None,
    files: Annotated[FileOptions, IMAGES],
    budget: Annotated[BudgetOptions, SEARCH],
    how: Annotated[TrainingOptions, SEARCH],
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="folder for weights, tables and the state after each epoch, from which the same "
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
    """Train a network adversarially, pixels that a CAM marks with the larger budget.

    PART, and with --objective trades and mart PART-T and PART-M (Zhang et al., 2024). The attack
    is PGD, or with --attack mma the minimum-margin attack. The trained weights are
    OUT/weights.safetensors, which --checkpoint takes.

    Examples:

      sycam part train --epochs 2 --warm-up 1 --test demo --out robust

      sycam part train layer-cam@layer4 --network nets.py:resnet --images train/ --test test/ --out robust --augment

      sycam part train runs/mine --network nets.py:resnet --images train/ --objective trades --out robust
    """  # noqa: E501 (a command stands on one line)
    # Not at the top: they import torch, for which a page of help does not wait.
    from sycam.applications import part as trained_by
    from sycam.applications.adversarial_training.result import COLUMNS
    from sycam.cli.options.inputs import declare_operators, image_set_of, layer_of, network_of

    console = console_for(as_json)
    check_csv(csv)
    kept = "" if out is None else "Finished epochs are kept: the same command resumes."
    with telling("part train", log, None if quiet else console, kept=kept) as notify:
        if out is None:
            notify(Note("the trained weights are kept nowhere: --out names a folder for them"))
        declare_operators(operators)
        known = network_of(network, checkpoint, class_names, notify)
        reading = files.given(without=UNREAD)
        result = trained_by(
            known,
            image_set_of(images, known, notify, **reading),
            None if cam == NONE else cam,
            layer=layer or layer_of(network),
            test=None if test is None else image_set_of(test, known, notify, **reading),
            budget=budget,
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
        write_csv(csv, COLUMNS, result.table())
    _show(result, as_json, out, quiet)


@part_app.command(cls=Command)
@with_options(without=(*UNREAD, "restarts"))
def attack(
    cam: Cam = NONE,
    network: Network = DEMO,
    checkpoint: Checkpoint = None,
    layer: LayerNames = None,
    *,
    reshape: ReshapeText = None,
    class_names: ClassNames = None,
    operators: Operators = None,
    images: Source = DEMO,
    count: Count = None,
    files: Annotated[FileOptions, IMAGES],
    attack: Annotated[
        str,
        typer.Option("--attack", help="pgd, or mma (minimum margin)", rich_help_panel=SEARCH),
    ] = PGD,
    budget: Annotated[BudgetOptions, SEARCH],
    how: Annotated[AttackOptions, SEARCH],
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="folder for the attacked images, a table and a picture; by default none",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    csv: Csv = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log: Log = None,
    device: Device = None,
    batch: Batch = 256,
) -> None:
    """Move images, step by step within budgets, until the network misses their labels.

    OUT/adversarial.npz has the attacked images, which --images takes.

    Examples:

      sycam part attack --count 32 --eps 4/255 --out attacked

      sycam part attack grad-cam --eps-low 0 --network nets.py:resnet --images test/ --out attacked
    """
    from sycam.applications import adversarial_images
    from sycam.applications.adversarial_training.adversarial import COLUMNS
    from sycam.cli.options.inputs import declare_operators, image_set_of, layer_of, network_of

    console = console_for(as_json)
    check_csv(csv)
    with telling("part attack", log, None if quiet else console, kept="") as notify:
        declare_operators(operators)
        known = network_of(network, checkpoint, class_names, notify)
        result = adversarial_images(
            known,
            image_set_of(images, known, notify, **files.given(without=UNREAD)),
            None if cam == NONE else cam,
            layer=layer or layer_of(network),
            attack=attack,
            budget=budget,
            how=how,
            reshape=reshape,
            count=count,
            batch=batch,
            seed=seed,
            device=device,
            out=out,
            progress=False,
            notify=notify,
        )
    if csv is not None:
        write_csv(csv, COLUMNS, result.table())
    _show(result, as_json, out, quiet)


@part_app.command(cls=Command)
@with_options(without=(*UNREAD, "eps_low", "threshold"))
def evaluate(
    network: Network = DEMO,
    checkpoint: Checkpoint = None,
    *,
    class_names: ClassNames = None,
    images: Source = DEMO,
    count: Count = None,
    files: Annotated[FileOptions, IMAGES],
    attacks: Annotated[
        list[str] | None,
        typer.Option(
            "--attack",
            help="pgd, mma or autoattack (an extra: pip install 'sycam[autoattack]'); repeatable; "
            "by default pgd",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    budget: Annotated[BudgetOptions, SEARCH],
    how: Annotated[AttackOptions, SEARCH],
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="folder for the table; by default none", rich_help_panel=OUTPUT),
    ] = None,
    csv: Csv = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log: Log = None,
    device: Device = None,
    batch: Batch = 256,
) -> None:
    """Measure natural accuracy and accuracy under attack.

    Every pixel may be moved by EPS, whatever the network was trained by.

    Examples:

      sycam part evaluate --eps 2/255

      sycam part evaluate --network nets.py:resnet --checkpoint robust/weights.safetensors --images test/ --attack pgd --attack autoattack
    """  # noqa: E501 (a command stands on one line)
    from sycam.applications import robust_accuracy
    from sycam.applications.adversarial_training.accuracy import COLUMNS
    from sycam.cli.options.inputs import image_set_of, network_of

    console = console_for(as_json)
    check_csv(csv)
    with telling("part evaluate", log, None if quiet else console, kept="") as notify:
        known = network_of(network, checkpoint, class_names, notify)
        result = robust_accuracy(
            known,
            image_set_of(images, known, notify, **files.given(without=UNREAD)),
            attacks or PGD,
            budget=budget,
            how=how,
            count=count,
            batch=batch,
            seed=seed,
            device=device,
            out=out,
            progress=False,
            notify=notify,
        )
    if csv is not None:
        write_csv(csv, COLUMNS, result.table())
    _show(result, as_json, out, quiet)


def _show(result: object, as_json: bool, out: Path | None, quiet: bool) -> None:
    from sycam.report.formula_table import text_table

    console = console_for(as_json)
    if as_json:
        print(json_text(result.to_dict()))
        return
    for title, head, rows in result.tables():
        console.print(text_table(title, head, rows))
    if out is not None and not quiet:
        console.print(f"\nKept in [bold]{shown(str(out))}[/]", soft_wrap=True)
