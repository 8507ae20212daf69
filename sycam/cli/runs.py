"""Commands on a finished run: draw it, verify it, hand it over.

Each imports its work when it runs: that needs torch, for which a page of help does not wait.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import sycam
from sycam.cli.options.shared import (
    AsJson,
    Device,
    MetricFiles,
    Operators,
    Quiet,
    RunNetwork,
    Trust,
)
from sycam.cli.printing.watching import console_for
from sycam.drawing.kinds import COMPARISON, KINDS
from sycam.drawing.style import COLOUR_MAPS, USUAL, Style
from sycam.export.summaries import SUMMARIES
from sycam.support.text.terminal import json_text, open_console, printable


def explain(
    run: Annotated[Path, typer.Argument(help="folder of a run")],
    images: Annotated[list[Path] | None, typer.Argument(help="image files")] = None,
    network: RunNetwork = None,
    out: Annotated[Path | None, typer.Option(help="folder; RUN/explanations by default")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="what to draw: a method's name or an expression; repeatable; by default the "
            "winner, Grad-CAM and the best published CAM"
        ),
    ] = None,
    together: Annotated[
        bool, typer.Option("--together", help="one picture of all images, a row each")
    ] = False,
    animate: Annotated[
        bool,
        typer.Option(
            "--animate",
            help="also a GIF per image: the class as the most relevant pixels are removed",
        ),
    ] = False,
    save: Annotated[
        str,
        typer.Option(
            metavar="KINDS",
            help="which files, separated by commas: "
            + "; ".join(f"{kind}, {what}" for kind, what in KINDS.items()),
        ),
    ] = COMPARISON,
    colour_map: Annotated[
        str, typer.Option(help=f"{', '.join(COLOUR_MAPS)}: their lightness rises evenly")
    ] = USUAL.colour_map,
    opacity: Annotated[
        float, typer.Option(help="share of the heatmap's colour where it is hottest, up to 1")
    ] = USUAL.opacity,
    operators: Operators = None,
    device: Device = None,
    metric_files: MetricFiles = None,
    trust: Trust = False,
) -> None:
    """Draw heatmaps on images, one PNG per image, methods side by side.

    Without images, the first of those that the run held out. Overlays, heatmaps and npy files,
    one per image in a folder of their kind, are the winner's, or of what --method names.

    Examples:

      sycam explain runs/demo-road-1a2b3c4d --together --animate

      sycam explain runs/resnet50-road-1a2b3c4d cat.jpg --method layer-cam --method "relu(G)"

      sycam explain runs/resnet50-road-1a2b3c4d *.jpg --save overlay,heatmap,npy --out maps
    """
    from sycam.cli.options.inputs import declare_operators
    from sycam.report.pictures.explain import explain as draw
    from sycam.report.progress import Watcher

    declare_operators(operators)
    style = Style(colour_map, opacity)
    kinds = [kind.strip() for kind in save.split(",") if kind.strip()]
    with Watcher(open_console(stderr=True)) as watch:
        files = draw(
            sycam.load(run), images or (), network, out, device, method or (), style, together,
            animate, kinds, metric_files or (), trust, watch,
        )  # fmt: skip
    for path in files:
        print(printable(path))


def report(
    run: Annotated[Path, typer.Argument(help="folder of a run")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="the .html file; RUN/report.html by default")
    ] = None,
    operators: Operators = None,
) -> None:
    """Write a run as one HTML page that needs no network: formula, evidence, pictures.

    Example:

      sycam report runs/demo-road-1a2b3c4d
    """
    from sycam.cli.options.inputs import declare_operators
    from sycam.export import suggested_base
    from sycam.report.html import write_report

    declare_operators(operators)
    result = sycam.load(run)
    print(printable(write_report(result, out, suggested_base(result))))


def verify(
    run: Annotated[Path, typer.Argument(help="folder of a run")],
    network: RunNetwork = None,
    operators: Operators = None,
    device: Device = None,
    metric_files: MetricFiles = None,
    trust: Trust = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Derive a run again: its search from the journal, its scores from the network.

    Exit code 1 where a claim does not hold. What cannot be derived is listed as not checked.

    Examples:

      sycam verify runs/resnet50-road-1a2b3c4d

      sycam verify runs/resnet50-road-1a2b3c4d --network torchvision:resnet50@moved/best.pth
    """
    from sycam.cli.options.inputs import declare_operators
    from sycam.cli.printing.tables import verification_table
    from sycam.report.progress import Watcher

    console = console_for(as_json)
    declare_operators(operators)
    with Watcher(None if quiet else console) as watch:
        done = sycam.verify(
            run, network, device=device, notify=watch, metric_files=metric_files or (), trust=trust,
            progress=False,
        )  # fmt: skip
    if as_json:
        checks = [{"claim": c.claim, "holds": c.holds, "found": c.found} for c in done.checks]
        said = {
            "holds": done.holds,
            "checks": checks,
            "unchecked": list(map(asdict, done.unchecked)),
        }
        print(json_text(said))
    else:
        console.print(verification_table(done))
    if not done.holds:
        raise typer.Exit(1)


def export(
    run: Annotated[Path, typer.Argument(help="folder of a run")],
    out: Annotated[Path, typer.Option("--out", "-o", help="the .py, .onnx or .pt2 file to write")],
    name: Annotated[str, typer.Option(help="of the class")] = "SynthesisedCAM",
    base: Annotated[
        str, typer.Option(help="; ".join(f"{name}: {said}" for name, said in SUMMARIES.items()))
    ] = "torch",
    network: RunNetwork = None,
    operators: Operators = None,
    trust: Trust = False,
    new: Annotated[
        bool, typer.Option("--new", help="the best new formula, also where a published CAM won")
    ] = False,
) -> None:
    """Write the winner as a Python class for torch or for a library, or as one graph.

    Examples:

      sycam export runs/demo-road-1a2b3c4d -o road_cam.py --name RoadCAM

      sycam export runs/demo-road-1a2b3c4d -o road_cam.py --name RoadCAM --base grad-cam

      sycam export runs/demo-iou-1a2b3c4d -o model.onnx --base onnx
    """
    from sycam.cli.options.inputs import declare_operators
    from sycam.export import export as export_result

    declare_operators(operators)
    print(printable(export_result(sycam.load(run), out, name, base, network, trust, new)))


def cite(
    run: Annotated[Path, typer.Argument(help="folder of a run")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="the .bib file; by default it is printed")
    ] = None,
) -> None:
    """Print BibTeX of the paper on synthesis, and of the methods and metrics that a run used.

    Example:

      sycam cite runs/demo-road-1a2b3c4d -o sycam.bib
    """
    from sycam.errors import RunError
    from sycam.report.citations import citations
    from sycam.support.files import write_whole

    text = citations(sycam.load(run))
    if out is None:
        print(printable(text, lines=True), end="")
        return
    try:
        write_whole(out, text)
    except OSError as error:
        raise RunError(f"cannot write '{out}': {error}") from None
    print(printable(out))
