"""The folder of a run: opened once all that was given has proved usable."""

from __future__ import annotations

from pathlib import Path

from sycam.errors import RunError
from sycam.problem.problem import Problem
from sycam.runs.asked import ASKED_FILE
from sycam.runs.heldout_journal import ADAPTIVE_FILE, HELDOUT_FILE
from sycam.runs.result import RESULT_FILE, load
from sycam.scoring.journal import JOURNAL_FILE, LOCK_SUFFIX
from sycam.search.proposals.optuna_study import STUDY_FILE
from sycam.support.arguments import argument
from sycam.support.files import check_target


def open_folder(out: str | Path | None, problem: Problem) -> Path:
    """The run's folder, one named after the problem if None; RunError where it holds anything but
    a run."""
    name = f"{problem.explained.name}-{problem.metric.slug}-{problem.identity[:8]}"
    folder = Path(out or Path("runs") / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_target(folder / RESULT_FILE, within=folder)
        journals = (JOURNAL_FILE, HELDOUT_FILE, ADAPTIVE_FILE)
        for file in (*journals, *(name + LOCK_SUFFIX for name in journals), STUDY_FILE):
            check_target(folder / file, within=folder, appended=True)
    except OSError as error:
        raise RunError(f"cannot use the run's folder '{folder}': {error}") from None
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
