"""Commands that list and show what there is: metrics, methods, grammars.

Each imports what it shows when it runs: that needs torch, for which a page of help does not wait.
"""

from __future__ import annotations

from typing import Annotated

import typer

from sycam.cli.options import completion
from sycam.cli.options.shared import AsJson, Operators
from sycam.cli.options.spelling import Command, Group
from sycam.support.text.terminal import json_text, open_console, shown

metrics_app = typer.Typer(cls=Group, invoke_without_command=True)


@metrics_app.callback()
def metrics(context: typer.Context, as_json: AsJson = False) -> None:
    """List the metrics by what they ask of a heatmap, or show one."""
    if context.invoked_subcommand:
        return
    from sycam.metrics import METRICS, find_metric
    from sycam.report.listings import metrics as show_metrics

    all_metrics = [find_metric(name) for name in METRICS]
    if as_json:
        print(json_text([show_metrics.summary(m) for m in all_metrics]))
    else:
        open_console().print(show_metrics.listing(all_metrics))


@metrics_app.command("show", cls=Command, context_settings={"ignore_unknown_options": True})
def show_metric(
    metric: Annotated[
        str,
        typer.Argument(
            help="NAME, NAME:option=value, FILE.py:NAME, quantus:NAME, or a formula",
            autocompletion=completion.metrics,
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Show one metric: definition, LaTeX, options, how it can be gamed, what it needs, source.

    Example:

      sycam metrics show "0.7*road + 0.3*iou"
    """
    from sycam.metrics import find_metric
    from sycam.report.listings import metrics as show_metrics

    chosen = find_metric(metric)
    if as_json:
        print(json_text(show_metrics.description(chosen)))
    else:
        open_console().print(show_metrics.detail(chosen))


methods_app = typer.Typer(cls=Group, invoke_without_command=True)


@methods_app.callback()
def methods(context: typer.Context, as_json: AsJson = False) -> None:
    """List the published CAMs, baselines, variants and controls, or show one."""
    if context.invoked_subcommand:
        return
    from sycam.methods import METHODS
    from sycam.report.listings import methods as show_methods

    if as_json:
        print(json_text([show_methods.summary(m) for m in METHODS.values()]))
    else:
        open_console().print(show_methods.listing(METHODS.values()))


@methods_app.command("show", cls=Command)
def show_method(
    name: Annotated[
        str,
        typer.Argument(
            help="a method's name, or an expression of your own",
            autocompletion=completion.methods,
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Show one method: formula, LaTeX, what it reads and what that takes, paper."""
    from sycam.methods import find_method
    from sycam.report.listings import methods as show_methods

    method = find_method(name)
    if as_json:
        print(json_text(show_methods.description(method)))
    else:
        open_console().print(show_methods.detail(method))


grammars_app = typer.Typer(cls=Group, invoke_without_command=True)
MaxCost = Annotated[int, typer.Option(min=1, max=30, help="count trees up to this cost")]


@grammars_app.callback()
def grammars(
    context: typer.Context,
    max_cost: MaxCost = 6,
    operators: Operators = None,
    as_json: AsJson = False,
) -> None:
    """List the grammars, or show one: what they measure, and their number of trees by cost."""
    from sycam.cli.options.inputs import declare_operators
    from sycam.grammar import grammar_names, load_grammar
    from sycam.report.listings import grammars as show_grammars

    declare_operators(operators)
    if context.invoked_subcommand:
        return
    all_grammars = [load_grammar(name) for name in grammar_names()]
    all_grammars.sort(key=lambda g: g.tree_counts(max_cost)[::-1])
    if as_json:
        print(json_text([show_grammars.summary(g, max_cost) for g in all_grammars]))
    else:
        open_console().print(show_grammars.listing(all_grammars, max_cost))


@grammars_app.command("show", cls=Command)
def show_grammar(
    grammar: Annotated[
        str, typer.Argument(help="NAME or FILE.lark", autocompletion=completion.grammars)
    ],
    max_cost: MaxCost = 6,
    operators: Operators = None,
    as_json: AsJson = False,
) -> None:
    """Show one grammar: its text, leaves with prices, operators, published CAMs."""
    from sycam.cli.options.inputs import declare_operators
    from sycam.grammar import load_grammar
    from sycam.report.listings import grammars as show_grammars

    declare_operators(operators)
    chosen = load_grammar(grammar)
    if as_json:
        print(json_text(show_grammars.description(chosen, max_cost)))
    else:
        console = open_console()
        console.print(shown(chosen.text, lines=True), soft_wrap=True)
        console.print(show_grammars.detail(chosen, max_cost))
