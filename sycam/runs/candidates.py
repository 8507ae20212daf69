"""The table of all that a search scored: what became of each formula and published CAM.

``candidates.csv`` in a run's folder holds it, for any program that reads tables. What it says of
the formulas that entered the search is what the certificate's digest was made of, so that a table
that was changed, or belongs to another result, is told when it is read.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from sycam.errors import RunError
from sycam.problem.problem import Problem
from sycam.runs.certificate import Certificate, Fate, candidates_digest
from sycam.runs.file_names import CANDIDATES_FILE
from sycam.scoring.blocks import ImageBlock
from sycam.search import Candidate
from sycam.search.run import SearchResult
from sycam.support.files import read_text
from sycam.support.text.table import csv_text

LARGEST = 1 << 28  # bytes of a table that is read; 100,000 formulas have some 10 MB
NEW = "new"
KNOWN, BEHIND = "known", "behind"
_JOINED = " + "  # layers, as in a network's record


@dataclass(frozen=True)
class ScoredCandidate:
    """One formula or method that was scored on the search images.

    Attributes:
        expression: its text; None of a method that is computed directly.
        name: of the published CAM, baseline or control that it is; None of a new formula.
        kind: ``"new"``, or of :data:`sycam.methods.KINDS`: ``"published"``, ``"blurred"``,
            ``"baseline"``, ``"control"``.
        layers: names of the layers that it reads.
        cost: of the expression.
        phase: of the search in which it entered: ``"guesses"``, ``"combined"``, ``"exhaustive"``,
            ``"guided"``, ``"constants"``, ``"simplified"``; or ``"known"``: scored as a published
            CAM, baseline or control, which all are whatever the search does.
        images: how many search images it saw.
        scores: how many scores that took: one per image, or where the search looks at single levels
            of the metric one per image and level; None where a published CAM fell behind.
        mean: of the scores it has, in the metric's own direction; under the first of several goals.
        dropped: why it did not see all: ``"race"`` (it lost to the leader), ``"bound"`` (it could
            not win any more), ``"degenerate"`` (its heatmaps are flat), ``"overflow"`` (its values
            are not finite), ``"behind"`` (a published CAM for which time did not suffice). None
            where it saw all.
    """

    expression: str | None
    name: str | None
    kind: str
    layers: tuple[str, ...]
    cost: int | None
    phase: str
    images: int
    scores: int | None
    mean: float
    dropped: str | None

    @property
    def finished(self) -> bool:
        """Whether it saw all search images."""
        return self.dropped is None


COLUMNS = tuple(field.name for field in fields(ScoredCandidate))


def candidates_of(
    problem: Problem, found: SearchResult, blocks: Sequence[ImageBlock]
) -> tuple[ScoredCandidate, ...]:
    """The table of a search: published CAMs and controls, then formulas as they entered.

    Args:
        problem: what was searched.
        found: by the search.
        blocks: its stages.
    """
    outcome, named = found.outcome, tuple(layer.name for layer in problem.explained.layers)

    def known(candidate: Candidate, dropped: str | None) -> ScoredCandidate:
        site = candidate.name.partition("@")[2]
        return ScoredCandidate(
            expression=None if candidate.expression is None else str(candidate.expression),
            name=candidate.name,
            kind=candidate.kind,
            layers=(site,) if site else named,
            cost=candidate.cost,
            phase=KNOWN,
            images=len(candidate.score.values),
            scores=blocks[-1].end if dropped is None else None,
            mean=candidate.mean,
            dropped=dropped,
        )

    rows = [known(candidate, None) for candidate in outcome.known]
    rows += [known(candidate, BEHIND) for candidate in outcome.known_partly]
    again = {row.expression: row for row in rows if row.expression is not None}
    finished = {candidate.name: candidate for candidate in outcome.candidates}
    dropped = {str(standing.expression): standing for standing in outcome.dropped}
    for text, phase in outcome.entered_in.items():
        one, seen = finished.get(text) or dropped[text], len(blocks) - 1
        if text in finished:
            mean, why = finished[text].mean, None
        else:
            seen, why = dropped[text].stage, dropped[text].dropped
            mean = problem.metric.oriented(dropped[text].mean)  # its sign is turned back
        expression = one.expression
        assert expression is not None  # candidates of a search are expressions
        rows.append(
            ScoredCandidate(
                expression=text,
                name=again[text].name if text in again else None,
                kind=again[text].kind if text in again else NEW,
                layers=expression.sites or named,
                cost=expression.cost,
                phase=phase,
                images=max(block.stop for block in blocks[: seen + 1]),
                scores=blocks[seen].end,
                mean=mean,
                dropped=why,
            )
        )
    return tuple(rows)


def candidate_rows(candidates: Iterable[ScoredCandidate]) -> list[dict[str, object]]:
    """Each as a row of a table; layers are joined by `` + ``."""
    return [
        {name: getattr(one, name) for name in COLUMNS} | {"layers": _JOINED.join(one.layers)}
        for one in candidates
    ]


def candidates_text(candidates: Iterable[ScoredCandidate]) -> str:
    """The table as CSV with a line of titles."""
    return csv_text(COLUMNS, candidate_rows(candidates))


def read_candidates(
    folder: Path, certificate: Certificate, higher_is_better: bool
) -> tuple[ScoredCandidate, ...]:
    """The table that a run's folder holds.

    Args:
        folder: of the run.
        certificate: of its result.
        higher_is_better: under the (first) metric.

    Raises:
        RunError: there is none, as in runs of before it was written, or it is not that of the
            result.
    """
    file = folder / CANDIDATES_FILE
    again = "the same sycam synthesize command writes it again from the journal"
    try:
        text = read_text(file, LARGEST, within=folder)
        rows = tuple(map(_row, csv.DictReader(io.StringIO(text), strict=True)))
        stages = {end: stage for stage, end in enumerate(certificate.stages)}
        fates = [_fate(row, stages, higher_is_better) for row in rows if row.phase != KNOWN]
    except FileNotFoundError:
        raise RunError(f"there is no table of candidates in '{folder}'; {again}") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
        said = f"{type(error).__name__}: {error}"
        raise RunError(f"'{file}' cannot be read: {said:.200}; {again}") from None
    if candidates_digest(fates) != certificate.candidates:
        raise RunError(f"'{file}' is not the table of the run's result; {again}")
    return rows


def _row(cells: Mapping[str, str]) -> ScoredCandidate:
    return ScoredCandidate(
        expression=cells["expression"] or None,
        name=cells["name"] or None,
        kind=cells["kind"],
        layers=tuple(cells["layers"].split(_JOINED)),
        cost=int(cells["cost"]) if cells["cost"] else None,
        phase=cells["phase"],
        images=int(cells["images"]),
        scores=int(cells["scores"]) if cells["scores"] else None,
        mean=float(cells["mean"]),
        dropped=cells["dropped"] or None,
    )


def _fate(row: ScoredCandidate, stages: Mapping[int, int], higher: bool) -> Fate:
    """What the certificate's digest has of a formula."""
    oriented = row.mean if higher or row.dropped is None else -row.mean
    return str(row.expression), row.dropped, stages[int(row.scores or 0)], oriented
