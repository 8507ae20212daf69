"""An earlier result of the same question: the answer where nothing has changed, or one that
searched more, which one that searched less must not replace."""

from __future__ import annotations

import math
from pathlib import Path

from sycam.errors import RunError
from sycam.events import INTERRUPT, Note, Notify, ignore
from sycam.problem.problem import Question
from sycam.runs.record import RunRecord
from sycam.runs.recording import asked_of
from sycam.runs.result import Result, digest_of, load
from sycam.runs.resuming.folder import check_folder
from sycam.search import SearchOptions
from sycam.support.arguments import argument
from sycam.support.schema import to_plain
from sycam.support.text.counting import counted
from sycam.version import __version__

_ROUNDING = 1e-4  # of figures that were measured twice


def answered(folder: Path, question: Question, search: SearchOptions) -> Result | None:
    """The result that lies in the folder, where it is whole and answers just what is asked: of the
    same network, images, metric, grammar and options, each by its content, and made by this
    version. None where there is no such one, or more may come: the search or its evidence was
    interrupted or cut short, or others share its study.

    Args:
        folder: of the run.
        question: with network and images at hand.
        search: how it is searched.

    Raises:
        RunError: a file of the run is a link or no plain file.
    """
    check_folder(folder)
    result = settled(folder, search)
    if result is None:
        return None
    record, asked = result.record, to_plain(asked_of(question, search))
    return result if asked == {name: to_plain(getattr(record, name)) for name in asked} else None


def settled(folder: Path, search: SearchOptions) -> Result | None:
    """The result that lies in the folder, where it is whole, made by this version, searched in just
    this way, and the same question would add nothing to it.

    Args:
        folder: of the run.
        search: how it is searched.
    """
    try:
        result = load(folder)
        whole = digest_of(result.to_dict()) == result.digest and bool(result.candidates)
    except RunError:  # none, a damaged one or one of before: it is written again
        return None
    record, stopped = result.record, result.record.search.stopped
    if not whole or search.storage is not None or stopped == INTERRUPT:
        return None
    if result.validation.left_out is not None or record.environment.get("sycam") != __version__:
        return None
    return result if to_plain(search.to_dict()) == to_plain(record.settings.search) else None


def save_unless_larger(folder: Path, result: Result, notify: Notify = ignore) -> Result:
    """Write a result into its folder, unless one of a larger search of the same question lies
    there, which stays.

    Args:
        folder: of the run.
        result: that has just been found.
        notify: is told where it is not kept.

    Returns:
        The result that lies there now.
    """
    earlier = _larger(folder, result)
    if earlier is None:
        result.save(folder)
        return result
    notify(
        Note(
            f"{folder} holds the result of a larger search, of "
            f"{counted(earlier.record.search.candidates, 'candidate')}; it stays, and that of "
            f"these {result.record.search.candidates:,} is not kept: choose another folder by "
            f"{argument('out')} to have it"
        )
    )
    return earlier


def _larger(folder: Path, result: Result) -> Result | None:
    """The result in the folder, where it is of the same question, asked with a budget that sufficed
    for more candidates; None where there is no such one."""
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
