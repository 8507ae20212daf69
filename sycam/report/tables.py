"""The tables of a finished run on a terminal, and its verdict in words."""

from __future__ import annotations

from rich.console import Group, RenderableType

from sycam.events import INTERRUPT
from sycam.report.formula_table import FormulaTable
from sycam.report.front_tables import (
    adaptive_table,
    adaptive_text,
    classes_table,
    gain_text,
    goals_table,
    p_text,
)
from sycam.report.plain_table import plain_table
from sycam.report.printed import ForCopying, Formulas
from sycam.report.progress import duration
from sycam.report.verdict import BAD, GOOD, PLAIN, POOR, lacking, sentences, simplest
from sycam.runs.result import Result
from sycam.support.text.counting import counted
from sycam.support.text.terminal import printable, shown
from sycam.validation.findings import Row, Validation

_TONES = {GOOD: "bold green", POOR: "bold yellow", BAD: "bold red", PLAIN: "bold"}
_ROWS = 24  # methods of a table on a terminal, at most
_STYLES = {"winner": "bold green", "new": "green", "simplest": "green", "control": "dim"}


def result_tables(result: Result) -> RenderableType:
    """The outcome: formula, held-out leaderboard, front, verdict."""
    parts: list[RenderableType] = []
    search = result.record.search
    parts.append(
        f"\n[bold]{counted(search.candidates, 'distinct candidate')} scored[/] in "
        f"{duration(search.seconds)}; complete up to cost {shown(search.complete_cost)} "
        f"of grammar {shown(repr(result.record.grammar.name))} "
        f"(stopped by the {shown(search.stopped)})"
    )
    if result.best is None and not search.candidates and search.stopped == INTERRUPT:
        parts.append(
            "[bold red]No winner:[/] interrupted before a candidate was scored; the same command "
            "goes on."
        )
    elif result.best is None:
        why = "is degenerate or a known CAM"
        if result.record.refused:
            why = f"is degenerate, a known CAM or fails {' or '.join(unmet(result))}"
        parts.append(f"[bold red]No winner:[/] every candidate {shown(why)}.")
    else:
        name = f" = {result.best.known_as}, published" if result.best.known_as else ""
        parts += ["", Formulas(f"Winner   {result.best.expression}{name}", "bold green")]
        if result.best.known_as and result.best_new:
            parts.append(Formulas(f"Best new {result.best_new.expression}"))
        parts.append(ForCopying(f"LaTeX    {result.best.heatmap_latex}"))
        parts += map(Formulas, _confidence(result))
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
            "",
        ]
    if adaptive := result.record.adaptive:
        if adaptive.rows:
            parts.append(adaptive_table(adaptive, result.metric, _better(result)))
        parts += [*map(shown, adaptive_text(adaptive)), ""]
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
        alike = len(resolution.alike)
        told += f"; {alike} of the leaders score{'s' * (alike == 1)} nearly the same as it"
    return [again, told]


