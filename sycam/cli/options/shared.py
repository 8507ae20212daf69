"""The options that several commands share.

:mod:`sycam.cli.options.inputs` opens what they name: a page of help does not wait for torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sycam.cli.options import completion

ROAD = "road"
WHAT, IMAGES, SEARCH, OUTPUT, DEVICE = "What", "Images", "Search", "Output", "Device"  # headings

Network = Annotated[
    str,
    typer.Option(
        help="demo, torchvision:NAME or torchvision:NAME@WEIGHTS, timm:NAME, or FILE.py:FACTORY (a "
        "function without arguments that returns an nn.Module)",
        autocompletion=completion.networks,
        rich_help_panel=WHAT,
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        help="your weights for --network: .safetensors, or a state dict saved by torch; a head "
        "with another number of classes is built as the file has it",
        rich_help_panel=WHAT,
    ),
]
RunNetwork = Annotated[
    str | None,
    typer.Option(
        "--network",
        help="for a run started from Python, or whose file of weights has moved: as for "
        "synthesize, or with that file, like torchvision:resnet50@best.pth",
    ),
]
MetricFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--metric-file",
        metavar="FILE.py",
        help="a file of the run's metrics that may be imported, which runs it; repeatable",
    ),
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="import, and so run, whatever Python files the run names"),
]
ClassNames = Annotated[
    Path | None,
    typer.Option(
        help="text file of the network's class names, one per line, in its order",
        rich_help_panel=WHAT,
    ),
]
LayerNames = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        help="target layer by name, auto or last; repeat for several; by default auto, "
        "for demo its own",
        rich_help_panel=WHAT,
    ),
]
Source = Annotated[
    str,
    typer.Option(
        "--images",
        help="demo, a FOLDER of images (or of a folder per class), a FILE.csv with columns path "
        "and optionally label, mask, box, or a FILE.npz",
        rich_help_panel=IMAGES,
    ),
]
Count = Annotated[
    int | None,
    typer.Option(
        help="how many of the images, drawn by --seed; by default all", rich_help_panel=IMAGES
    ),
]
Device = Annotated[
    str | None,
    typer.Option(help="cpu, cuda, cuda:1, …; CUDA where there is one", rich_help_panel=DEVICE),
]
Devices = Annotated[
    str | None,
    typer.Option(
        help="cpu, cuda, cuda:1, …; CUDA where there is one; several of this machine, as "
        "cuda:0,cuda:1, have a worker each, or share the workers",
        rich_help_panel=DEVICE,
    ),
]
Workers = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto|ray",
        help="how many processes of this machine score, each on one thread; auto: one per core, "
        "or per GPU; ray: the cluster of RAY_ADDRESS; by default this process alone",
        rich_help_panel=DEVICE,
    ),
]
Seed = Annotated[
    int, typer.Option(help="decides splits, noise, controls and resampling", rich_help_panel=SEARCH)
]
Operators = Annotated[
    list[Path] | None,
    typer.Option(
        "--operators",
        metavar="FILE.py",
        help="your file that declares operators with @sycam.operator; it is run; repeatable",
        rich_help_panel=WHAT,
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="print the result as JSON", rich_help_panel=OUTPUT)
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="print only the result", rich_help_panel=OUTPUT)
]


Log = Annotated[
    Path | None,
    typer.Option(
        "--log",
        metavar="FILE",
        help="append what happens as lines of JSON: time, event and its fields",
        rich_help_panel=OUTPUT,
    ),
]
Csv = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        metavar="FILE",
        help="write the whole table to this file, with all digits",
        rich_help_panel=OUTPUT,
    ),
]
