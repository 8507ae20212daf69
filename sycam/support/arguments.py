"""Arguments as messages name them: as Python writes them, or as the running command takes them.

A message names an argument by :func:`argument` and is then in the words of whoever called,
wherever its text goes: into an error that is raised again with more said, into a note, into a
pickle. Only what a run keeps in its record must not name arguments so, as a run that a command
made is verified in Python, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Spelling = Callable[[str, object, str], str | None]
"""Name, value and placeholder of :func:`argument` to its text; None for names that it lacks."""

_spelling: ContextVar[Spelling | None] = ContextVar("spelling", default=None)  # None: Python's


def argument(name: str, value: object = ..., *, metavar: str = "", python: str = "") -> str:
    """An argument, or an argument with a value, as whoever reads the message writes it.

    Args:
        name: as Python has it, ``"max_cost"``.
        value: what it should be, where the message says so.
        metavar: what stands for a value that the user must choose, where a command's option is
            followed by one.
        python: what is said in Python, where nothing has this name there.

    >>> argument("max_cost"), argument("output", "logits")
    ('max_cost', "output='logits'")
    """
    spell = _spelling.get()
    spelt = None if spell is None else spell(name, value, metavar)
    if spelt is not None:
        return spelt
    return python or (name if value is ... else f"{name}={value!r}")


@contextmanager
def spelling(spell: Spelling) -> Iterator[None]:
    """Within it messages name arguments so."""
    token = _spelling.set(spell)
    try:
        yield
    finally:
        _spelling.reset(token)
