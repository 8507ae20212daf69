"""What long work tells whoever watches it; it prints nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

INTERRUPT = "interrupt"
"""Why a piece of work ended that Ctrl-C ended, as it is recorded."""


class Event:
    """Something that whoever watches may show."""


@dataclass(frozen=True)
class Stage(Event):
    """A piece of work begins; ``total`` is its number of steps, where it is known."""

    text: str
    total: int | None = None


@dataclass(frozen=True)
class Step(Event):
    """So many steps of the current stage are done."""

    done: int


@dataclass(frozen=True)
class Note(Event):
    """Something the user should know."""

    text: str


@dataclass(frozen=True)
class Interrupted(Note):
    """Ctrl-C ended a piece of work early; what there is of it is kept, and the rest goes on."""


Notify = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Watch nothing."""


def each(*watchers: Notify) -> Notify:
    """Several that watch, as one."""

    def notify(event: Event) -> None:
        for watch in watchers:
            watch(event)

    return notify


def once(notify: Notify) -> Notify:
    """The same watcher, told each note but once, for work that comes upon it several times."""
    said: set[str] = set()

    def tell(event: Event) -> None:
        if isinstance(event, Note):
            if event.text in said:
                return
            said.add(event.text)
        notify(event)

    return tell
