"""The pictures of a finished run beside its heatmaps: its front, and search against held-out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sycam.errors import RunError
from sycam.report.fronts import Mark, draw_agreement, draw_cost_front, draw_goals
from sycam.result import Result
from sycam.validation import PUBLISHED

FRONT_FILE = "front.png"
AGREEMENT_FILE = "heldout.png"


def draw_front(result: Result, folder: Path | None = None) -> Path | None:
    """Score against cost, or goal against goal, with published CAMs and controls beside.

    Args:
        result: of a run.
        folder: where ``front.png`` is written; the run's own if None.

    Returns:
        The file; None where no candidate is on the front.

    Raises:
        RunError: a result without a folder and none given, or the file cannot be written.
    """
    path = _folder(result, folder) / FRONT_FILE
    if not result.front:
        return None
    goals = result.record.get("goals")
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
            path,
            f"{_where(result)}: best formula of each cost, search images",
        )
    return draw_goals(
        [Mark(m["expression"], tuple(m["figures"]), m["cost"]) for m in goals["members"]],
        [
            Mark(k["name"], tuple(k["figures"]), k["cost"], k["kind"] == "control")
            for k in goals["known"]
        ],
        goals["goals"],
        goals["directions"],
        goals["reference"],
        path,
        goals["compromise"],
        title=f"{_where(result)}: front on the search images",
    )


def draw_heldout(result: Result, folder: Path | None = None) -> Path | None:
    """The front's figures on the search images against those on the held-out images.

    Args:
        result: of a run.
        folder: where ``heldout.png`` is written; the run's own if None.

    Returns:
        The file; None where no formula of the front was scored on the held-out images.

    Raises:
        RunError: a result without a folder and none given, or the file cannot be written.
    """
    path = _folder(result, folder) / AGREEMENT_FILE
    shown = {f.expression: f for f in (*result.front, *filter(None, (result.best,))) if f.heldout}
    if not shown or result.record.get("goals"):  # of a goal alone the front says little
        return None
    return draw_agreement(
        [f.score for f in shown.values()],
        [f.heldout.mean for f in shown.values()],
        list(shown),
        result.metric,
        path,
        result.best and result.best.expression,
        [
            (row.name, row.search, row.heldout.mean)
            for row in result.published
            if row.kind in PUBLISHED and np.isfinite((row.search, row.heldout.mean)).all()
        ],
        f"{_where(result)}: what of the search's figures holds on unseen images",
    )


def _folder(result: Result, folder: Path | None) -> Path:
    if folder is None and result.path is None:
        raise RunError("the result is of no folder: say in which one to draw")
    return folder or result.path


def _where(result: Result) -> str:
    network = result.record["network"]
    return f"{network['name']}, {network['layer']}"
