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
from sycam.language.operators import OPERATORS
from sycam.networks import DEMO, NamedNetwork, open_network, read_class_names
from sycam.networks.user_file import import_file
from sycam.problem.images import check_groups_of_scenes, open_source
from sycam.support.terminal import open_console
from sycam.testing import check_operator

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
Source = Annotated[
    str,
    typer.Option(
        "--images",
        help="demo, a FOLDER of images (or of a folder per class), a FILE.csv with columns path "
        "and as wanted label, mask, box, or a FILE.npz",
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
    opened = open_network(network, checkpoint)
    if class_names is not None:
        opened = opened.with_class_names(read_class_names(class_names))
    if opened.weights:
        classes = f", {opened.classes} classes" if opened.classes else ""
        notify(Note(f"network {opened.name}: {opened.weights}{classes}"))
    return opened


def image_set_of(
    source: str, network: NamedNetwork, notify: Notify, **options: Any
) -> ImageSet | ImageSource | str:
    if source == DEMO:
        check_groups_of_scenes(options.get("groups"))
        return DEMO
    return open_source(source, network, notify, **options)


def declare_operators(files: Sequence[Path] | None) -> None:
    """Run the files in which users declare their operators, and check these.

    Raises:
        OptionError: a file cannot be run, or an operator of it does not keep what it declares.
    """
    for file in files or ():
        before = dict(OPERATORS)
        import_file(file, "operators", OptionError)
        for name, op in OPERATORS.items():
            if before.get(name) is op:
                continue
            try:
                check_operator(op)
            except AssertionError as error:
                raise OptionError(f"operators file '{file}': {error}") from None


def layer_of(network: str) -> str:
    return demo.LAYER if network == DEMO else "auto"


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
