"""The pictures of a finished run beside its heatmaps: leaderboard, front, search and held-out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure

from sycam.drawing.axes import short
from sycam.drawing.boards import draw_leaderboard, draw_ranks
from sycam.drawing.fronts import (
    Mark,
    draw_agreement,
    draw_cost_front,
    draw_goals,
)
from sycam.drawing.plot import Plot, written
from sycam.errors import OptionError, RunError
from sycam.methods.method import RIVALS
from sycam.runs.record import RunRecord
from sycam.scoring.statistics import Interval
from sycam.validation.entrants import NEW, SIMPLEST
from sycam.validation.findings import Row, Validation

FRONT_FILE = "front.png"
AGREEMENT_FILE = "heldout.png"


class PicturedFormula(Protocol):
    """What is shown of a formula."""

    @property
    def expression(self) -> str: ...
    @property
    def cost(self) -> int: ...
    @property
    def score(self) -> float: ...
    @property
    def heldout(self) -> Interval | None: ...


class Pictured(Protocol):
    """What is shown of a :class:`sycam.Result`."""

    @property
    def best(self) -> PicturedFormula | None: ...
    @property
    def front(self) -> Sequence[PicturedFormula]: ...
    @property
    def published(self) -> Sequence[Row]: ...
    @property
    def validation(self) -> Validation: ...
    @property
    def metric(self) -> str: ...
    @property
    def record(self) -> RunRecord: ...
    @property
    def path(self) -> Path | None: ...


def draw_front(result: Pictured, folder: Path | None = None) -> Path | None:
    """Write :func:`front_figure` as ``front.png``.

    Args:
        result: of a run.
        folder: where it is written; the run's own if None.

    Returns:
        The file; None where there is nothing to draw.

    Raises:
        RunError: a result without a folder and none given, or the file cannot be written.
    """
    return _drawn(result, folder, FRONT_FILE, front_figure)


def draw_heldout(result: Pictured, folder: Path | None = None) -> Path | None:
    """Write :func:`heldout_figure` as ``heldout.png``; arguments, outcome and errors as for
    :func:`draw_front`."""
    return _drawn(result, folder, AGREEMENT_FILE, heldout_figure)


def front_figure(result: Pictured) -> Figure | None:
    """Score against cost, or goal against goal, with published CAMs and controls beside.

    Returns:
        None where no candidate is on the front.
    """
    if not result.front:
        return None
    goals = result.record.goals
    if goals is None:
        return draw_cost_front(
            [Mark(f.expression, (f.score,), f.cost) for f in result.front],
            [
                Mark(row.name, (row.search,), row.cost, row.kind == "control")
                for row in result.published
                if np.isfinite(row.search)
            ],
            result.metric,
            result.validation.directions[result.metric],
            f"{_where(result)}: best formula of each cost, search images",
            None if result.best is None else result.best.expression,
        )
    return draw_goals(
        [Mark(m.expression, m.figures, m.cost) for m in goals.members],
        [Mark(k.name, k.figures, k.cost, k.kind == "control") for k in goals.known],
        goals.goals,
        goals.directions,
        goals.reference,
        goals.compromise,
        title=f"{_where(result)}: front on the search images",
    )


def heldout_figure(result: Pictured) -> Figure | None:
    """The front's figures on the search images against those on the held-out images.

    Returns:
        None where no formula of the front was scored on the held-out images, or there are several
        goals, of one of which the front says little.
    """
    shown = {
        f.expression: f
        for f in (*result.front, *filter(None, (result.best,)))
        if f.heldout and np.isfinite((f.score, f.heldout.mean)).all()
    }
    if not shown or result.record.goals:
        return None
    return draw_agreement(
        [f.score for f in shown.values()],
        [f.heldout.mean for f in shown.values()],
        list(shown),
        result.metric,
        None if result.best is None else result.best.expression,
        [
            (row.name, row.search, row.heldout.mean)
            for row in result.published
            if row.kind in RIVALS and np.isfinite((row.search, row.heldout.mean)).all()
        ],
        f"{_where(result)}: what of the search's figures holds on unseen images",
    )


def leaderboard_figure(result: Pictured) -> Figure | None:
    """Held-out means with intervals, winner, published CAMs and controls."""
    rows = result.validation.rows
    if not rows:
        return None
    return draw_leaderboard(
        [(row.name, row.heldout.mean, row.heldout.low, row.heldout.high) for row in rows],
        result.metric,
        result.validation.directions[result.metric],
        None if result.best is None else result.best.expression,
        {row.name for row in rows if row.kind == "control"},
        f"{_where(result)}: {result.validation.images} held-out images",
    )


def ranks_figure(
    result: Pictured, goal: str | None = None, shown: Collection[str] | None = None
) -> Figure | None:
    """Mean ranks over the held-out images, with the critical difference.

    Args:
        result: of a run.
        goal: text of the metric; the first goal if None.
        shown: names of the methods that are drawn; all if None.

    Returns:
        None where fewer than three methods were scored, or fewer than two images.
    """
    rows, goal = result.validation.rows, goal or result.metric
    try:
        ranks = result.validation.ranks(goal)
    except OptionError:
        return None
    winner = result.validation.winner
    return draw_ranks(
        ranks,
        None if winner is None else winner.name,
        {row.name for row in rows if row.kind in (NEW, SIMPLEST)},
        {row.name for row in rows if row.kind == "control"},
        shown,
        f"{_where(result)}: {short(goal, 48)}, "
        f"critical difference {ranks.critical_difference:.2f} (grey)",
    )


KINDS: dict[str, Callable[[Pictured], Figure | None]] = {
    "leaderboard": leaderboard_figure,
    "front": front_figure,
    "heldout": heldout_figure,
    "ranks": ranks_figure,
}


def plot(result: Pictured, kind: str = "leaderboard") -> Plot:
    """A picture of a result.

    Args:
        result: of a run.
        kind: ``"leaderboard"``, ``"front"``, ``"heldout"`` or ``"ranks"``.

    Raises:
        OptionError: another kind, or one that this result has nothing to show of.
    """
    if kind not in KINDS:
        raise OptionError(f"kind {kind!r} is not known; expected {', '.join(KINDS)}")
    figure = KINDS[kind](result)
    if figure is None:
        raise OptionError(f"the result has nothing to show as {kind!r}")
    return Plot(figure)


def _drawn(
    result: Pictured, folder: Path | None, name: str, figure_of: Callable[[Pictured], Figure | None]
) -> Path | None:
    if folder is None and result.path is None:
        raise RunError("the result is of no folder: say in which one to draw")
    figure = figure_of(result)
    return None if figure is None else written(figure, (folder or result.path) / name, result.path)


def _where(result: Pictured) -> str:
    network = result.record.network
    return f"{network.name}, {network.layer}"
