"""A result of the same run that searched more, which one that searched less must not replace."""

from __future__ import annotations

import math
from pathlib import Path

from sycam.errors import RunError
from sycam.runs.record import RunRecord
from sycam.runs.result import Result, load

_ROUNDING = 1e-4  # of figures that were measured twice


def larger(folder: Path, result: Result) -> Result | None:
    """The result that lies in the folder already, where it is of the same question, asked with a
    budget that sufficed for more candidates; None where there is no such one.

    Args:
        folder: of the run.
        result: that is about to be written there.
    """
    try:
        earlier = load(folder)
    except RunError:  # none, or a damaged one, which is written again
        return None
    same = _question(earlier.record) == _question(result.record) and _validated_alike(
        earlier, result
    )
    more = earlier.record.search.candidates > result.record.search.candidates
    # Held-out evidence that goes further is worth more than the rest of a search.
    evidence = 0 < len(earlier.validation.rows) >= len(result.validation.rows)
    return earlier if same and more and evidence else None


def _question(record: RunRecord) -> tuple:
    """All that decides a result, but the budget."""
    budget = ("budget", "heldout_share")
    search = {name: v for name, v in record.settings.search.items() if name not in budget}
    version = record.environment["sycam"]
    return record.identity, search, record.settings.seed, record.data.heldout_origin, version


def _validated_alike(one: Result, other: Result) -> bool:
    """Whether the published CAMs have the same figures on the held-out images, which no digest
    tells of where they were given from Python."""
    means = {row.name: row.heldout.mean for row in one.published}
    shared = [row for row in other.published if row.name in means]
    return one.validation.images == other.validation.images and all(
        math.isclose(row.heldout.mean, means[row.name], abs_tol=_ROUNDING) for row in shared
    )
