"""The tables of an evaluation, a recommendation and a verification on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

from sycam.jobs.evaluation import Table
from sycam.report.formula_table import FormulaTable
from sycam.report.plain_table import plain_table
from sycam.report.recommended import Recommendation
from sycam.runs.checking.verify import Verification
from sycam.support.text.terminal import shown

_LONGEST = 28  # characters of a name before it is folded


def evaluation_table(table: Table) -> RenderableType:
    """Methods by metrics, the best under each metric marked, no wider than the console."""
    return _Evaluation(table)


class _Evaluation:
    """Turns methods and metrics round, or is cut into several tables, where it is too wide."""

    def __init__(self, table: Table):
        metrics = {m: f"{m} {'↑' if table.directions[m] else '↓'}" for m in table.metrics}
        best = {m: table.best(m) for m in table.metrics}
        cells = {}
        for (method, metric), c in table.cells.items():
            mark = "*" if best[metric] == method else " "
            cell = Text(f"{c.mean:.4f}{mark} [{c.low:.3f}, {c.high:.3f}]")
            cell.stylize("bold" if best[metric] == method else "")
            cells[method, metrics[metric]] = cell
        cells |= {(method, "flat"): Text(str(n)) for method, n in table.degenerate.items()}
        self.title = f"Means over {table.images} images, 95 % intervals; *: the best"
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
    tables = []
    for group in groups:
        table = plain_table()
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
        tables.append(table)
    return tables


def recommendation_table(found: Recommendation) -> RenderableType:
    """What to use, the ranking that says so, and what the budget cut of it."""
    table = plain_table(shown(found.title))
    method, layer, *figures = found.head
    for title in figures:
        table.add_column(shown(title), justify="right")
    listed = FormulaTable(table, f"{method}@{layer}", first=True)
    best = (found.best.name, found.best.layer or "all")
    for line in found.lines():
        name = f"{line[0]}@{line[1]}" if line[1] != "all" else line[0]
        listed.add_row(name, *map(shown, line[2:]), style="bold" if line[:2] == best else None)
    cut = [f"Cut by the budget: {shown(said)}." for said in found.cut]
    return Group(f"[bold]{shown(found.verdict)}[/]", "", listed, *cut)


def verification_table(done: Verification) -> RenderableType:
    """Each claim with what became of it, and what was not checked."""
    table = plain_table()
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
