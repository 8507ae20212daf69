"""Work in progress on a terminal: a bar, what a search is about to do, a live leaderboard."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from sycam.errors import OptionError
from sycam.events import Event, Note, Stage, Step
from sycam.methods.method import RIVALS
from sycam.metrics import Metric, find_metric
from sycam.report.formula_table import FormulaTable
from sycam.report.plain_table import plain_table
from sycam.search.events import Forecast, Plan, Scored
from sycam.support.text.counting import counted
from sycam.support.text.terminal import open_console, shown

_EVERY = 10.0  # seconds between lines where the output is no terminal
_SHOWN = 8  # formulas of the live front


class Watcher:
    """Shows events as they come; a context manager.

    Args:
        console: where to print; nothing is printed where it is None.
        metric: that is optimised, or its text.
    """

    def __init__(self, console: Console | None, metric: str | Metric = ""):
        self.console = console
        self.metric = find_metric(metric) if metric else None
        self._live: Live | None = None
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._board: RenderableType = ""
        self._last = 0.0

    def __enter__(self) -> Watcher:
        if self.console is not None:
            self._progress = progress = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=30),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[detail]}"),
                TimeElapsedColumn(),
                console=self.console,
            )
            # Rich redraws in a notebook by a widget, and only warns where there is none.
            if self.console.is_terminal or (self.console.is_jupyter and find_spec("ipywidgets")):
                self._live = Live(
                    console=self.console,
                    get_renderable=lambda: Group(self._board, progress),
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
            self._update(completed=event.done)
        elif isinstance(event, Note):
            self.console.print(f"[dim]·[/] {shown(event.text)}")
        elif isinstance(event, Plan):
            self.console.print(plan_table(event))
        elif isinstance(event, Forecast):
            self.console.print(f"[dim]·[/] {shown(forecast_text(event))}")
        elif isinstance(event, Scored):
            self._scored(event)

    def _stage(self, event: Stage) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(shown(event.text), total=event.total or 1, detail="")
        self._board = ""
        if self._live is None:
            self.console.print(shown(event.text))

    def _update(self, **fields: Any) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, **fields)

    def _scored(self, event: Scored) -> None:
        detail = f"{counted(event.scored, 'candidate')}, {event.dropped} dropped, cost {event.cost}"
        if event.rate:
            detail += f", {event.rate:.1f}/s"
        if event.resumed:
            detail += f", {event.resumed} from the journal"
        self._update(total=1.0, completed=event.share, detail=detail)
        if self._live is not None and event.hypervolume is not None:
            self._board = f"[bold]{front_text(event)}[/]"
        elif self._live is not None and self.metric is not None:
            self._board = board_table(event, self.metric)
        elif time.monotonic() - self._last > _EVERY:
            self._last = time.monotonic()
            best = event.front[-1] if event.front else None
            found = f"; best {best.mean:.4f}  {best.name}" if best else ""
            if event.hypervolume is not None:
                found = f"; {front_text(event)}"
            self.console.print(f"  {event.share:4.0%}  {shown(detail + found)}")


def console_of(progress: bool | None) -> Console | None:
    """Where a call from Python shows its progress; None where it shows none.

    Args:
        progress: as for :func:`sycam.synthesize`: if None, in a notebook, and where standard error
            is a terminal.

    Raises:
        OptionError: something else.
    """
    if progress is not None and not isinstance(progress, bool):
        raise OptionError(
            f"progress is {progress!r:.80}; expected True, False, or None for a terminal and a "
            "notebook alone; what is called with each event is given by notify"
        )
    console = open_console(stderr=True)
    if progress is None:
        terminal = sys.stderr is not None and sys.stderr.isatty()
        progress = terminal or console.is_jupyter
    return console if progress else None


def plan_table(plan: Plan) -> RenderableType:
    """Candidates × images × passes, and the estimated time, before scoring starts."""
    table = plain_table(title="Search space")
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
    work = [f"{counted(plan.reachable, 'candidate')} × {counted(plan.images, 'image')}"]
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


def forecast_text(event: Forecast) -> str:
    """What the whole command takes, in a sentence, and what of it does not fit into the budget."""
    whole = duration(event.evidence)
    known = duration(event.known)
    if event.left is None:
        return (
            f"the published CAMs take about {known}, the candidates come on top, and held-out "
            f"evidence about {whole}"
        )
    searched = max(0.0, event.left - event.kept)
    said = f"{duration(searched)} for the search, in which the published CAMs take about {known}"
    if event.known > searched / 2:
        said = f"{duration(searched)} for the search; all published CAMs would take about {known}, "
        said += "so that those that fall behind end early"
    kept = f"about {whole} for held-out evidence"
    if event.kept < event.evidence:
        kept = f"{duration(event.kept)} for held-out evidence, of which all would take about "
        kept += f"{whole}: the most important comes first"
    return f"of the budget of {event.budget} {duration(event.left)} are left: {said}; {kept}"


def front_text(event: Scored) -> str:
    """The state of a search of several goals: no single formula of it is the best."""
    return (
        f"front of {len(event.front)}, hypervolume {event.hypervolume:.3f} (1: the best published "
        "CAM of every goal at once)"
    )


def board_table(event: Scored, metric: Metric) -> FormulaTable:
    """The front of score against cost, with the published CAMs in their place."""
    table = plain_table(title="Best formula of each cost, and the published CAMs")
    table.add_column("cost", justify="right")
    table.add_column(shown(metric.text), justify="right")
    listed = FormulaTable(table, "formula", below=False)
    front = [(c, "bold") for c in event.front[-_SHOWN:]]
    known = [(c, "cyan") for c in event.known if c.kind in RIVALS]
    for c, style in sorted(front + known, key=lambda row: -metric.oriented(row[0].mean)):
        mark = "" if c.kind == "expression" else f"({c.kind})"
        listed.add_row(c.name, str(c.cost or "-"), f"{c.mean:.4f}", mark=mark, style=style)
    return listed


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(75)
    '1 min 15 s'
    >>> duration(0.3)
    '0.3 s'
    """
    if 0 < seconds < 0.95:
        return f"{max(0.1, seconds):.1f} s"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"
