"""The page of the documentation on all commands: ``python -m sycam.cli.reference``.

``python -m sycam.cli.reference > docs/commands.md`` writes it, from the commands themselves.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from sycam.cli import EXIT_CODES, app

_INTRODUCTION = """\
# Commands

This page is written by `python -m sycam.cli.reference`, from the commands themselves;
`sycam COMMAND --help` says the same. `sycam --install-completion` makes the shell complete commands
and options.
"""

_ENDS = """\
## Exit codes

| code | what it means |
|---|---|
"""


def page() -> str:
    """The page in Markdown: each command with its arguments, options and defaults."""
    root = typer.main.get_command(app)
    commands = list(_commands(root, "sycam"))
    rows = [f"| [`{name}`](#{name.replace(' ', '-')}) | {_first(c)} |" for name, c in commands]
    table = "\n".join(["| command | what it does |", "|---|---|", *rows])
    ends = _ENDS + "".join(f"| {code} | {said} |\n" for code, said in EXIT_CODES.items())
    return "\n".join([_INTRODUCTION, table, "", ends, *(_section(name, c) for name, c in commands)])


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """A command and those under it, except the bare ``sycam``."""
    if " " in name:
        yield name, command
    for word, below in getattr(command, "commands", {}).items():
        yield from _commands(below, f"{name} {word}")


def _section(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join(command.collect_usage_pieces(context))
    said = inspect.cleandoc(command.help or "").replace("\b\n", "")
    lines = [f"## {name}", "", f"`{name} {usage}`", "", _with_examples(said), ""]
    rows = [row for parameter in command.params if (row := _row(parameter))]
    if rows:
        lines += ["| option | default | what it is |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _with_examples(text: str) -> str:
    """Indented commands in a docstring as a fenced block."""
    lines, fenced = [], False
    for line in text.splitlines():
        starts = line.startswith("  ")
        if line.strip() and starts != fenced:
            lines.append("```")
            fenced = starts
        lines.append(line.strip() if starts else line)
    if fenced:
        lines.append("```")
    return "\n".join(lines)


def _row(parameter: Any) -> str:
    if getattr(parameter, "hidden", False) or parameter.name == "help":
        return ""
    argument = parameter.param_type_name == "argument"
    names = [parameter.name.upper()] if argument else parameter.opts + parameter.secondary_opts
    default = parameter.default
    plain = isinstance(default, str | int | float) and not isinstance(default, bool)
    written = "yes" if default is True else f"`{default}`" if plain else ""
    if parameter.required:
        written = "required"
    said = (getattr(parameter, "help", "") or "").replace("|", "\\|")
    if getattr(parameter, "multiple", False) and "repeat" not in said:
        said += "; repeatable"
    return f"| {', '.join(f'`{n}`' for n in names)} | {written} | {said} |"


def _first(command: Any) -> str:
    return (command.help or "").strip().partition("\n")[0]


if __name__ == "__main__":
    print(page(), end="")
