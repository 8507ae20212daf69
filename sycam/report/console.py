"""The run on a terminal: progress, a live leaderboard, and the tables at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable
from rich.text import Text

from sycam.evaluation import Table
from sycam.events import Event, Note, Stage, Step
from sycam.metrics import Metric, find_metric
from sycam.report.front_tables import PLAIN, classes_table, gain_text, goals_table, p_text
from sycam.runs.result import Result
from sycam.search.events import Plan, Scored
from sycam.support.terminal import shown
from sycam.validation.validate import PUBLISHED, Row, Validation, Verdict
from sycam.verification import Verification

_EVERY = 10.0  # seconds between lines where the output is no terminal
_SHOWN = 8  # formulas of the live front
_LONGEST = 28  # characters of a name before it is folded
_STYLES = {"winner": "bold green", "new": "green", "control": "dim"}


class Watcher:
    """Shows events as they come; a context manager.

    Args:
        console: where to print; nothing is printed where it is None.
        metric: text of the optimised metric.
    """

    def __init__(self, console: Console | None, metric: str = ""):
        self.console = console
        self.metric = find_metric(metric) if metric else None
        self._live: Live | None = None
        self._progress: Progress | None = None
        self._task = None
        self._board: RenderableType = ""
        self._last = 0.0

    def __enter__(self) -> Watcher:
        if self.console is not None:
            self._progress = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=30),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[detail]}"),
                TimeElapsedColumn(),
                console=self.console,
            )
            if self.console.is_terminal:
                self._live = Live(
                    console=self.console,
                    get_renderable=lambda: Group(self._board, self._progress),
                    refresh_per_second=4,
                    transient=True,
                )
                self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        if self.console is None:
            return
        if isinstance(event, Stage):
            self._stage(event)
        elif isinstance(event, Step):
            self._progress.update(self._task, completed=event.done)
        elif isinstance(event, Note):
            self.console.print(f"[dim]·[/] {shown(event.text)}")
        elif isinstance(event, Plan):
            self.console.print(plan_table(event))
        elif isinstance(event, Scored):
            self._scored(event)

    def _stage(self, event: Stage) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(shown(event.text), total=event.total or 1, detail="")
        self._board = ""
        if self._live is None:
            self.console.print(shown(event.text))

    def _scored(self, event: Scored) -> None:
        detail = f"{event.scored} candidates, {event.dropped} dropped, cost {event.cost}"
        if event.rate:
            detail += f", {event.rate:.1f}/s"
        if event.resumed:
            detail += f", {event.resumed} from the journal"
        self._progress.update(self._task, total=1.0, completed=event.share, detail=detail)
        if self._live is not None:
            self._board = board_table(event, self.metric)
        elif time.monotonic() - self._last > _EVERY:
            self._last = time.monotonic()
            best = event.front[-1] if event.front else None
            found = f"; best {best.mean:.4f}  {best.name}" if best else ""
            self.console.print(f"  {event.share:4.0%}  {shown(detail + found)}")


def plan_table(plan: Plan) -> RenderableType:
    """Candidates × images × passes, and the estimated time, before scoring starts."""
    table = RichTable(title="Search space", **PLAIN)
    for title in ("cost", "trees", "distinct heatmaps"):
        table.add_column(title, justify="right")
    known = {level.cost: level for level in plan.levels}
    for cost, trees in enumerate(plan.trees, 1):
        level = known.get(cost)
        if level is None:
            distinct = "not enumerated yet"
        else:
            distinct = f"{level.candidates:,}" + ("" if level.complete else " or more")
        table.add_row(str(cost), f"{trees:,}", distinct)
    seconds = plan.reachable * plan.seconds
    work = [f"{plan.reachable:,} candidates × {plan.images} images"]
    for each, said in (
        (plan.passes, "forward passes"),
        (plan.measurements, "forward and backward passes"),
    ):
        if each:
            total = plan.reachable * plan.images * each
            work.append(f"× {each} passes = {total:,} {said} at most")
    if plan.shared_measurements:
        total = plan.images * plan.shared_measurements
        work.append(f"and {total:,} forward and backward passes that all candidates share")
    line = (
        f"{', '.join([' '.join(work[:2]), *work[2:]])}; about {duration(seconds)} "
        f"({plan.seconds:.2f} s a candidate); budget {shown(plan.budget)}"
    )
    if not plan.exhausted:
        line += ", which ends before the space does"
    return Group(table, line)


def board_table(event: Scored, metric: Metric) -> RichTable:
    """The front of score against cost, with the published CAMs in their place."""
    table = RichTable(title="Best formula of each cost, and the published CAMs", **PLAIN)
    table.add_column("cost", justify="right")
    table.add_column(shown(metric.text), justify="right")
    table.add_column("formula", overflow="fold")
    front = [(c, "bold") for c in event.front[-_SHOWN:]]
    known = [(c, "cyan") for c in event.known if c.kind in PUBLISHED]
    for c, style in sorted(front + known, key=lambda row: -metric.oriented(row[0].mean)):
        name = c.name if c.kind == "expression" else f"{c.name} ({c.kind})"
        table.add_row(str(c.cost or "-"), f"{c.mean:.4f}", shown(name), style=style)
    return table


def result_tables(result: Result) -> RenderableType:
    """The outcome: formula, held-out leaderboard, front, verdict."""
    parts: list[RenderableType] = []
    search = result.record["search"]
    parts.append(
        f"\n[bold]{search['candidates']:,} distinct candidates scored[/] in "
        f"{duration(search['seconds'])}; complete up to cost {shown(search['complete_cost'])} "
        f"of grammar {shown(repr(result.record['grammar']['name']))} "
        f"(stopped by the {shown(search['stopped'])})"
    )
    if result.best is None:
        why = "is degenerate or a known CAM"
        if result.record.get("refused"):
            why = f"is degenerate, a known CAM or fails {' or '.join(result.record['required'])}"
        parts.append(f"[bold red]No winner:[/] every candidate {shown(why)}.")
    else:
        name = f" = {result.best.known_as}, published" if result.best.known_as else ""
        parts.append(f"\nWinner   [bold green]{shown(result.best.expression)}[/]{shown(name)}")
        if result.best.known_as and result.best_new:
            parts.append(f"Best new {shown(result.best_new.expression)}")
        parts.append(f"LaTeX    {shown(result.best.heatmap_latex)}")
        parts += map(shown, _doubts(result))
    parts += ["", *(_heldout_table(result, goal) for goal in result.validation.goals)]
    parts.append(_panel_table(result))
    if result.validation.guarded_images:
        parts.append(_guards_table(result))
    if goals := result.record.get("goals"):
        parts.append(goals_table(goals))
    elif result.front:
        parts.append(_front_table(result))
    if classes := result.record.get("classes"):
        parts += [
            classes_table(classes, _better(result), result.record["network"].get("class_names")),
            gain_text(classes),
        ]
    parts.append(verdict(result))
    return Group(*parts)


def _doubts(result: Result) -> list[str]:
    """How far the search images bear the choice; nothing where it is not on record."""
    if "stability" not in result.record:
        return []
    stability, resolution = result.record["stability"], result.record["resolution"]
    first, *others = stability["contenders"]
    again = f"Stable?  wins {first['share']:.0%} of {stability['resamples']:,} bootstraps"
    if others:
        again += f", next {others[0]['expression']} {others[0]['share']:.0%}"
    again += (
        f"; expect {result.metric} {stability['expected']:.4f} on other images, where the search "
        f"images promise {first['score']:.4f}"
    )
    if resolution["enough"]:
        told = f"Images   {resolution['images']} search images tell it from its next rivals"
    else:
        told = f"Images   {resolution['warning']}"
    if resolution["alike"]:
        told += f"; {len(resolution['alike'])} of the leaders score nearly the same as it"
    return [again, told]


def _heldout_table(result: Result, goal: str) -> RichTable:
    validation, first = result.validation, goal == result.metric
    several = " over all goals" if len(validation.goals) > 1 else ""
    table = RichTable(
        title=f"{shown(goal)} on {validation.images} held-out images ({_better(result, goal)})",
        caption="Δ: winner minus method, positive favours the winner; p: paired sign-flip test, "
        f"Holm-corrected{several}; flat: images on which the map ranks nothing"
        if first
        else None,
        **PLAIN,
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
    panel = list(result.validation.rows[0].panel)
    table = RichTable(
        title=f"Not optimised, on the same {result.validation.images} images", **PLAIN
    )
    table.add_column("method", overflow="fold", min_width=14)
    for name in panel:
        arrow = "↑" if result.validation.directions[name] else "↓"
        short = name.replace("energy-pointing-game", "energy p. g.")
        table.add_column(f"{shown(short)} {arrow}", justify="right")
    for row in result.validation.rows:
        cells = [f"{row.panel[m]:.3f}" for m in panel]
        table.add_row(_row_name(row), *cells, style=_STYLES.get(row.kind))
    return table


def _guards_table(result: Result) -> RichTable:
    """What every explanation should pass: a winner that ignores class or weights shows here."""
    validation = result.validation
    rows = [row for row in validation.rows if row.guards]
    names = list(rows[0].guards)
    table = RichTable(
        title=f"Sanity, on {validation.guarded_images} held-out images",
        caption="class-sensitivity: 0 is the same heatmap for another class; randomisation: 1 is "
        "the same heatmap for a network with random upper layers",
        **PLAIN,
    )
    table.add_column("method", overflow="fold", min_width=14)
    for name in names:
        arrow = "↑" if validation.directions[name] else "↓"
        table.add_column(f"{shown(name)} {arrow}", justify="right")
    for row in rows:
        cells = [f"{row.guards[m]:.3f}" for m in names]
        table.add_row(_row_name(row), *cells, style=_STYLES.get(row.kind))
    return table


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
    table = RichTable(title="Best formula of each cost on the search images", **PLAIN)
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
            '--require "class-sensitivity>0.2" searches for one that does.'
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


def evaluation_table(table: Table) -> RenderableType:
    """Methods by metrics, the best under each metric in bold, no wider than the console."""
    return _Evaluation(table)


class _Evaluation:
    """Turns methods and metrics round, or is cut into several tables, where it is too wide."""

    def __init__(self, table: Table):
        metrics = {m: f"{m} {'↑' if table.directions[m] else '↓'}" for m in table.metrics}
        best = {m: table.best(m) for m in table.metrics}
        cells = {}
        for (method, metric), c in table.cells.items():
            cell = Text(f"{c.mean:.4f} [{c.low:.3f}, {c.high:.3f}]")
            cell.stylize("bold" if best[metric] == method else "")
            cells[method, metrics[metric]] = cell
        cells |= {(method, "flat"): Text(str(n)) for method, n in table.degenerate.items()}
        self.title = f"Means over {table.images} images, 95 % intervals"
        self.methods = list(table.methods)
        self.metrics = [*metrics.values(), "flat"]
        self.cells = cells

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        turned = {(metric, method): cell for (method, metric), cell in self.cells.items()}
        upright = _blocks("method", self.methods, self.metrics, self.cells, options.max_width)
        across = _blocks("metric", self.metrics, self.methods, turned, options.max_width)
        chosen = across if len(across) < len(upright) else upright
        chosen[0].title = self.title
        yield from chosen


def _blocks(
    name: str,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], Text],
    width: int,
) -> list[RichTable]:
    """One table, or several of the same rows, none wider than `width` if its cells can help it."""
    space = 3  # around a column
    first = min(max(len(text) for text in (name, *rows)), _LONGEST)
    groups: list[list[str]] = [[]]
    left = room = width - first - space - 1
    for column in columns:
        need = max(cells[row, column].cell_len for row in rows)
        need = max(need, min(len(column), _LONGEST)) + space
        if need > left and groups[-1]:
            groups.append([])
            left = room
        groups[-1].append(column)
        left -= need
    found = []
    for group in groups:
        table = RichTable(**PLAIN)
        table.add_column(name, overflow="fold", max_width=_LONGEST)
        for column in group:
            least = max(cells[row, column].cell_len for row in rows)
            table.add_column(
                shown(column),
                justify="right",
                overflow="fold",
                min_width=least,
                max_width=max(least, _LONGEST),
            )
        for row in rows:
            table.add_row(shown(row), *(cells[row, column] for column in group))
        found.append(table)
    return found


def verification_table(done: Verification) -> RenderableType:
    """Each claim with what became of it, and what was not checked."""
    table = RichTable(**PLAIN)
    table.add_column("")
    table.add_column("claim", overflow="fold")
    for check in done.checks:
        sign, style = ("holds", "green") if check.holds else ("FAILS", "bold red")
        said = shown(check.claim if check.holds else f"{check.claim}: {check.found}")
        table.add_row(f"[{style}]{sign}[/]", said)
    skipped = [f"Not checked: {shown(one)}" for one in done.unchecked]
    verdict_ = (
        "[bold green]Verified.[/]"
        if done.holds
        else "[bold red]Not verified: do not rely on this result.[/]"
    )
    return Group(table, *skipped, verdict_)


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(75)
    '1 min 15 s'
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"