def _heldout_table(result: Result, goal: str) -> FormulaTable:
    validation, first = result.validation, goal == result.metric
    rows, more = shown_rows(result)
    flat = first and any(row.degenerate for row in rows)
    several = " over all goals" if len(validation.goals) > 1 else ""
    table = plain_table(
        title=f"{shown(goal)} on {validation.images} held-out images ({_better(result, goal)})",
        caption="Δ: winner minus method, positive favours the winner; p: paired sign-flip test, "
        f"Holm-corrected{several}"
        + ("; flat: images on which the map ranks nothing" if flat else "")
        + (f"; {more} more methods are in report.html" if more else "")
        if first
        else None,
    )
    if first:
        table.add_column("search", justify="right", no_wrap=True)
    table.add_column("held-out [95 %]", justify="right", no_wrap=True)
    table.add_column("Δ", justify="right", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    if flat:
        table.add_column("flat", justify="right", no_wrap=True)
    listed = FormulaTable(table, "method", first=True)
    for row in rows:
        found, against = row.under(goal), ("", "")
        interval = f"{found.heldout.mean:.4f} [{found.heldout.low:.3f}, {found.heldout.high:.3f}]"
        if found.against is not None:
            against = (f"{found.against.difference.mean:+.4f}", p_text(found.against.p_holm))
        cells = [shown(interval), *against]
        if first:
            cells = [f"{row.search:.4f}", *cells]
        if flat:
            cells.append(str(row.degenerate))
        listed.add_row(row.name, *cells, mark=_mark(row), style=_STYLES.get(row.kind))
    return listed


def shown_rows(result: Result) -> tuple[list[Row], int]:
    """The rows for a terminal, in their order, and how many more there are: the winner, the best
    new formula, the published CAMs that a verdict names, Grad-CAM, and the best of the others."""
    rows, validation = result.validation.rows, result.validation
    if len(rows) <= _ROWS:
        return list(rows), 0
    named = {validation.chosen_published}
    for found in validation.verdicts:
        named |= {found.best_published, found.plain, found.blurred}
    keep = [r for r in rows if r.kind in ("winner", "new", "simplest") or r.name in named]
    keep += [r for r in rows if r.name.partition("@")[0] == "grad-cam"]
    keep += [next((r for r in rows if r.kind == "control"), rows[0])]
    keep += rows
    chosen = list({id(r): r for r in keep}.values())[:_ROWS]
    return [r for r in rows if any(r is one for one in chosen)], len(rows) - len(chosen)


def _panel_table(result: Result) -> FormulaTable:
    """The metrics that were not optimised: a winner that games its metric shows here."""
    panel = panel_of(result.validation)
    table = plain_table(title=f"Not optimised, on the same {result.validation.images} images")
    for name in panel:
        arrow = "↑" if result.validation.directions[name] else "↓"
        short = name.replace("energy-pointing-game", "energy p. g.")
        table.add_column(f"{shown(short)} {arrow}", justify="right")
    listed = FormulaTable(table, "method", first=True, below=False)
    for row in shown_rows(result)[0]:
        if not row.panel:
            continue
        cells = [f"{row.panel[m]:.3f}" if m in row.panel else "" for m in panel]
        listed.add_row(row.name, *cells, mark=_mark(row), style=_STYLES.get(row.kind))
    return listed


def _guards_table(result: Result) -> FormulaTable:
    """What every explanation should pass: a winner that ignores class or weights shows here."""
    validation = result.validation
    rows = [row for row in shown_rows(result)[0] if row.guards]
    names = guards_of(validation)
    table = plain_table(
        title=f"Sanity, on {validation.guarded_images} held-out images",
        caption="class-sensitivity: 0 is the same heatmap for another class; randomisation: 1 is "
        "the same heatmap for a network with random upper layers",
    )
    for name in names:
        arrow = "↑" if validation.directions[name] else "↓"
        table.add_column(f"{shown(name)} {arrow}", justify="right")
    listed = FormulaTable(table, "method", first=True, below=False)
    for row in rows:
        cells = [f"{row.guards[m]:.3f}" if m in row.guards else "" for m in names]
        listed.add_row(row.name, *cells, mark=_mark(row), style=_STYLES.get(row.kind))
    return listed


def panel_of(validation: Validation) -> list[str]:
    """The metrics of the panel that any method was measured under."""
    return list(dict.fromkeys(name for row in validation.rows for name in row.panel))


def guards_of(validation: Validation) -> list[str]:
    """The sanity guards that any method was measured under."""
    return list(dict.fromkeys(name for row in validation.rows for name in row.guards))


def _mark(row: Row) -> str:
    return "" if row.kind == "published" else printable(row.kind)


def _better(result: Result, goal: str | None = None) -> str:
    # By the record: to look a user's metric up would run the file that defines it.
    higher = result.validation.directions[goal or result.metric]
    return f"{'higher' if higher else 'lower'} is better"


def _front_table(result: Result) -> FormulaTable:
    table = plain_table(title="Best formula of each cost on the search images")
    table.add_column("cost", justify="right")
    table.add_column(shown(result.metric), justify="right")
    table.add_column("held-out", justify="right")
    listed, best = FormulaTable(table, "formula"), result.best
    for formula in result.front:
        heldout = f"{formula.heldout.mean:.4f}" if formula.heldout else ""
        listed.add_row(
            formula.expression,
            str(formula.cost),
            f"{formula.score:.4f}",
            heldout,
            mark="winner" if best and formula.expression == best.expression else "",
        )
    return listed


def verdict(result: Result) -> str:
    """Does the winner beat the published CAMs on unseen images, a line a goal; and which simpler
    formula does as well?"""
    simple = simplest(result)
    return "\n".join(
        f"[{_TONES[one.tone]}]{shown(one.claim)}[/]: {shown(one.facts)}."
        for one in [*sentences(result), *([simple] if simple else [])]
    )


def unmet(result: Result) -> list[str]:
    """Requirements, those of the guard against what ignores the class among them, that some
    candidate failed or might have failed."""
    refused = (refusal.requirement for refusal in result.record.refused)
    return list(dict.fromkeys([*result.record.required, *refused]))
