"""The commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

import sycam
from sycam.data import demo
from sycam.data.images import ImageSet, load_images
from sycam.errors import OptionError, SycamError
from sycam.evaluation import evaluate as evaluate_methods
from sycam.evidence.loading import import_file
from sycam.export import export as export_result
from sycam.inputs import DEMO
from sycam.language import grammar_names, load_grammar
from sycam.methods import METHODS, find_method
from sycam.metrics import METRICS, find_metric
from sycam.report import console as show
from sycam.report import grammars as show_grammars
from sycam.report import methods as show_methods
from sycam.report import metrics as show_metrics
from sycam.report.explain import explain as draw
from sycam.report.explain import overview
from sycam.report.run_pictures import draw_front, draw_heldout
from sycam.search.events import Validated
from sycam.search.selection import DEFAULT_RULE, RULES

app = typer.Typer(
    help="Name the property a heatmap should have; get the class activation map that has it.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
)

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


@app.command()
def synthesize(
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="what to optimise (see: sycam metrics), road if none; repeat for a Pareto front"
        ),
    ] = None,
    grammar: Annotated[str, typer.Option(help="NAME or FILE.lark (see: sycam grammars)")] = (
        "gradient"
    ),
    operators: Operators = None,
    network: Network = DEMO,
    layer: LayerNames = None,
    reshape: Reshaped = None,
    fusion: Fused = "mean",
    images: Source = DEMO,
    heldout: Annotated[
        str | None, typer.Option(help="FOLDER or FILE.npz to validate on; else part of --images")
    ] = None,
    masks: Masks = None,
    boxes: Boxes = None,
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    search_images: Annotated[int, typer.Option(help="how many images to search on")] = 64,
    heldout_images: Annotated[int, typer.Option(help="how many images to validate on")] = 256,
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
    """
    console = _console(as_json)
    finished: list[Validated] = []
    _declare(operators)
    with _interruptible(), show.Watcher(None if quiet else console, (metric or [ROAD])[0]) as watch:

        def notify(event) -> None:
            if isinstance(event, Validated):
                finished.append(event)
            watch(event)

        scale = {"mean": _numbers(mean, "--mean"), "std": _numbers(std, "--std"), "size": size}
        image_set = _images(images, masks=masks, boxes=boxes, **scale)
        result = sycam.synthesize(
            network,
            layer or _layer(network),
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
            heldout=load_images(heldout, **scale) if heldout else heldout_images,
            target=target,
            device=device,
            seed=seed,
            reshape=reshape,
            fusion=fusion,
            require=require or (),
            precision=precision,
            out=out,
            notify=notify,
        )
    pictures = {"figures and costs of the front": draw_front(result),
                "search against held-out figures": draw_heldout(result)}  # fmt: skip
    if result.best is not None:
        picture = overview(result, finished[0].subject, finished[0].images)
        pictures = {"heatmaps on held-out images": picture} | pictures
    if as_json:
        print(json.dumps(result.to_dict(), ensure_ascii=False, default=str))
        return
    console.print(show.result_tables(result))
    if not quiet:
        console.print(f"\nKept in [bold]{escape(str(result.path))}[/]", soft_wrap=True)
        for said, picture in pictures.items():
            if picture:
                console.print(f"  {escape(str(picture))}   {said}", soft_wrap=True)
        if result.best is not None:
            console.print(
                f"  sycam export {escape(str(result.path))} -o my_cam.py --name MyCAM   "
                "a class that needs only torch",
                soft_wrap=True,
            )


@app.command()
def explain(
    run: Annotated[Path, typer.Argument(help="folder of a run")],
    images: Annotated[list[Path] | None, typer.Argument(help="image files")] = None,
    network: Annotated[
        str | None, typer.Option(help="FILE.py:FACTORY, for a run started from Python")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="folder; RUN/explanations by default")] = None,
    operators: Operators = None,
    device: Device = None,
) -> None:
    """Draw the winner's heatmaps beside Grad-CAM's, one PNG an image."""
    _declare(operators)
    for path in draw(sycam.load(run), images or (), network, out, device):
        print(path)


@app.command()
def evaluate(
    methods: Annotated[
        list[str] | None,
        typer.Argument(help="names or expressions; all methods without dear leaves if none"),
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(help="repeat for several")] = None,
    operators: Operators = None,
    network: Network = DEMO,
    layer: LayerNames = None,
    reshape: Reshaped = None,
    fusion: Fused = "mean",
    images: Source = DEMO,
    masks: Masks = None,
    boxes: Boxes = None,
    mean: Mean = None,
    std: Std = None,
    size: Size = None,
    target: Target = "predicted",
    device: Device = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score named methods and expressions under metrics, as a table.

    Example:

      sycam evaluate grad-cam "mean(relu(G)) * max(A)" --metric road --metric deletion
    """
    console = _console(as_json)
    _declare(operators)
    with _interruptible(), show.Watcher(None if quiet else console) as watch:
        scale = {"mean": _numbers(mean, "--mean"), "std": _numbers(std, "--std"), "size": size}
        table = evaluate_methods(
            network,
            layer or _layer(network),
            _images(images, masks=masks, boxes=boxes, **scale),
            methods or None,
            metric or [ROAD],
            target=target,
            device=device,
            seed=seed,
            reshape=reshape,
            fusion=fusion,
            notify=watch,
        )
    if as_json:
        print(json.dumps(table.to_dict(), ensure_ascii=False))
    else:
        console.print(show.evaluation_table(table))


@app.command()
def verify(
    run: Annotated[Path, typer.Argument(help="folder of a run")],
    operators: Operators = None,
    device: Device = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Derive a run again: its search from the journal, its scores from the network.

    Exit code 1 where a claim does not hold.
    """
    console = _console(as_json)
    _declare(operators)
    with show.Watcher(None if quiet else console) as watch:
        done = sycam.verify(run, device=device, notify=watch)
    if as_json:
        checks = [{"claim": c.claim, "holds": c.holds, "found": c.found} for c in done.checks]
        print(json.dumps({"holds": done.holds, "checks": checks}, ensure_ascii=False))
    else:
        console.print(show.verification_table(done))
    if not done.holds:
        raise typer.Exit(1)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="folder of a run")],
    out: Annotated[Path, typer.Option("--out", "-o", help="the .py file to write")],
    name: Annotated[str, typer.Option(help="of the class")] = "SynthesisedCAM",
    operators: Operators = None,
) -> None:
    """Write the winner as a Python class that needs only torch."""
    _declare(operators)
    print(export_result(sycam.load(run), out, name))


