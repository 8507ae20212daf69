"""What the engine tells whoever watches; it prints nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sycam.search.enumeration import Level
from sycam.search.selection import Candidate


@dataclass(frozen=True)
class Stage:
    """A piece of work begins; ``total`` is its number of steps, where it is known."""

    text: str
    total: int | None = None


@dataclass(frozen=True)
class Step:
    """So many steps of the current stage are done."""

    done: int


@dataclass(frozen=True)
class Note:
    """Something the user should know."""

    text: str


@dataclass(frozen=True)
class Plan:
    """What the search is about to do.

    Attributes:
        levels: enumerated so far; the last may be incomplete.
        trees: derivation trees of each cost up to the bound.
        candidates: distinct candidates enumerated so far.
        images: search images.
        passes: forward passes a candidate and image, at most.
        measurements: forward and backward passes a candidate and image, at most.
        shared_measurements: the same an image, whatever the number of candidates.
        seconds: measured time to score one candidate on all images.
        budget: in words.
        reachable: candidates that the budget is expected to reach.
        exhausted: whether the enumeration reached the cost bound.
    """

    levels: tuple[Level, ...]
    trees: tuple[int, ...]
    candidates: int
    images: int
    passes: int
    measurements: int
    shared_measurements: int
    seconds: float
    budget: str
    reachable: int
    exhausted: bool


@dataclass(frozen=True)
class Scored:
    """The state of the search after a batch.

    Attributes:
        scored: candidates that entered so far, those resumed included.
        dropped: how many of them dropped out before they saw all images.
        resumed: how many of them came from the journal.
        phase: ``guesses``, ``exhaustive``, ``guided`` or ``constants``.
        cost: of the expressions at work.
        share: estimated share of the work done, 0 to 1.
        elapsed: seconds.
        rate: candidates a second in this go.
        front: the best candidate of each cost that beats all cheaper ones.
        known: published CAMs and controls.
    """

    scored: int
    dropped: int
    resumed: int
    phase: str
    cost: int
    share: float
    elapsed: float
    rate: float
    front: tuple[Candidate, ...]
    known: tuple[Candidate, ...]


@dataclass(frozen=True)
class Validated:
    """The held-out evidence is complete.

    Attributes:
        subject: the :class:`sycam.subject.Subject` explained.
        images: the held-out :class:`sycam.data.images.ImageSet`.
        validation: the :class:`sycam.validation.Validation`.
    """

    subject: object
    images: object
    validation: object


Event = Stage | Step | Note | Plan | Scored | Validated
Notify = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Watch nothing."""
