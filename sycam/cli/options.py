"""The options that several commands share, and how their texts become what the library takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sycam.cli import completion
from sycam.data import demo
from sycam.data.images import ImageSet, ImageSource
from sycam.errors import OptionError
from sycam.events import Note, Notify
from sycam.networks import DEMO, NamedNetwork, open_network, read_class_names
from sycam.networks.user_file import import_file
from sycam.problem.images import check_groups_of_scenes, open_source
from sycam.support.terminal import open_console

ROAD = "road"

Network = Annotated[
    str,
    typer.Option(
        help="demo, torchvision:NAME or torchvision:NAME@WEIGHTS, timm:NAME, or FILE.py:FACTORY (a "
        "function without arguments that returns an nn.Module)",
        autocompletion=completion.networks,
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        help="your weights for --network: .safetensors, or a state dict saved by torch; a head "
        "with another number of classes is built as the file has it",
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
    typer.Option(help="text file of the network's class names, one a line, in its order"),
]
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
Source = Annotated[
    str,
    typer.Option(
        "--images",
        help="demo, a FOLDER of images (or of a folder a class), a FILE.csv with columns path and "
        "as wanted label, mask, box, or a FILE.npz",
    ),
]
Labels = Annotated[
    str,
    typer.Option(
        help="how a FOLDER's subfolders are classes: names (as the network's), sorted (as "
        "torchvision's ImageFolder numbers them), numbers, none; auto: labels.csv, else names "
        "where they fit",
    ),
]
CorrectOnly = Annotated[
    bool,
    typer.Option(
        "--correct-only",
        help="leave out images that the network classifies wrongly, and say how many; needs labels",
    ),
]
Masks = Annotated[Path | None, typer.Option(help="folder of PNG masks, named as the images")]
Boxes = Annotated[Path | None, typer.Option(help="CSV of boxes: file,x0,y0,x1,y1 in pixels")]
OWN = "; the network's own, where it is known"
Groups = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="column of FILE.csv, or array of FILE.npz, that says what an image belongs to "
        "(patient, video): no such group is on both sides of the split into search and held-out "
        "images",
    ),
]
Mean = Annotated[str | None, typer.Option(help=f"subtracted after /255: one number or R,G,B{OWN}")]
Std = Annotated[
    str | None, typer.Option(help=f"divided by after the mean: one number or R,G,B{OWN}")
]
Size = Annotated[
    int | None, typer.Option(help=f"side of the square cut from the centre, in pixels{OWN}")
]
Resize = Annotated[
    int | None, typer.Option(help="what the short side is resized to before that; SIZE if none")
]
Interpolation = Annotated[
    str | None, typer.Option(help=f"of resizing: nearest, bilinear, bicubic, lanczos{OWN}")
]
Target = Annotated[
    str,
    typer.Option(
        help="what is explained: predicted, label, a class, probability, rest or contrast, with "
        "options like contrast:of=label,references=3+5,gamma=0.6"
    ),
]
Output = Annotated[
    str,
    typer.Option(
        help="what the network returns: logits or probabilities, each also with :softmax (one "
        "class is right) or :sigmoid (every output is a label of its own), like logits:sigmoid; "
        "auto: told by its last step and its outputs",
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
    return open_console(stderr=as_json)


def network_of(
    network: str, checkpoint: Path | None, class_names: Path | None, notify: Notify
) -> NamedNetwork:
    """The network with its weights and class names, told of."""
    found = open_network(network, checkpoint)
    if class_names is not None:
        found = found.with_class_names(read_class_names(class_names))
    if found.weights:
        classes = f", {found.classes} classes" if found.classes else ""
        notify(Note(f"network {found.name}: {found.weights}{classes}"))
    return found


def image_set_of(
    source: str, network: NamedNetwork, notify: Notify, **options: Any
) -> ImageSet | ImageSource | str:
    if source == DEMO:
        check_groups_of_scenes(options.get("groups"))
        return DEMO
    return open_source(source, network, notify, **options)


def reading_of(
    mean: str | None,
    std: str | None,
    size: int | None,
    resize: int | None,
    interpolation: str | None,
) -> dict:
    """What was given of the preprocessing."""
    given = {
        "mean": numbers(mean, "--mean"),
        "std": numbers(std, "--std"),
        "size": size,
        "resize": resize,
        "interpolation": interpolation,
    }
    return {name: value for name, value in given.items() if value is not None}


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
def interruptible() -> Iterator[None]:
    """Ctrl-C says how to go on instead of a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        open_console(stderr=True).print(
            "\nInterrupted. Finished scores are kept: the same command resumes."
        )
        raise typer.Exit(130) from None
