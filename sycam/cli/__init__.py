"""The commands; no logic."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from sycam.cli.doctor import doctor
from sycam.cli.encoding import print_anything
from sycam.cli.evaluate import evaluate
from sycam.cli.listings import grammars_app, methods_app, metrics_app
from sycam.cli.runs import explain, export, report, verify
from sycam.cli.synthesize import synthesize
from sycam.errors import SycamError

app = typer.Typer(
    help="Name the property a heatmap should have; get the class activation map that has it.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
)

# In the order of the help page.
for command in (synthesize, report, explain, evaluate, verify, export, doctor):
    app.command()(command)
app.add_typer(metrics_app, name="metrics")
app.add_typer(methods_app, name="methods")
app.add_typer(grammars_app, name="grammars")


def main() -> None:
    """Run the command line; a mendable error is one message and exit code 2."""
    print_anything()
    try:
        app()
    except SycamError as error:
        Console(stderr=True, highlight=False).print(
            f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True
        )
        sys.exit(2)
