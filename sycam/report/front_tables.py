"""Tables of what a run found beside its winner: a front of several goals, winners of classes, a
choice of a formula image by image."""

from __future__ import annotations

from collections.abc import Sequence

from sycam.report.formula_table import FormulaTable
from sycam.report.plain_table import plain_table
from sycam.search.selection.pareto import Front
from sycam.support.text.terminal import shown
from sycam.validation.adaptive import (
    CHOICE,
    PUBLISHED_CHOICE,
    WINNER,
    Adaptive,
    AdaptiveRow,
)
from sycam.validation.per_class import Specialisation

_SHOWN_GOALS = 12  # formulas of a front
_SHOWN_CLASSES = 12


def goals_table(goals: Front) -> FormulaTable:
    """The front of several goals; of a long one its ends and what lies evenly between them."""
    members = goals.members
    table = plain_table(
        title=f"Front of {len(members)}: the best compromises of goals and cost, search images",
        caption=f"hypervolume {_figure(goals.hypervolume)}, of the published CAMs and controls "
        f"{_figure(goals.hypervolume_known)} (1: the best of them in every goal at once); "
        "winner: what is offered as one",
    )
    table.add_column("cost", justify="right")
    for goal, higher in zip(goals.goals, goals.directions, strict=True):
        table.add_column(shown(f"{goal} {'↑' if higher else '↓'}"), justify="right")
    listed = FormulaTable(table, "formula")
    every = max(1, -(-len(members) // _SHOWN_GOALS))
    for i, member in enumerate(members):
        offered = member.expression == goals.compromise
        if i % every == 0 or i == len(members) - 1 or offered:
            cells = [_figure(figure) for figure in member.figures]
            listed.add_row(
                member.expression,
                str(member.cost),
                *cells,
                mark="winner" if offered else "",
                style="bold green" if offered else None,
            )
    return listed


def classes_table(
    classes: Specialisation, better: str, names: Sequence[str] | None = None
) -> FormulaTable:
    """One row per class; of many the ones that were tested come first.

    Args:
        classes: what the result says of them.
        better: which way is better, in words.
        names: of the network's classes, where they are known.
    """
    rows = sorted(classes.classes, key=lambda r: (r.p is None, -r.heldout_images))
    left_out = len(rows) - _SHOWN_CLASSES
    compared = any(row.gain or row.p_holm is not None for row in rows[:_SHOWN_CLASSES])
    told = [
        "gain: over the winner of all, positive favours the class's own; p: paired sign-flip test, "
        "Holm-corrected"
    ] * compared
    told += ["*: the winner of all stands in"] * (not all(r.own for r in rows[:_SHOWN_CLASSES]))
    told += [f"{left_out} more classes in result.json"] * (left_out > 0)
    table = plain_table(
        title=f"Best formula of each class, {shown(classes.metric)} on held-out images ({better})",
        caption="; ".join(told) or None,
    )
    for title in ("class", "images", "held-out", "of all", *(("gain", "p") if compared else ())):
        table.add_column(title, justify="right", no_wrap=True)
    listed = FormulaTable(table, "formula")
    for row in rows[:_SHOWN_CLASSES]:
        gain, p = f"{row.gain.mean:+.4f}" if row.gain else "", row.p_holm
        listed.add_row(
            row.expression or "none",
            shown(names[row.label]) if names else str(row.label),
            str(row.heldout_images),
            _figure(row.heldout),
            _figure(row.heldout_overall),
            *((gain, "" if p is None else p_text(p)) if compared else ()),
            mark="" if row.own else "*",
        )
    return listed


def gain_text(classes: Specialisation) -> str:
    """One sentence: what specialising to classes gains in all."""
    gain = classes.gain
    if gain is None or classes.p is None:
        return "No class has a formula of its own and held-out images: nothing to compare."
    interval = shown(f"[{gain.low:+.4f}, {gain.high:+.4f}]")
    return (
        f"A formula for each class gains {gain.mean:+.4f} {interval} over the winner of all, on "
        f"the {classes.images} held-out images of classes with one of their own "
        f"(p {p_text(classes.p)})."
    )


def adaptive_table(adaptive: Adaptive, metric: str, better: str) -> FormulaTable:
    """The choice image by image beside what it is compared with.

    Args:
        adaptive: what the result says of it, with rows.
        metric: text of the metric.
        better: which way is better, in words.
    """
    table = plain_table(
        title=f"Chosen image by image, {shown(metric)} on {adaptive.images} held-out images "
        f"({better})",
        caption=f"{judged_text(adaptive)}; Δ: choice minus row, positive favours the choice; p: "
        "paired sign-flip test, Holm-corrected",
    )
    for title in ("held-out [95 %]", "Δ", "p"):
        table.add_column(title, justify="right", no_wrap=True)
    listed = FormulaTable(table, "heatmaps by", first=True)
    for row in adaptive.rows:
        found, against = row.heldout, ("", "")
        if row.against is not None:
            against = (f"{row.against.difference.mean:+.4f}", p_text(row.against.p_holm))
        listed.add_row(
            row_text(row),
            shown(f"{found.mean:.4f} [{found.low:.3f}, {found.high:.3f}]"),
            *against,
            style="bold green" if row.kind == CHOICE else None,
        )
    return listed


def row_text(row: AdaptiveRow) -> str:
    """What a row of the choice image by image is of, for people."""
    taken = len(row.taken)
    return {
        CHOICE: f"the best of {taken} on each image",
        PUBLISHED_CHOICE: f"the best of {taken} published CAMs on each image",
    }.get(row.kind, f"{row.name} ({'winner' if row.kind == WINNER else 'published'})")


def judged_text(adaptive: Adaptive) -> str:
    """How the choice is judged, in words."""
    choosing, judging = (", ".join(map(str, n)) for n in (adaptive.choosing, adaptive.judging))
    return (
        f"chosen by levels {choosing} of the metric, every row judged by levels {judging} with "
        f"other noise; a choice takes {adaptive.passes} forward passes an image"
    )


def adaptive_text(adaptive: Adaptive) -> list[str]:
    """What is chosen from, a line a formula, with the images on which it was taken."""
    if not adaptive.rows:
        listed = "; ".join(adaptive.members) or "no formula"
        return [
            f"Chosen image by image, without held-out evidence yet, from: {listed}; the same "
            "command goes on from here"
        ]
    lines = []
    for row in adaptive.rows:
        if row.kind in (CHOICE, PUBLISHED_CHOICE):
            members = adaptive.members if row.kind == CHOICE else adaptive.published
            told = (f"{n} x {name}" for name, n in zip(members, row.taken, strict=False))
            lines.append(f"{row_text(row)}: {'; '.join(told)}")
    return lines


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def p_text(p: float) -> str:
    """A p value for people."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
