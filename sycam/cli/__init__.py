"""The commands; no logic."""

from __future__ import annotations

import sys

import typer

from sycam.cli.doctor import doctor
from sycam.cli.encoding import print_anything
from sycam.cli.evaluate import evaluate
from sycam.cli.listings import grammars_app, methods_app, metrics_app
from sycam.cli.runs import cite, explain, export, report, verify
from sycam.cli.spelling import Command
from sycam.cli.synthesize import synthesize
from sycam.errors import SycamError
from sycam.support.terminal import open_console, shown

app = typer.Typer(
    help="Name the property a heatmap should have; get the class activation map that has it.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
)

# In the order of the help page.
for command in (synthesize, report, explain, evaluate, verify, export, cite, doctor):
    app.command(cls=Command)(command)
app.add_typer(metrics_app, name="metrics")
app.add_typer(methods_app, name="methods")
app.add_typer(grammars_app, name="grammars")


def main() -> None:
    """Run the command line; a mendable error is one message and exit code 2."""
    print_anything()
    try:
        app()
    except SycamError as error:
        open_console(stderr=True).print(
            # Lines after the first stand back, so that none is taken for a line of ours.
            f"[bold red]error:[/] {shown(error, lines=True)}".replace("\n", "\n  "),
            soft_wrap=True,
        )
        sys.exit(2)
