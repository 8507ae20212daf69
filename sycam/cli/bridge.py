"""Options of commands from option objects: one declaration, in Python and on the command line."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Collection
from dataclasses import fields, is_dataclass
from typing import Annotated, Any

import typer

from sycam.support.options import Declared, declared


def with_options(*, without: Collection[str] = ()) -> Callable[[Callable], Callable]:
    """A command that takes the options of its option objects, and is called with the objects.

    Each parameter whose type is a dataclass of declared options is replaced, in its place, by
    their flags.

    Args:
        without: fields that are no options of this command.
    """

    def decorate(function: Callable) -> Callable:
        signature = inspect.signature(function, eval_str=True)
        parameters, kinds = [], {}
        for parameter in signature.parameters.values():
            kind = parameter.annotation
            if isinstance(kind, type) and is_dataclass(kind):
                kinds[parameter.name] = kind
                parameters += _parameters(kind, without)
            else:
                parameters.append(parameter)

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


def _parameters(kind: type, without: Collection[str]) -> list[inspect.Parameter]:
    hints, defaults = typing.get_type_hints(kind), {f.name: f.default for f in fields(kind)}
    parameters = []
    for name, said in _options(kind, without).items():
        text, default = said.text or hints[name], defaults[name]
        if typing.get_origin(text) is list:
            text, default = text | None, None
        # Typer makes a flag of the keyword. A switch that is off needs none that switches it off.
        flag = said.flag or _keyword(name, said)
        names = [f"--{flag.replace('_', '-')}"] if said.flag or default is False else []
        told = typer.Option(*names, help=said.help, **said.more)
        annotation = Annotated[text, told]  # type: ignore[valid-type]
        parameters.append(
            inspect.Parameter(
                _keyword(name, said),  # by which messages name it, see sycam.cli.spelling
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=annotation,
            )
        )
    return parameters


def _object(kind: type, given: dict[str, Any], without: Collection[str]) -> Any:
    """The option object of what was typed, which is taken out of ``given``."""
    values: dict[str, Any] = {}
    for name, said in _options(kind, without).items():
        value = given.pop(_keyword(name, said))
        if value is None:  # the field's own default
            continue
        values[name] = value if said.read is None else said.read(value)
    return kind(**values)
