"""Several runs at a glance: those in a folder, and what tells some of them apart."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sycam.errors import RunError
from sycam.events import INTERRUPT
from sycam.runs.file_names import RESULT_FILE
from sycam.runs.result import Result, load
from sycam.scoring.journal import JOURNAL_FILE
from sycam.scoring.statistics import Interval
from sycam.support.schema import to_plain

FINISHED, INCOMPLETE, UNFINISHED, DAMAGED = "finished", "incomplete", "unfinished", "damaged"


@dataclass(frozen=True)
class RunSummary:
    """A run in one line.

    Attributes:
        folder: of the run.
        state: ``"finished"``; ``"incomplete"``: parts of the held-out evidence are lacking;
            ``"unfinished"``: there is a journal, but no result; ``"damaged"``: its result cannot be
            read.
        created: date and time in UTC, ISO 8601; of an unfinished run when it last wrote.
        network, layer, metric, grammar: what was searched.
        seed: of everything random.
        search_images, heldout_images: how many.
        candidates: distinct ones that entered.
        winner: the formula chosen.
        known_as: the published CAM that it is; None of a new formula.
        score: the winner's figure on the search images.
        heldout: its figure on the held-out images.
        rival: the published CAM that the search images choose; None where a published CAM won.
        gain: the winner compared with the rival on the held-out images, positive where it is ahead.
        p: of the gain, Holm-corrected.
        beats: whether the winner is ahead of the rival with ``p`` below 0.05; None without a rival.
        trouble: why it cannot be read.
    """

    folder: str
    state: str
    created: str
    network: str | None = None
    layer: str | None = None
    metric: str | None = None
    grammar: str | None = None
    seed: int | None = None
    search_images: int | None = None
    heldout_images: int | None = None
    candidates: int | None = None
    winner: str | None = None
    known_as: str | None = None
    score: float | None = None
    heldout: Interval | None = None
    rival: str | None = None
    gain: Interval | None = None
    p: float | None = None
    beats: bool | None = None
    trouble: str | None = None

    @classmethod
    def of(cls, result: Result) -> RunSummary:
        """Of a result, be its evidence whole or not; under the first of several goals."""
        record, validation, best = result.record, result.validation, result.best
        row, rival, against, beats = validation.winner, None, None, None
        if best is not None and best.known_as is None and validation.verdicts:
            verdict = validation.verdicts[0]
            rival, beats = verdict.chosen_published, verdict.beats_chosen
            against = validation.row(rival).against
        return cls(
            folder=str(result.path),
            state=FINISHED if _is_whole(result) else INCOMPLETE,
            created=record.created,
            network=record.network.name,
            layer=record.network.layer,
            metric=" & ".join(record.settings.metrics),
            grammar=record.grammar.name,
            seed=record.settings.seed,
            search_images=record.data.search_images,
            heldout_images=validation.images or record.data.heldout_images,
            candidates=record.search.candidates,
            winner=None if best is None else best.expression,
            known_as=None if best is None else best.known_as,
            score=None if best is None else best.score,
            heldout=None if row is None else row.heldout,
            rival=rival,
            gain=None if against is None else against.difference,
            p=None if against is None else against.p_holm,
            beats=beats,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON; NaN is None."""
        return to_plain(self)


def _is_whole(result: Result) -> bool:
    """Whether nothing that the run was asked for is lacking."""
    return result.validation.left_out is None and result.record.search.stopped != INTERRUPT


def runs_in(folder: str | Path) -> list[RunSummary]:
    """The runs in a folder, the newest first: the folder itself where it is one, and those below.

    Raises:
        RunError: there is no such folder.
    """
    folder = Path(folder)
    try:
        places = [folder, *sorted(p for p in folder.iterdir() if p.is_dir())]
    except OSError as error:
        raise RunError(
            f"cannot list the runs in '{folder}': {error.strerror or error}; expected a folder "
            "that holds runs' folders"
        ) from None
    found = [one for place in places if (one := _summary(place)) is not None]
    return sorted(found, key=lambda one: one.created, reverse=True)


def _summary(place: Path) -> RunSummary | None:
    """Of what a folder holds; None where that is no run."""
    result, journal = place / RESULT_FILE, place / JOURNAL_FILE
    if os.path.lexists(result):
        try:
            return RunSummary.of(load(place))
        except RunError as error:
            return RunSummary(str(place), DAMAGED, _written(result), trouble=str(error))
    if os.path.lexists(journal):
        return RunSummary(str(place), UNFINISHED, _written(journal))
    return None


def _written(file: Path) -> str:
    """When it last was, as a record says when its run was made."""
    return datetime.fromtimestamp(file.lstat().st_mtime, UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class RunComparison:
    """Runs side by side.

    Attributes:
        runs: each in short, in the order given.
        differing: settings that are not the same in all runs, by their path in ``result.json``, a
            value per run; None where a run has none.
        winners: each formula chosen, with how many runs chose it, the most frequent first.
        same_figures: whether held-out figures may be compared: all of one metric and of the same
            held-out images.
    """

    runs: tuple[RunSummary, ...]
    differing: Mapping[str, tuple[Any, ...]]
    winners: tuple[tuple[str, int], ...]
    same_figures: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return to_plain(self)


def compare(results: Sequence[Result]) -> RunComparison:
    """What tells runs apart, and whether they agree on the winner.

    Raises:
        RunError: fewer than two.
    """
    if len(results) < 2:
        raise RunError(f"two or more runs are compared, got {len(results)}; name another one")
    settings = [dict(_settings(result)) for result in results]
    names = dict.fromkeys(name for one in settings for name in one)
    rows = {name: tuple(one.get(name) for one in settings) for name in names}
    chosen = Counter(result.best.expression for result in results if result.best is not None)
    facts = [
        (r.record.settings.metrics, r.validation.images, r.record.data.heldout_digest)
        for r in results
    ]
    return RunComparison(
        runs=tuple(map(RunSummary.of, results)),
        differing={name: row for name, row in rows.items() if any(v != row[0] for v in row)},
        winners=tuple(chosen.most_common()),
        same_figures=all(fact == facts[0] for fact in facts) and all(map(all, facts)),
    )


def _settings(result: Result) -> Iterator[tuple[str, Any]]:
    """All that was asked for or ran, by path."""
    record = result.record
    for part in ("settings", "network", "data", "environment"):
        yield from _leaves(part, to_plain(getattr(record, part)))
    yield "grammar.digest", record.grammar.digest
    yield "required", ", ".join(record.required) or None


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}", inner)
    else:
        yield path, value
