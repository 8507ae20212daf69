"""What lies in a run's folder beside its result: pictures, one page, and what is printed of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sycam.errors import SycamError
from sycam.report.html import keep_curves, keep_gallery, write_report
from sycam.report.pictures.explain import OVERVIEW, overview
from sycam.report.printed import page_of
from sycam.report.tables import result_tables
from sycam.runs.file_names import REPORT_FILE
from sycam.runs.pictures import AGREEMENT_FILE, FRONT_FILE, draw_front, draw_heldout
from sycam.runs.result import Result
from sycam.runs.resuming.answer import Answer, code_digest, kept_answer, result_files
from sycam.search.budget import Budget
from sycam.support.schema import to_plain
from sycam.support.text.terminal import shown
from sycam.validation.findings import Validated

# What is said of each file, in the order in which they are named.
SAID = {
    REPORT_FILE: "all of it on one page",
    OVERVIEW: "heatmaps on held-out images",
    FRONT_FILE: "figures and costs of the front",
    AGREEMENT_FILE: "search against held-out figures",
}


def keep_pictures(
    result: Result,
    validated: Validated,
    budget: Budget,
    base: str | None,
    warn: Callable[[str], None],
) -> None:
    """Draw what belongs to a finished run, and write its page.

    Args:
        result: of the run.
        validated: its network and its held-out images.
        budget: of the command; once it is spent, the curves of removal, which take passes of their
            own, are left out.
        base: of the export that the page shows; none if None.
        warn: is told once, of all that could not be drawn and why: the result stands whatever
            happens here.
    """
    explained, unseen = validated.explained, validated.images
    works: dict[str, Callable[[], object]] = {
        SAID[OVERVIEW]: lambda: overview(result, explained, unseen),
        "the gallery": lambda: keep_gallery(result, explained, unseen),
        SAID[FRONT_FILE]: lambda: draw_front(result),
        SAID[AGREEMENT_FILE]: lambda: draw_heldout(result),
        "the curves of removal": lambda: keep_curves(result, explained, unseen),
        SAID[REPORT_FILE]: lambda: write_report(result, base=base),  # it holds the others
    }
    if budget.spent:
        del works["the curves of removal"]
    if result.best is None:
        del works[SAID[OVERVIEW]], works["the gallery"]
    failed: dict[str, list[str]] = {}  # by the reason
    for said, work in works.items():
        try:
            work()
        except Exception as error:
            failed.setdefault(_reason(error), []).append(said)
    if failed:
        told = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in failed.items())
        warn(f"not drawn: {told}. The result is kept")


def _reason(error: Exception) -> str:
    """Why something was not drawn: of files what the system says, which is the same for all."""
    cause = error if isinstance(error, OSError) else error.__context__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(error) if isinstance(error, SycamError) else f"{type(error).__name__}: {error}"


def where_kept(result: Result) -> list[str]:
    """The run's folder, and those of its files that are for people: lines of rich's markup."""
    if result.path is None:
        return []
    lines = [f"Kept in [bold]{shown(str(result.path))}[/]"]
    for name, said in SAID.items():
        if (result.path / name).is_file():
            lines.append(f"  {shown(str(result.path / name))}   {said}")
    return lines


def keep_answer(
    result: Result,
    question: str | None = None,
    network: str | None = None,
    closing: Sequence[str] = (),
) -> None:
    """Keep what is printed of a result, for whoever asks for it again; that of a command that asked
    just this stays.

    Args:
        result: of the run, in whose folder it is kept.
        question: of the command, as in an :class:`~sycam.runs.resuming.answer.Answer`.
        network: digest of the network, where it must be built to know that it is the same.
        closing: lines below the tables, in rich's markup.
    """
    folder = result.path
    if folder is None or not code_digest() or (question is None and kept_answer(folder)):
        return
    Answer(
        code=code_digest(),
        files=result_files(folder),
        folder=str(folder),
        created=result.record.created,
        page=to_plain(page_of(result_tables(result))),
        question=question,
        network=network,
        closing=tuple(closing),
    ).keep(folder)
