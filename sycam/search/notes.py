"""What a user should know of how a search ended."""

from __future__ import annotations

from sycam.events import Note, Notify
from sycam.problem.problem import Problem
from sycam.search.options import CLASS_AGNOSTIC, SearchOptions
from sycam.search.racing.race import FLAT, OVERFLOW
from sycam.search.run import SearchResult
from sycam.support.arguments import argument

_SAID = 5  # refused candidates that are told
_NO_HEATMAP = {
    OVERFLOW: "its values leave the floating range on the search images; use a tamer formula "
    "(symlog, normalize)",
    FLAT: "its heatmaps are flat on too many of the search images",
}


def tell(result: SearchResult, problem: Problem, search: SearchOptions, notify: Notify) -> None:
    """Notes on guesses without heatmaps, on the refused, on a known CAM that won, and on images
    that are too few."""
    for standing in result.outcome.dropped:
        if standing.expression in search.guessed and standing.dropped in _NO_HEATMAP:
            notify(Note(f"guess {standing.expression} is dropped: {_NO_HEATMAP[standing.dropped]}"))
    for refusal in result.refused[:_SAID]:
        notify(
            Note(
                f"{refusal.expression} is refused: {refusal.requirement} is required, it has "
                f"{refusal.figure:.4g}"
            )
        )
    if result.agnostic:
        shown, more = result.agnostic[:_SAID], len(result.agnostic) - _SAID
        others = f" and {more} more" if more > 0 else ""
        notify(
            Note(
                f"{', '.join(shown)}{others} might have won, but show the same whatever is "
                f"explained; {argument('allow', [CLASS_AGNOSTIC])} offers them"
            )
        )
    if result.new is None:
        without = "meets the requirements and differs" if problem.requirements else "differs"
        then = "no winner" if result.winner is None else f"use {result.known_as}"
        notify(Note(f"no eligible candidate {without} from the published CAMs: {then}"))
    elif result.known_as is not None:
        notify(
            Note(
                f"no new formula is ahead of {result.known_as} on the search images by rule "
                f"{search.rule}: {result.known_as} is the answer, and the best new "
                f"formula, {result.new.name}, stands beside it"
            )
        )
    if result.confidence and result.confidence.power.warning:
        notify(Note(result.confidence.power.warning))
