"""Options that are declared once: a field of a frozen dataclass, with what a command says of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVarTuple

from sycam.errors import unknown_name

_KEY = "option"


@dataclass(frozen=True)
class Declared:
    """What is said of an option beside its type and default.

    Attributes:
        help: one line for people, as a command prints it.
        keyword: name of the keyword in Python, where the field's name is another.
        flag: name of the command's flag, where the keyword is another.
        text: type of what is typed in a command; the field's own if None.
        read: the typed text to the field's value.
        group: heading of a command's help under which it stands, where it is not that of the other
            fields.
        common: whether it comes before the others under its heading.
        more: further arguments of the command's option: ``metavar``, ``autocompletion``.
    """

    help: str
    keyword: str | None = None
    flag: str | None = None
    text: Any = None
    read: Callable[[Any], Any] | None = None
    group: str | None = None
    common: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)


def option(default: Any, help: str, repr: bool = True, **declared: Any) -> Any:
    """A field that is an option of commands as well; see :class:`Declared`.

    Args:
        repr: whether the object's text shows it.
    """
    return field(default=default, repr=repr, metadata={_KEY: Declared(help, **declared)})


def declared(kind: type) -> dict[str, Declared]:
    """Fields with what is said of them, in order; those without a help are no command's."""
    return {f.name: f.metadata.get(_KEY, Declared("")) for f in fields(kind)}


def keywords(kind: type) -> dict[str, str]:
    """Keyword to field."""
    return {said.keyword or name: name for name, said in declared(kind).items()}


Objects = TypeVarTuple("Objects")


def with_keywords(
    given: Mapping[str, Any], *objects: *Objects, without: Collection[str] = ()
) -> tuple[*Objects]:
    """Option objects, with single options given as keywords in place of theirs.

    Args:
        given: keywords, each a field of one of the objects.
        objects: of dataclasses whose fields may be given.
        without: keywords that mean nothing here.

    Raises:
        OptionError, UnknownNameError: a keyword that is a field of none of them.
    """
    rest = dict(given)
    changed: list[Any] = []  # of the objects' types, in their order
    for one in objects:
        known = {k: v for k, v in keywords(type(one)).items() if k not in without}
        changes = {v: rest.pop(k) for k, v in known.items() if k in rest}
        changed.append(replace(one, **changes) if changes else one)
    if rest:
        names = {k for one in objects for k in keywords(type(one))}.difference(without)
        raise unknown_name("option", next(iter(rest)), sorted(names))
    return tuple(changed)
