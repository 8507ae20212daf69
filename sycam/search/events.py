"""What a search tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass

from sycam.events import Event
from sycam.search.enumeration.enumerator import Level
from sycam.search.selection.select import Candidate


@dataclass(frozen=True)
class Plan(Event):
    """What the search is about to do.

    Attributes:
        levels: enumerated so far; the last may be incomplete.
        trees: derivation trees of each cost up to the bound.
        candidates: distinct candidates enumerated so far.
        images: search images.
        passes: forward passes per candidate and image, at most.
        measurements: forward and backward passes per candidate and image, at most.
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
class Forecast(Event):
    """What the whole command will take, in seconds, as soon as that is known.

    Attributes:
        known: scoring the published CAMs and controls on all search images.
        evidence: all of the held-out evidence.
        kept: what is kept for it of a budget in time.
        left: of the budget, from now to its end; None where it is no time.
        budget: in words.
    """

    known: float
    evidence: float
    kept: float
    left: float | None
    budget: str


@dataclass(frozen=True)
class Scored(Event):
    """The state of the search after a batch.

    Attributes:
        scored: candidates that entered so far, those resumed included.
        dropped: how many of them dropped out before they saw all images.
        resumed: how many of them came from the journal.
        phase: ``guesses``, ``exhaustive``, ``guided``, ``constants`` or ``simplified``.
        cost: of the expressions at work.
        share: estimated share of the work done, 0 to 1.
        elapsed: seconds.
        rate: candidates per second in this session.
        front: the best candidate of each cost that beats all cheaper ones.
        known: published CAMs and controls.
        hypervolume: of the front of several goals, in units of what is known, see
            :meth:`sycam.search.selection.pareto.Scale.hypervolume`; None of one goal.
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
    hypervolume: float | None = None
