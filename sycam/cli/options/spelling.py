"""Commands whose messages are in their own words (``max_cost`` is ``--max-cost`` there), and which
Ctrl-C and SIGTERM end with exit codes 130 and 143."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from typing import Any

from typer.core import TyperCommand, TyperGroup

from sycam.cli.options.shared import OUTPUT
from sycam.cli.printing.watching import interruptible, terminable
from sycam.support.arguments import spelling
from sycam.support.text.terminal import open_console


class Command(TyperCommand):
    """A command in which messages name its own options."""

    def invoke(self, ctx: Any) -> Any:
        with spelling(partial(_spelt, self.params)), terminable(), interruptible():
            return super().invoke(ctx)

    def get_help_option(self, ctx: Any) -> Any:
        """--help, under the last heading instead of one of its own before all others."""
        shown = super().get_help_option(ctx)
        headings = [getattr(one, "rich_help_panel", None) for one in self.params]
        if shown is not None and all(headings):
            shown.rich_help_panel = OUTPUT if OUTPUT in headings else headings[-1]
        return shown


class Root(TyperGroup):
    """The bare ``sycam``; its epilogue keeps its lines."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        epilogue, self.epilog = self.epilog, None
        super().format_help(ctx, formatter)
        self.epilog = epilogue
        open_console().print(f"{epilogue}\n")


class Group(TyperGroup):
    """The same for a command with others below it, each of which speaks of its own."""

    def invoke(self, ctx: Any) -> Any:
        with spelling(partial(_spelt, self.params)), terminable(), interruptible():
            return super().invoke(ctx)


def _spelt(parameters: Sequence[Any], name: str, value: object, metavar: str) -> str | None:
    """A parameter of the command as it is typed; see :func:`sycam.support.arguments.argument`.

    A parameter is called as its argument in Python, so that the command itself says which flag
    is meant.
    """
    known = {parameter.name: parameter for parameter in parameters}
    if name not in known:
        return None
    if known[name].param_type_name == "argument":
        return name.upper()
    flag = known[name].opts[0]
    if value is ...:
        return f"{flag} {metavar}".rstrip()
    if value is True:  # of a switch, which takes no value
        return flag
    values = value if isinstance(value, list | tuple) else [value]
    return " ".join(f"{flag} {_quoted(str(one))}" for one in values)


def _quoted(text: str) -> str:
    """As a shell reads it; in double quotes where they do, as Windows knows no others."""
    safe = shlex.quote(text)
    return safe if safe == text or set(text) & set('"$`\\!') else f'"{text}"'
