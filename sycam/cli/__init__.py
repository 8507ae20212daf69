"""The commands; no logic.

No module that the help needs imports torch: ``sycam --help`` answers at once, and a command imports
its work when it runs.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sycam.cli import folders
from sycam.cli.applications.ablate import ablate
from sycam.cli.applications.ensemble import ensemble
from sycam.cli.applications.part import part_app
from sycam.cli.applications.robustness import robustness
from sycam.cli.applications.segment import segment_app
from sycam.cli.diagnosing.doctor import doctor
from sycam.cli.evaluate import evaluate
from sycam.cli.listings import grammars_app, methods_app, metrics_app
from sycam.cli.options.spelling import Command, Root
from sycam.cli.printing.encoding import print_anything
from sycam.cli.recommend import recommend
from sycam.cli.runs import cite, explain, export, report, verify
from sycam.cli.synthesize import synthesize
from sycam.cli.zoo import zoo
from sycam.errors import SycamError
from sycam.support.caches import let_matplotlib_write
from sycam.support.text.terminal import open_console, shown
from sycam.version import __version__

EXIT_CODES = {
    0: "done; a result that does not beat the published CAMs is one, too",
    1: "a claim of verify or a self-check of doctor does not hold, or a fault of SyCAM's own",
    2: "a mistake that you can mend: one message says how",
    130: "ended by Ctrl-C; what was found is kept, and the same command goes on from there",
    143: "the same by SIGTERM, as a container or a scheduler sends it",
}
app = typer.Typer(
    cls=Root,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=" Exit codes:\n" + "\n".join(f"{n:>5}  {said}" for n, said in EXIT_CODES.items()),
)


def _version(asked: bool) -> None:
    if asked:
        print(f"sycam {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Name the property a heatmap should have; get the class activation map that has it."""


# In the order of the help page.
for command in (
    recommend,
    synthesize,
    folders.show,
    report,
    explain,
    evaluate,
    ensemble,
    robustness,
    ablate,
    verify,
    export,
    folders.runs,
    folders.compare,
    cite,
    zoo,
    doctor,
):
    app.command(cls=Command)(command)
app.add_typer(part_app, name="part")
app.add_typer(segment_app, name="segment")
app.add_typer(metrics_app, name="metrics")
app.add_typer(methods_app, name="methods")
app.add_typer(grammars_app, name="grammars")


def main() -> None:
    """Run the command line; a mendable error is one message and exit code 2."""
    print_anything()
    let_matplotlib_write()
    try:
        app()
    except SycamError as error:
        open_console(stderr=True).print(
            # Lines after the first stand back, so that none is taken for a line of ours.
            f"[bold red]error:[/] {shown(error, lines=True)}".replace("\n", "\n  "),
            soft_wrap=True,
        )
        sys.exit(2)