metrics_app = typer.Typer(invoke_without_command=True)
app.add_typer(metrics_app, name="metrics")


@metrics_app.callback()
def metrics(context: typer.Context, as_json: AsJson = False) -> None:
    """List the metrics by what they ask of a heatmap, or show one."""
    if context.invoked_subcommand:
        return
    found = [find_metric(name) for name in METRICS]
    if as_json:
        print(json.dumps([show_metrics.summary(m) for m in found], ensure_ascii=False))
    else:
        Console(highlight=False).print(show_metrics.listing(found))


@metrics_app.command("show", context_settings={"ignore_unknown_options": True})
def show_metric(
    metric: Annotated[
        str, typer.Argument(help="NAME, NAME:option=value, FILE.py:NAME, or a formula of these")
    ],
    as_json: AsJson = False,
) -> None:
    """Show one metric: definition, LaTeX, options, how it can be gamed, what it needs, source.

    Example:

      sycam metrics show "0.7*road + 0.3*iou"
    """
    found = find_metric(metric)
    if as_json:
        print(json.dumps(show_metrics.description(found), ensure_ascii=False))
    else:
        Console(highlight=False).print(show_metrics.detail(found))


methods_app = typer.Typer(invoke_without_command=True)
app.add_typer(methods_app, name="methods")


@methods_app.callback()
def methods(context: typer.Context, as_json: AsJson = False) -> None:
    """List the published CAMs, baselines, variants and controls, or show one."""
    if context.invoked_subcommand:
        return
    if as_json:
        print(json.dumps([show_methods.summary(m) for m in METHODS.values()], ensure_ascii=False))
    else:
        Console(highlight=False).print(show_methods.listing(METHODS.values()))


@methods_app.command("show")
def show_method(
    name: Annotated[str, typer.Argument(help="a method's name, or an expression of your own")],
    as_json: AsJson = False,
) -> None:
    """Show one method: formula, LaTeX, what it reads and what that takes, paper."""
    method = find_method(name)
    if as_json:
        print(json.dumps(show_methods.description(method), ensure_ascii=False))
    else:
        Console(highlight=False).print(show_methods.detail(method))


grammars_app = typer.Typer(invoke_without_command=True)
app.add_typer(grammars_app, name="grammars")
MaxCost = Annotated[int, typer.Option(min=1, max=30, help="count trees up to this cost")]


@grammars_app.callback()
def grammars(
    context: typer.Context,
    max_cost: MaxCost = 6,
    operators: Operators = None,
    as_json: AsJson = False,
) -> None:
    """List the grammars, or show one: what they measure, and their number of trees by cost."""
    _declare(operators)
    if context.invoked_subcommand:
        return
    found = [load_grammar(name) for name in grammar_names()]
    found.sort(key=lambda g: g.tree_counts(max_cost)[::-1])
    if as_json:
        print(json.dumps([show_grammars.summary(g, max_cost) for g in found]))
    else:
        Console(highlight=False).print(show_grammars.listing(found, max_cost))


@grammars_app.command("show")
def show_grammar(
    grammar: Annotated[str, typer.Argument(help="NAME or FILE.lark")],
    max_cost: MaxCost = 6,
    operators: Operators = None,
    as_json: AsJson = False,
) -> None:
    """Show one grammar: its text, leaves with prices, operators, published CAMs."""
    _declare(operators)
    found = load_grammar(grammar)
    if as_json:
        print(json.dumps(show_grammars.description(found, max_cost), ensure_ascii=False))
    else:
        console = Console(highlight=False)
        console.print(escape(found.text), soft_wrap=True)
        console.print(show_grammars.detail(found, max_cost))


def _console(as_json: bool) -> Console:
    """Standard output; standard error where standard output carries JSON."""
    return Console(stderr=as_json, highlight=False)


def _images(source: str, **options) -> ImageSet | str:
    return DEMO if source == DEMO else load_images(source, **options)


def _declare(files: Sequence[Path] | None) -> None:
    """Run the files in which users declare their operators."""
    for file in files or ():
        import_file(file, "operators", OptionError)


def _layer(network: str) -> str:
    return demo.LAYER if network == DEMO else "auto"


def _numbers(text: str | None, option: str) -> list[float] | None:
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
def _interruptible():
    """Ctrl-C says how to go on instead of a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        Console(stderr=True).print(
            "\nInterrupted. Finished scores are kept: the same command resumes."
        )
        raise typer.Exit(130) from None


def main() -> None:
    """Run the command line; a mendable error is one message and exit code 2."""
    try:
        app()
    except SycamError as error:
        Console(stderr=True, highlight=False).print(
            f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
