"""What a finished run says of its winner, in sentences for a terminal and a page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sycam.events import INTERRUPT
from sycam.report.front_tables import p_text
from sycam.runs.result import Formula, Result
from sycam.scoring.statistics import Interval, mean_interval
from sycam.support.arguments import argument
from sycam.validation.findings import Validation, Verdict

GOOD, POOR, BAD, PLAIN = "good", "poor", "bad", "plain"


@dataclass(frozen=True)
class Sentence:
    """A claim and what it rests on.

    Attributes:
        tone: ``"good"``, ``"poor"``, ``"bad"``, or ``"plain"`` of what is neither.
        claim: in a few words.
        facts: the figures behind it, without the full stop.
    """

    tone: str
    claim: str
    facts: str


def sentences(result: Result) -> list[Sentence]:
    """Does the winner beat the published CAMs on unseen images, under each goal, and can it be
    trusted? Nothing where it was not validated against any."""
    validation = result.validation
    if result.best is None or not validation.verdicts:
        return []
    of_goal = _of_known if result.best.known_as else _of_new
    said = [of_goal(result, found) for found in validation.verdicts]
    if not result.best.known_as:
        said += _of_another_imputer(validation)
    if validation.caution:
        said.append(Sentence(POOR, "Caution", validation.caution))
    if validation.concerns:
        again = argument("require", ["class-sensitivity>0.2"])
        facts = f"{' and '.join(validation.concerns)}; {again} searches for one that does"
        said.append(Sentence(BAD, "Do not trust it as an explanation", facts))
    return said


def simplest(result: Result) -> Sentence | None:
    """The simplest formula that the search images cannot tell from the winner, beside the winner;
    nothing where none was sought."""
    best, found, validation = result.best, result.simplest, result.validation
    if best is None or found is None:
        return None
    claim = "Simplest within noise"
    if result.record.goals is not None:
        claim += " under every goal"
    if found.expression == best.expression:
        return Sentence(PLAIN, claim, f"the winner itself, cost {found.cost}")
    name = f" = {found.known_as}" if found.known_as else ""
    apart = _difference(best, found, result)
    facts = (
        f"{found.expression}{name}, cost {found.cost} where the winner has {best.cost}; "
        f"{result.metric} {found.score:.4f} on the search images, {_apart(apart)}"
    )
    rows = [row for row in validation.rows if row.expression == found.expression and row.against]
    if rows:
        facts += f"; held out {rows[0].heldout.mean:.4f}, {_apart(rows[0].against.difference)}"
    return Sentence(PLAIN, claim, facts)


def _difference(best: Formula, other: Formula, result: Result) -> Interval:
    """The winner less another formula on the search images, positive where the winner is ahead."""
    sign = 1.0 if result.validation.directions[result.metric] else -1.0
    differences = sign * (np.array(best.scores) - np.array(other.scores))
    # Of figures that are no means the scores are pseudo-values: the figures' difference counts.
    differences += sign * (best.score - other.score) - differences.mean()
    return mean_interval(differences, result.record.settings.seed)


def _apart(difference: Interval) -> str:
    return f"difference {difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"


def lacking(validation: Validation) -> str:
    """What the held-out evidence lacks and how to get it; empty where it is whole."""
    left_out = validation.left_out
    if left_out is None:
        return ""
    again = f"the same command with a longer {argument('budget')} goes on from here"
    if left_out.why == INTERRUPT:
        again = "the same command goes on from here"
    if not validation.rows:
        return f"there is no held-out evidence yet; {again}"
    why = "it was interrupted" if left_out.why == INTERRUPT else "the budget ended"
    if left_out.images:
        why = f"{why}, so that {validation.images} of the held-out images were measured"
    if left_out.methods:
        there = len(validation.rows)
        what = (
            f"{there} of {there + len(left_out.methods)} methods have held-out figures, the best "
            "on the search images first"
        )
    else:
        what = "not all methods have figures under the metrics that were not optimised"
    return f"{why} before all was measured: {what}; {again}"


def _of_new(result: Result, found: Verdict) -> Sentence:
    validation, goal = result.validation, found.goal
    winner = validation.winner.under(goal)
    chosen = found.chosen_published
    facts = f"held-out {goal} {winner.heldout.mean:.4f} against {_rival(validation, goal, chosen)}"
    if found.best_published == chosen:
        facts += ", chosen by the search images and the best in hindsight"
    else:
        best = _rival(validation, goal, found.best_published)
        facts += f", which the search images choose; the best in hindsight has {best}"
    others = (
        ("of those that are not blurred the best has", found.plain),
        ("of the blurred ones the best has", found.blurred),
    )
    for words, name in others:
        if found.blurred and name not in (None, chosen, found.best_published):
            facts += f"; {words} {_rival(validation, goal, name)}"
    facts += _where_nothing_is_flat(validation, found)
    under = _under(validation, goal)
    if found.beats_chosen and found.beats_published:
        return Sentence(GOOD, f"The winner beats the best published CAM{under}", facts)
    if found.beats_chosen:
        claim = f"The winner beats the published CAM that the search images choose{under}"
        return Sentence(POOR, f"{claim}, but not the best in hindsight", facts)
    return Sentence(POOR, f"The winner does not beat the best published CAM{under}", facts)


def _of_another_imputer(validation: Validation) -> list[Sentence]:
    """Whether a lead over the chosen rival is one of the way of removing; nothing without one."""
    again = validation.another_imputer
    if again is None or not validation.verdicts[0].beats_chosen:
        return []
    gain = again.against.difference
    facts = (
        f"{again.metric}, difference {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] from "
        f"{again.rival}, p {p_text(again.against.p)}"
    )
    if again.survives:
        return [Sentence(GOOD, "The lead survives another imputer", facts)]
    return [Sentence(POOR, "The lead does not survive another imputer", facts)]


def _of_known(result: Result, found: Verdict) -> Sentence:
    """Where a published CAM won."""
    validation, goal, name = result.validation, found.goal, result.best.known_as or ""
    winner, higher = validation.winner.under(goal), validation.directions[goal]
    facts = f"held-out {goal} {winner.heldout.mean:.4f}"
    if result.best_new is not None:
        new = _rival(validation, goal, result.best_new.expression)
        facts += f" against the best new formula's {new}"
    known = result.best_known
    if known is not None and goal == result.metric and known.name != name:
        direct = ", computed directly," if known.expression is None else ""
        facts += f"; {known.name}{direct} has the best mean on the search images, {known.score:.4f}"
    best = validation.row(found.best_published).under(goal).heldout.mean
    ahead = best > winner.heldout.mean if higher else best < winner.heldout.mean
    if found.best_published != name and ahead:
        facts += f"; {found.best_published} is ahead held out, with {best:.4f}"
    claim = f"No new formula is ahead{_under(validation, goal)}; use {result.known(name).place}"
    return Sentence(POOR, claim, facts)


def _under(validation: Validation, goal: str) -> str:
    return f" under {goal}" if len(validation.goals) > 1 else ""


def _rival(validation: Validation, goal: str, name: str) -> str:
    """A rival's figure, and the winner compared with it."""
    rival = validation.row(name).under(goal)
    against = rival.against
    return (
        f"{rival.heldout.mean:.4f} of {name}, {_apart(against.difference)}, "
        f"Holm-corrected p {p_text(against.p_holm)}"
    )


def _where_nothing_is_flat(validation: Validation, found: Verdict) -> str:
    """The same on the images where no map ranks nothing, where there are others."""
    if found.goal != validation.metric or validation.sound_images == validation.images:
        return ""
    if not validation.sound_images:
        return f"; {_flat_everywhere(validation)}"
    row = validation.row(found.best_published)
    return (
        f"; on the {validation.sound_images} images where no map is flat "
        f"{validation.winner.sound:.4f} against {row.sound:.4f} of {row.name}"
    )


def _flat_everywhere(validation: Validation) -> str:
    """Why there is no figure on the images where no map is flat: there is no such image."""
    flat = [row.name for row in validation.rows if row.degenerate == validation.images]
    those = f", as all maps of {', '.join(flat)} are" if flat else ""
    return f"on each image the map of some method compared is flat{those}"
