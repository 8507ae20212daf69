"""What a run tells whoever watches it of itself: it has a folder, it is finished, it failed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sycam.events import Event
from sycam.runs.record import Settings
from sycam.runs.result import Result


@dataclass(frozen=True)
class Opened(Event):
    """All that was given can be used, and the search begins.

    Attributes:
        folder: of the run.
        settings: what was asked for.
        network: its name.
        layers: names of those that are explained.
        search_images, heldout_images: how many.
    """

    folder: Path
    settings: Settings
    network: str
    layers: tuple[str, ...]
    search_images: int
    heldout_images: int


@dataclass(frozen=True)
class Finished(Event):
    """The result is in its folder, with pictures and page where they were asked for."""

    result: Result


@dataclass(frozen=True)
class Failed(Event):
    """No result is returned; ``error`` is what is raised."""

    error: BaseException
