"""The tables of a finished run on a terminal, and its verdict in words."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table as RichTable

from sycam.report.front_tables import classes_table, gain_text, goals_table, p_text
from sycam.report.plain_table import plain_table
from sycam.report.progress import duration
from sycam.runs.result import Result
from sycam.support.arguments import argument
from sycam.support.terminal import shown
from sycam.validation.heldout_scores import INTERRUPT
from sycam.validation.validate import Row, Validation, Verdict

_STYLES = {"winner": "bold green", "new": "green", "control": "dim"}


def result_tables(result: Result) -> RenderableType:
    """The outcome: formula, held-out leaderboard, front, verdict."""
    parts: list[RenderableType] = []
    search = result.record.search
    parts.append(
        f"\n[bold]{search.candidates:,} distinct candidates scored[/] in "
        f"{duration(search.seconds)}; complete up to cost {shown(search.complete_cost)} "
        f"of grammar {shown(repr(result.record.grammar.name))} "
        f"(stopped by the {shown(search.stopped)})"
    )
    if result.best is None:
        why = "is degenerate or a known CAM"
        if result.record.refused:
            why = f"is degenerate, a known CAM or fails {' or '.join(result.record.required)}"
        parts.append(f"[bold red]No winner:[/] every candidate {shown(why)}.")
    else:
        name = f" = {result.best.known_as}, published" if result.best.known_as else ""
        parts.append(f"\nWinner   [bold green]{shown(result.best.expression)}[/]{shown(name)}")
        if result.best.known_as and result.best_new:
            parts.append(f"Best new {shown(result.best_new.expression)}")
        parts.append(f"LaTeX    {shown(result.best.heatmap_latex)}")
        parts += map(shown, _confidence(result))
    if result.validation.rows:
        parts += ["", *(_heldout_table(result, goal) for goal in result.validation.goals)]
    if panel_of(result.validation):
        parts.append(_panel_table(result))
    if result.validation.guarded_images:
        parts.append(_guards_table(result))
    if goals := result.record.goals:
        parts.append(goals_table(goals))
    elif result.front:
        parts.append(_front_table(result))
    if classes := result.record.classes:
        parts += [
            classes_table(classes, _better(result), result.record.network.class_names),
            gain_text(classes),
        ]
    parts.append(verdict(result))
    if said := lacking(result.validation):
        parts.append(f"[bold yellow]Incomplete[/]: {shown(said)}.")
    return Group(*parts)


def _confidence(result: Result) -> list[str]:
    """How far the search images bear the choice; nothing where it is not on record."""
    stability, resolution = result.record.stability, result.record.resolution
    if stability is None or resolution is None:
        return []
    first, *others = stability.contenders
    again = f"Stable?  wins {first.share:.0%} of {stability.resamples:,} bootstraps"
    if others:
        again += f", next {others[0].expression} {others[0].share:.0%}"
    again += (
        f"; expect {result.metric} {stability.expected:.4f} on other images, where the search "
        f"images promise {first.score:.4f}"
    )
    if resolution.enough:
        told = f"Images   {resolution.images} search images tell it from its next rivals"
    else:
        told = f"Images   {resolution.warning}"
    if resolution.alike:
        told += f"; {len(resolution.alike)} of the leaders score nearly the same as it"
    return [again, told]


def _heldout_table(result: Result, goal: str) -> RichTable:
    validation, first = result.validation, goal == result.metric
    several = " over all goals" if len(validation.goals) > 1 else ""
    table = plain_table(
        title=f"{shown(goal)} on {validation.images} held-out images ({_better(result, goal)})",
        caption="Δ: winner minus method, positive favours the winner; p: paired sign-flip test, "
        f"Holm-corrected{several}; flat: images on which the map ranks nothing"
        if first
        else None,
    )
    table.add_column("method", overflow="fold", min_width=14)
    if first:
        table.add_column("search", justify="right", no_wrap=True)
    table.add_column("held-out [95 %]", justify="right", no_wrap=True)
    table.add_column("Δ", justify="right", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    if first:
        table.add_column("flat", justify="right", no_wrap=True)
    for row in validation.rows:
        found, against = row.under(goal), ("", "")
        interval = f"{found.heldout.mean:.4f} [{found.heldout.low:.3f}, {found.heldout.high:.3f}]"
        if found.against is not None:
            against = (f"{found.against.difference.mean:+.4f}", p_text(found.against.p_holm))
        cells = [shown(interval), *against]
        if first:
            cells = [f"{row.search:.4f}", *cells, str(row.degenerate)]
        table.add_row(_row_name(row), *cells, style=_STYLES.get(row.kind))
    return table


def _panel_table(result: Result) -> RichTable:
    """The metrics that were not optimised: a winner that games its metric shows here."""
    panel = panel_of(result.validation)
    table = plain_table(title=f"Not optimised, on the same {result.validation.images} images")
    table.add_column("method", overflow="fold", min_width=14)
    for name in panel:
        arrow = "↑" if result.validation.directions[name] else "↓"
        short = name.replace("energy-pointing-game", "energy p. g.")
        table.add_column(f"{shown(short)} {arrow}", justify="right")
    for row in result.validation.rows:
        if not row.panel:
            continue
        cells = [f"{row.panel[m]:.3f}" if m in row.panel else "" for m in panel]
        table.add_row(_row_name(row), *cells, style=_STYLES.get(row.kind))
    return table


def _guards_table(result: Result) -> RichTable:
    """What every explanation should pass: a winner that ignores class or weights shows here."""
    validation = result.validation
    rows = [row for row in validation.rows if row.guards]
    names = guards_of(validation)
    table = plain_table(
        title=f"Sanity, on {validation.guarded_images} held-out images",
        caption="class-sensitivity: 0 is the same heatmap for another class; randomisation: 1 is "
        "the same heatmap for a network with random upper layers",
    )
    table.add_column("method", overflow="fold", min_width=14)
    for name in names:
        arrow = "↑" if validation.directions[name] else "↓"
        table.add_column(f"{shown(name)} {arrow}", justify="right")
    for row in rows:
        cells = [f"{row.guards[m]:.3f}" if m in row.guards else "" for m in names]
        table.add_row(_row_name(row), *cells, style=_STYLES.get(row.kind))
    return table


def panel_of(validation: Validation) -> list[str]:
    """The metrics of the panel that any method was measured under."""
    return list(dict.fromkeys(name for row in validation.rows for name in row.panel))


def guards_of(validation: Validation) -> list[str]:
    """The sanity guards that any method was measured under."""
    return list(dict.fromkeys(name for row in validation.rows for name in row.guards))


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
    if left_out.methods:
        there = len(validation.rows)
        what = (
            f"{there} of {there + len(left_out.methods)} methods have held-out figures, the best "
            "on the search images first"
        )
    else:
        what = "not all methods have figures under the metrics that were not optimised"
    return f"{why} before all was measured: {what}; {again}"


def _row_name(row: Row) -> str:
    return (
        shown(row.name)
        if row.kind == "published"
        else f"{shown(row.name)} [dim]{shown(row.kind)}[/]"
    )


def _better(result: Result, goal: str | None = None) -> str:
    # By the record: to look a user's metric up would run the file that defines it.
    higher = result.validation.directions[goal or result.metric]
    return f"{'higher' if higher else 'lower'} is better"


def _front_table(result: Result) -> RichTable:
    table = plain_table(title="Best formula of each cost on the search images")
    table.add_column("cost", justify="right")
    table.add_column(shown(result.metric), justify="right")
    table.add_column("held-out", justify="right")
    table.add_column("formula", overflow="fold")
    for formula in result.front:
        heldout = f"{formula.heldout.mean:.4f}" if formula.heldout else ""
        table.add_row(str(formula.cost), f"{formula.score:.4f}", heldout, shown(formula.expression))
    return table


def verdict(result: Result) -> str:
    """A plain sentence a goal: does the winner beat the best published CAM on unseen images?"""
    validation = result.validation
    if result.best is None or validation.best_published is None:
        return ""
    if result.best.known_as:
        said = "\n".join(_of_known(result, goal) for goal in validation.goals)
    else:
        said = "\n".join(_of_goal(validation, found) for found in validation.verdicts)
    if validation.caution:
        said += f"\nCaution: {shown(validation.caution)}."
    if validation.concerns:
        said += (
            f"\n[bold red]Do not trust it as an explanation[/]: "
            f"{shown(' and '.join(validation.concerns))}. "
            f"{shown(argument('require', ['class-sensitivity>0.2']))} searches for one that does."
        )
    return said


def _of_goal(validation: Validation, found: Verdict) -> str:
    row, winner = validation.row(found.best_published), validation.winner.under(found.goal)
    rival = row.under(found.goal)
    against = rival.against
    facts = (
        f"held-out {shown(found.goal)} {winner.heldout.mean:.4f} against "
        f"{rival.heldout.mean:.4f} of {shown(row.name)}, difference {against.difference.mean:+.4f} "
        f"[{against.difference.low:+.4f}, {against.difference.high:+.4f}], "
        f"Holm-corrected p {p_text(against.p_holm)}"
    )
    if found.goal == validation.metric and not validation.sound_images:
        facts += f"; {_flat_everywhere(validation)}"
    elif found.goal == validation.metric and validation.sound_images < validation.images:
        facts += (
            f"; on the {validation.sound_images} images where no map is flat "
            f"{validation.winner.sound:.4f} against {row.sound:.4f}"
        )
    under = f" under {shown(found.goal)}" if len(validation.goals) > 1 else ""
    if found.beats_published:
        return f"[bold green]The winner beats the best published CAM{under}[/]: {facts}."
    return f"[bold yellow]The winner does not beat the best published CAM{under}[/]: {facts}."


def _of_known(result: Result, goal: str) -> str:
    """The verdict where a published CAM won."""
    validation, name = result.validation, result.best.known_as
    winner, higher = validation.winner.under(goal), validation.directions[goal]
    said = (
        f"[bold yellow]No new formula is ahead; use {shown(name)}[/]: held-out {shown(goal)} "
        f"{winner.heldout.mean:.4f}"
    )
    if result.best_new is not None:
        new = validation.row(result.best_new.expression).under(goal)
        said += (
            f" against {new.heldout.mean:.4f} of the best new formula, "
            f"{shown(result.best_new.expression)}, difference "
            f"{new.against.difference.mean:+.4f} [{new.against.difference.low:+.4f}, "
            f"{new.against.difference.high:+.4f}], Holm-corrected p {p_text(new.against.p_holm)}"
        )
    best = next(v.best_published for v in validation.verdicts if v.goal == goal)
    found = validation.row(best).under(goal).heldout.mean
    ahead = found > winner.heldout.mean if higher else found < winner.heldout.mean
    if best != name and ahead:
        said += f"; {shown(best)} is ahead held out, with {found:.4f}"
    return said + "."


def _flat_everywhere(validation: Validation) -> str:
    """Why there is no figure on the images where no map is flat: there is no such image."""
    flat = [row.name for row in validation.rows if row.degenerate == validation.images]
    those = f", as all maps of {', '.join(map(shown, flat))} are" if flat else ""
    return f"on each image the map of some method compared is flat{those}"
