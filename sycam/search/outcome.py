"""What a search found, and how far one on record went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sycam.search.enumeration.enumerator import Level
from sycam.search.racing.race import Standing
from sycam.search.selection.select import Candidate

GUESSES, EXHAUSTIVE, GUIDED, CONSTANTS = "guesses", "exhaustive", "guided", "constants"
COMBINED, SIMPLIFIED = "combined", "simplified"


@dataclass
class Outcome:
    """What a search found.

    Attributes:
        candidates: those that saw all search images, in their order.
        dropped: those that did not.
        known: published CAMs and controls, with their scores.
        known_partly: those for which the time did not suffice, with scores on the first images.
        known_counts: how many of both saw each stage's images; None where all saw all.
        leaders: names of the candidates that have led, in turn.
        levels: what enumeration did at each cost.
        complete_cost: every distinct candidate up to this cost entered.
        phases: how many candidates entered in each phase.
        entered_in: the phase in which each first entered, by its text, in their order.
        stopped: ``"cost bound"``, ``"budget"``, ``"threshold"``, ``"space"`` (nothing new is
            proposed) or :data:`sycam.events.INTERRUPT`.
        seconds: spent in this session.
        resumed: candidates found in the journal.
        passes: forward passes on perturbed images in this session.
        spent: scores of one candidate on one image that were needed, the journal's included.
        brought_back: candidates dropped that the selection rule might have preferred.
        unsettled: those of them for which the time did not suffice.
        pace: measured seconds of a candidate on an image; 0 where nothing was measured.
        settling: batches that bringing back took.
        guided: what the guided phase did, by kind of proposal.
        enumerated: expressions and levels enumerated when proposals took over from an enumeration
            that was not at its end; None where they did not.
    """

    candidates: list[Candidate] = field(default_factory=list)
    dropped: list[Standing] = field(default_factory=list)
    known: list[Candidate] = field(default_factory=list)
    known_partly: list[Candidate] = field(default_factory=list)
    known_counts: tuple[int, ...] | None = None
    leaders: list[str] = field(default_factory=list)
    levels: list[Level] = field(default_factory=list)
    complete_cost: int = 0
    phases: dict[str, int] = field(default_factory=dict)
    entered_in: dict[str, str] = field(default_factory=dict)
    stopped: str = "cost bound"
    seconds: float = 0.0
    resumed: int = 0
    passes: int = 0
    spent: int = 0
    brought_back: int = 0
    unsettled: int = 0
    settling: int = 0
    pace: float = 0.0
    guided: dict = field(default_factory=dict)
    enumerated: int | None = None


@dataclass(frozen=True)
class Script:
    """How far a recorded search went, to be played again instead of keeping to a budget.

    Attributes:
        entered: candidates by phase.
        settling: batches that bringing candidates back took.
        known: published CAMs and controls that saw each stage's images; None for all.
        enumerated: as of :class:`Outcome`.
    """

    entered: Mapping[str, int]
    settling: int = 0
    known: tuple[int, ...] | None = None
    enumerated: int | None = None
