"""The options that several commands share, and how their texts become what the library takes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sycam.data import demo
from sycam.data.images import ImageSet, load_images
from sycam.errors import OptionError
from sycam.evidence.loading import import_file
from sycam.inputs import DEMO

ROAD = "road"

Network = Annotated[str, typer.Option(help="demo, or FILE.py:FACTORY (a function without "
                                      "arguments that returns an nn.Module)")]  # fmt: skip
LayerNames = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        help="target layer by name, auto or last; repeat for several; auto if none, demo's own "
        "for demo",
    ),
]
Reshaped = Annotated[
    str | None, typer.Option("--reshape", help="layout of the layer: tokens or channels-last")
]
Fused = Annotated[
    str, typer.Option("--fusion", help="of several layers: mean, max, product, or weights 0.3,0.7")
]
Source = Annotated[str, typer.Option("--images", help="demo, a FOLDER of images, or a FILE.npz")]
Masks = Annotated[Path | None, typer.Option(help="folder of PNG masks, named as the images")]
Boxes = Annotated[Path | None, typer.Option(help="CSV of boxes: file,x0,y0,x1,y1 in pixels")]
Mean = Annotated[str | None, typer.Option(help="subtracted after /255: one number or R,G,B")]
Std = Annotated[str | None, typer.Option(help="divided by after the mean: one number or R,G,B")]
Size = Annotated[int | None, typer.Option(help="resize the short side, then crop the centre")]
Target = Annotated[
    str,
    typer.Option(
        help="what is explained: predicted, label, a class, probability, rest or contrast, with "
        "options like contrast:of=label,references=3+5,gamma=0.6"
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, …; CUDA where there is one")]
Seed = Annotated[int, typer.Option(help="decides splits, noise, controls and resampling")]
Operators = Annotated[
    list[Path] | None,
    typer.Option(
        "--operators",
        metavar="FILE.py",
        help="your file that declares operators with @sycam.operator; it is run; repeatable",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="print only the result")]


def console_for(as_json: bool) -> Console:
    """Standard output; standard error where standard output carries JSON."""
    return Console(stderr=as_json, highlight=False)


def image_set_of(source: str, **options) -> ImageSet | str:
    return DEMO if source == DEMO else load_images(source, **options)


def declare_operators(files: Sequence[Path] | None) -> None:
    """Run the files in which users declare their operators."""
    for file in files or ():
        import_file(file, "operators", OptionError)


def layer_of(network: str) -> str:
    return demo.LAYER if network == DEMO else "auto"


def numbers(text: str | None, option: str) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise OptionError(
            f"{option} {text!r} is not understood; expected one number or several like "
            "0.485,0.456,0.406"
        ) from None


@contextmanager
def interruptible():
    """Ctrl-C says how to go on instead of a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        Console(stderr=True).print(
            "\nInterrupted. Finished scores are kept: the same command resumes."
        )
        raise typer.Exit(130) from None
