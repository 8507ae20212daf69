"""What a user should know of how a search ended."""

from __future__ import annotations

from sycam.events import Note, Notify
from sycam.metrics.composition.levels import halves
from sycam.problem.problem import Problem
from sycam.search.options import CLASS_AGNOSTIC, SearchOptions
from sycam.search.racing.race import FLAT, OVERFLOW
from sycam.search.run import SearchResult
from sycam.search.selection.sensitivity import GUARD
from sycam.support.arguments import argument

_SAID = 5  # refused candidates that are told
_NO_HEATMAP = {
    OVERFLOW: "its values leave the floating range on the search images; use a tamer formula "
    "(symlog, normalize)",
    FLAT: "its heatmaps are flat on too many of the search images",
}


def tell_price(problem: Problem, search: SearchOptions, notify: Notify) -> None:
    """What a choice image by image will take, where one is asked for."""
    if search.adapt is None:
        return
    count, choosing = search.adapt, halves(problem.metric)[0]
    notify(
        Note(
            f"a formula will be chosen image by image from up to {count}, by {choosing.text}: each "
            f"explanation then takes up to {count} x {choosing.passes} = "
            f"{count * choosing.passes} forward passes beside the heatmaps, and its held-out "
            f"evidence takes as long as that of {2 * count + 1} methods under the metric"
        )
    )


def tell(result: SearchResult, problem: Problem, search: SearchOptions, notify: Notify) -> None:
    """Notes on guesses without heatmaps, on the refused, on a known CAM that won, and on images
    that are too few."""
    for standing in result.outcome.dropped:
        if standing.expression in search.guessed and standing.dropped in _NO_HEATMAP:
            notify(Note(f"guess {standing.expression} is dropped: {_NO_HEATMAP[standing.dropped]}"))
    required = set(map(str, problem.requirements))
    for refusal in [r for r in result.refused if r.requirement in required][:_SAID]:
        notify(
            Note(
                f"{refusal.expression} is refused: {refusal.requirement} is required, it has "
                f"{refusal.figure:.4g}"
            )
        )
    allow = f"{argument('allow', [CLASS_AGNOSTIC])} offers them"
    if problem.metric.needs_masks:
        allow += f", as one may want under {problem.metric.text}: masks know of no class"
    insensitive = [r for r in result.refused if r.requirement not in required]
    if insensitive:
        some = ", ".join(f"{r.expression} ({r.figure:.3f})" for r in insensitive[:_SAID])
        notify(
            Note(
                f"{some}{_more(len(insensitive))} might have won, but hardly "
                f"{'changes' if len(insensitive) == 1 else 'change'} with the class explained, "
                f"by {GUARD.metric.text} on search images; {allow}"
            )
        )
    if result.agnostic:
        some = ", ".join(result.agnostic[:_SAID])
        notify(
            Note(
                f"{some}{_more(len(result.agnostic))} might have won, but "
                f"{'shows' if len(result.agnostic) == 1 else 'show'} the same whatever is "
                f"explained; {allow}"
            )
        )
    if result.whole is not None and result.new is not None:
        notify(
            Note(
                f"{result.new.name} is {result.whole.name} without the parts that the search "
                f"images do not miss: {result.new.mean:.4f} and {result.whole.mean:.4f}"
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


def _more(count: int) -> str:
    """What follows the first of so many."""
    return f" and {count - _SAID} more" if count > _SAID else ""
