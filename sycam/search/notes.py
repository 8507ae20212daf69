"""What a user should know of how a search ended."""

from __future__ import annotations

from sycam.events import Note, Notify
from sycam.problem.problem import Problem
from sycam.search.options import SearchOptions
from sycam.search.run import SearchResult

_SAID = 5  # refused candidates that are told


def tell(found: SearchResult, problem: Problem, search: SearchOptions, notify: Notify) -> None:
    """Notes on the refused, on a known CAM that won, and on images that are too few."""
    for refusal in found.refused[:_SAID]:
        notify(
            Note(
                f"{refusal.expression} is refused: {refusal.requirement} is required, it has "
                f"{refusal.figure:.4g}"
            )
        )
    if found.new is None:
        without = "meets the requirements and differs" if problem.requirements else "differs"
        then = "no winner" if found.winner is None else f"use {found.known_as}"
        notify(Note(f"no eligible candidate {without} from the published CAMs: {then}"))
    elif found.known_as is not None:
        notify(
            Note(
                f"no new formula is ahead of {found.known_as} on the search images by rule "
                f"{search.rule}: {found.known_as} is the answer, and the best new "
                f"formula, {found.new.name}, stands beside it"
            )
        )
    if found.confidence and found.confidence.power.warning:
        notify(Note(found.confidence.power.warning))
