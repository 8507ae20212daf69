"""Options of commands from option objects: one declaration, in Python and on the command line."""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable, Collection
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import Annotated, Any

import typer

from sycam.support.options import Declared, declared


def with_options(*, without: Collection[str] = ()) -> Callable[[Callable], Callable]:
    """A command that takes the options of its option objects, and is called with the objects.

    Each parameter whose type is a dataclass of declared options is replaced, in its place, by
    their flags; as ``Annotated[kind, "heading"]`` they stand under that heading in the help.

    Args:
        without: fields that are no options of this command.
    """

    def decorate(function: Callable) -> Callable:
        signature = inspect.signature(function, eval_str=True)
        parameters, kinds, apart = [], {}, []
        for parameter in signature.parameters.values():
            kind, heading = parameter.annotation, None
            if typing.get_origin(kind) is Annotated and is_dataclass(typing.get_args(kind)[0]):
                kind, heading = typing.get_args(kind)
            if isinstance(kind, type) and is_dataclass(kind):
                kinds[parameter.name] = kind
                own = _parameters(kind, without, heading)
                # Headings come in the order of the first option under them.
                apart += [p for p in own if _heading(p) != heading]
                parameters += [p for p in own if _heading(p) == heading]
            else:
                parameters.append(parameter)

        parameters += apart

        @functools.wraps(function)
        def command(**given: Any) -> Any:
            objects = {name: _object(kind, given, without) for name, kind in kinds.items()}
            return function(**given, **objects)

        # What typer reads, in place of the function's own.
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def _options(kind: type, without: Collection[str]) -> dict[str, Declared]:
    said = declared(kind).items()
    return {name: one for name, one in said if one.help and name not in without}


def _keyword(name: str, said: Declared) -> str:
    return said.keyword or name


def _parameters(
    kind: type, without: Collection[str], heading: str | None
) -> list[inspect.Parameter]:
    options, defaults = _options(kind, without), {f.name: f.default for f in fields(kind)}
    # Only of those that are typed as they stand: the types of others may need torch.
    typed = {n: kind.__annotations__[n] for n, said in options.items() if said.text is None}
    known = vars(sys.modules[kind.__module__])
    hints = typing.get_type_hints(SimpleNamespace(__annotations__=typed), known)
    parameters = []
    for name, said in sorted(options.items(), key=lambda one: not one[1].common):
        text, default = said.text or hints[name], defaults[name]
        if typing.get_origin(text) is list:
            text, default = text | None, None
        # Typer makes a flag of the keyword. A switch that is off needs none that switches it off.
        flag = said.flag or _keyword(name, said)
        flags = [f"--{flag.replace('_', '-')}"] if said.flag or default is False else []
        told = typer.Option(
            *flags, help=said.help, rich_help_panel=said.group or heading, **said.more
        )
        annotation = Annotated[text, told]  # type: ignore[valid-type]
        parameters.append(
            inspect.Parameter(
                _keyword(name, said),  # by which messages name it, see sycam.cli.options.spelling
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=annotation,
            )
        )
    return parameters


def _heading(parameter: inspect.Parameter) -> str | None:
    return typing.get_args(parameter.annotation)[1].rich_help_panel


def _object(kind: type, given: dict[str, Any], without: Collection[str]) -> Any:
    """The option object of what was typed, which is taken out of ``given``."""
    values: dict[str, Any] = {}
    for name, said in _options(kind, without).items():
        value = given.pop(_keyword(name, said))
        if value is None:  # the field's own default
            continue
        values[name] = value if said.read is None else said.read(value)
    return kind(**values)
