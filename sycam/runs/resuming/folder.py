"""The folder of a run: opened once all that was given has proved usable."""

from __future__ import annotations

from pathlib import Path

from sycam.errors import RunError
from sycam.problem.problem import Question
from sycam.runs.file_names import CANDIDATES_FILE, RESULT_FILE
from sycam.runs.heldout_journal import ADAPTIVE_FILE, HELDOUT_FILE
from sycam.runs.result import load
from sycam.runs.resuming.asked import ASKED_FILE
from sycam.scoring.journal import JOURNAL_FILE, LOCK_SUFFIX
from sycam.search.proposals.optuna_study import STUDY_FILE
from sycam.support.arguments import argument
from sycam.support.files import check_target


def folder_of(out: str | Path | None, question: Question) -> Path:
    """Where a run is kept: one folder in ``runs``, named after the question, if None."""
    name = f"{question.explained.name}-{question.metric.slug}-{question.identity[:8]}"
    return Path(out or Path("runs") / name)


def check_folder(folder: Path) -> None:
    """RunError where a link or the like stands in the place of a file that a run writes."""
    try:
        for file in (RESULT_FILE, CANDIDATES_FILE):
            check_target(folder / file, within=folder)
        journals = (JOURNAL_FILE, HELDOUT_FILE, ADAPTIVE_FILE)
        for file in (*journals, *(name + LOCK_SUFFIX for name in journals), STUDY_FILE):
            check_target(folder / file, within=folder, appended=True)
    except OSError as error:
        raise _cannot_use(folder, error) from None


def _cannot_use(folder: Path, error: OSError) -> RunError:
    return RunError(f"cannot use the run's folder '{folder}': {error}")


def open_folder(folder: Path) -> Path:
    """The run's folder, made where it is absent; RunError where it holds anything but a run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_use(folder, error) from None
    check_folder(folder)
    strangers = [p.name for p in folder.iterdir() if p.name != ASKED_FILE]
    if (folder / JOURNAL_FILE).exists():
        strangers = []
    if strangers:
        raise RunError(
            f"'{folder}' holds other files ({', '.join(sorted(strangers)[:3])}); "
            f"choose an empty or new folder by {argument('out')}"
        )
    return folder


def has_evidence(folder: Path) -> bool:
    """Whether a result with held-out evidence is there."""
    try:
        return bool(load(folder).validation.rows)
    except RunError:
        return False
