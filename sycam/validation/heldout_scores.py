"""Scores on the held-out images: what matters most first, each kept on disk as soon as it is there,
until all are measured or the time is up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from itertools import chain

from sycam.errors import OptionError
from sycam.events import INTERRUPT, Interrupted, Note, Notify, Stage, Step
from sycam.evidence import Evidence, Stack
from sycam.language.mirroring import split_mirrored
from sycam.methods import ALWAYS, Method
from sycam.methods.method import BLURRED, RIVALS
from sycam.metrics import Context, Metric
from sycam.scoring.blocks import ImageBlock
from sycam.scoring.journal import Journal
from sycam.scoring.journaled_scorer import recorded_name
from sycam.scoring.scorer import Score, Scorer
from sycam.scoring.scoring import IN_PROCESS, WHOLE, Scoring
from sycam.validation.entrants import (
    LEADERS,
    NEW,
    SIMPLEST,
    WINNER,
    Entrant,
    by_importance,
    essential,
    first_alike,
    looked_at,
)
from sycam.validation.measures import GUARDED, Measures, passes_of

BUDGET = "budget"
_GUARDED_KINDS = (WINNER, NEW, SIMPLEST, "published", "control")

GOALS, PANEL, GUARDS = "goals", "panel", "guards"
ANOTHER = "another"  # the metric with another imputer
BESIDE = "beside"  # formulas of the front, which are scored once the evidence is there
Settle = Callable[[Entrant, Metric, Score], Score]  # what counts as an entrant's held-out score
OpenJournal = Callable[[Sequence[Metric], Sequence[ImageBlock], str], Journal]
HELDOUT = "heldout"  # name of the journal of all these


def as_measured(entrant: Entrant, metric: Metric, score: Score) -> Score:
    """The score itself."""
    return score


def _endless() -> float:
    return math.inf


def _all(entrant: Entrant, part: str, metric: Metric) -> bool:
    return True


@dataclass(frozen=True)
class Conduct:
    """How held-out evidence is gathered.

    Attributes:
        left: seconds that are left; what is essential is measured all the same.
        wanted: whether an entrant is measured under a metric of ``"goals"``, ``"panel"``,
            ``"guards"``, ``"another"``, ``"beside"`` or for the ``"adaptive"`` choice; all are, but
            where a record with less is derived again.
        ended: why the record has less.
        images: how many of the held-out images are measured, from the first on; all if None.
        settle: from each score that was measured, the one that counts: on record it may be
            rounded otherwise.
        open_journal: of a run's folder, by the name of the journal, where scores are kept; nothing
            is written if None.
        reserved: seconds that are kept for the choice image by image.
        scoring: who scores.
    """

    left: Callable[[], float] = _endless
    wanted: Callable[[Entrant, str, Metric], bool] = _all
    ended: str = BUDGET
    images: int | None = None
    settle: Settle = as_measured
    open_journal: OpenJournal | None = None
    reserved: float = 0.0
    scoring: Scoring = IN_PROCESS


USUAL = Conduct()


@dataclass(frozen=True)
class _Column:
    """A metric that entrants are measured under, and as what."""

    place: int
    metric: Metric
    part: str
    images: int


@dataclass(frozen=True)
class _Unit:
    """Columns of one entrant; ``must`` where they are measured however short the time."""

    entrant: int
    columns: Sequence[_Column]
    must: bool = False


def _cheap(method: Method) -> bool:
    """Whether its leaves come with one pass of the images, and one of them flipped if need be."""
    return set().union(*split_mirrored(method.leaves)) <= ALWAYS


@dataclass
class HeldOutScores:
    """What is known of the entrants on the held-out images.

    Attributes:
        entrants: the methods.
        measures: under which they are scored.
        evidence: measurements on the N images.
        context: of the same images.
        conduct: how.
        notify: watches the progress.
        ended: why it stopped short: ``"budget"``, ``"interrupt"``, or empty.
    """

    entrants: Sequence[Entrant]
    measures: Measures
    evidence: Evidence | Stack
    context: Context
    conduct: Conduct
    notify: Notify
    ended: str = ""
    _found: dict[tuple[int, int], Score] = field(default_factory=dict)  # by entrant and column
    _columns: list[_Column] = field(default_factory=list)
    _spent: dict[int, tuple[float, float]] = field(default_factory=dict)  # seconds, passes

    def __post_init__(self) -> None:
        images, measures = len(self.context), self.measures
        self._alike = first_alike(self.entrants)
        parts = [(m, GOALS, images) for m in measures.goals]
        parts += [(m, PANEL, images) for m in measures.panel]
        parts += [(m, GUARDS, min(GUARDED, images)) for m in self._usable()]
        parts += [(measures.another, ANOTHER, images)] if measures.another else []
        self._columns = [_Column(i, *part) for i, part in enumerate(parts)]

    def scores(self, entrant: int, part: str) -> dict[str, Score]:
        """What is known of the entrant at a place, by text of the metric."""
        return {
            column.metric.text: self._found[entrant, column.place]
            for column in self._of(part)
            if (entrant, column.place) in self._found
        }

    def measure(self) -> None:
        """Score what fits into the time; Ctrl-C ends it with what there is."""
        units = list(self._units())
        guarded = slice(0, GUARDED)
        given = self.measures.metric, self.evidence, self.context
        whole, small = (self.conduct.scoring.scorer(*given, part) for part in (WHOLE, guarded))
        self._prepare(whole, units)
        beside = bool(self._of(PANEL) or self._of(GUARDS))
        self.notify(Stage("Validating on held-out images", len(units) + 2 * beside))
        with self._journal() as journal:
            try:
                for done, unit in enumerate(chain(units, self._units_in_hindsight()), 1):
                    fitting = self._fitting(unit)
                    guards = [column for column in fitting if column.part == GUARDS]
                    others = [column for column in fitting if column.part != GUARDS]
                    self._score(whole, unit.entrant, others, journal)
                    self._score(small, unit.entrant, guards, journal)
                    self.notify(Step(done))
            except KeyboardInterrupt:
                self.ended = INTERRUPT
                self.notify(
                    Interrupted("interrupted: the held-out evidence ends with what there is")
                )

    def _of(self, part: str) -> list[_Column]:
        return [column for column in self._columns if column.part == part]

    def _units(self) -> Iterator[_Unit]:
        """The most important first."""
        entrants, metric = self.entrants, self.measures.metric
        first = essential(entrants, metric)
        order = [i for i in by_importance(entrants, metric) if i not in first]
        leaders, rest = order[:LEADERS], order[LEADERS:]
        goals, panel = self._of(GOALS), self._of(PANEL)
        yield from (_Unit(i, goals, must=True) for i in first)
        yield from (_Unit(i, goals) for i in leaders)
        yield from (_Unit(i, [column]) for column in panel for i in first)
        yield from (_Unit(i, guards) for i in first if (guards := self._guards_of(i)))
        yield from (_Unit(i, goals) for i in rest)
        for i in looked_at(entrants, metric):
            if i not in first and (beside := panel + self._guards_of(i)):
                yield _Unit(i, beside)
        if another := self._of(ANOTHER):
            yield from (_Unit(i, another) for i in first)

    def _units_in_hindsight(self) -> Iterator[_Unit]:
        """Panel and guards of the published CAMs that turn out best, with and without a blur."""
        metric, entrants = self.measures.metric, self.entrants
        known = [
            (-figure, i)
            for i, entrant in enumerate(entrants)
            if entrant.kind in RIVALS
            for score in [self.scores(i, GOALS).get(metric.text)]
            if score is not None
            and (figure := metric.oriented(metric.reduce(score.values, entrant.fitted))) == figure
        ]
        had = looked_at(entrants, metric)
        plain = [(figure, i) for figure, i in known if entrants[i].kind != BLURRED]
        for _, i in dict.fromkeys(min(those) for those in (known, plain) if those):
            if i not in had and (beside := self._of(PANEL) + self._guards_of(i)):
                yield _Unit(i, beside)

    def _usable(self) -> list[Metric]:
        """The guards that are defined here."""
        context, usable = self.context.subset(slice(0, GUARDED)), []
        for guard in self.measures.guards:
            try:
                guard.check(context)
            except OptionError as error:
                self.notify(Note(f"sanity guard {guard.name} is left out: {error}"))
            else:
                usable.append(guard)
        expensive = [
            e.method.name
            for e in self.entrants
            if e.kind in _GUARDED_KINDS and not _cheap(e.method)
        ]
        if expensive and usable:
            # Their leaves would be measured again for each other class and network.
            said = ", ".join(expensive)
            self.notify(Note(f"sanity guards are left out for what reads expensive leaves: {said}"))
        return usable

    def _guards_of(self, place: int) -> list[_Column]:
        entrant = self.entrants[place]
        guarded = entrant.kind in _GUARDED_KINDS and _cheap(entrant.method)
        return self._of(GUARDS) if guarded else []

    def _fitting(self, unit: _Unit) -> list[_Column]:
        """What of a unit there is time for."""
        entrant, alike = self.entrants[unit.entrant], self._alike[unit.entrant]
        fitting: list[_Column] = []
        seconds = 0.0
        for column in unit.columns:
            if not self.conduct.wanted(entrant, column.part, column.metric):
                self.ended = self.conduct.ended
                continue
            if (alike, column.place) not in self._found:
                seconds += self._seconds(column)
            if not unit.must and seconds > self.conduct.left():
                self.ended = BUDGET
                break
            fitting.append(column)
        return fitting

    def _seconds(self, column: _Column) -> float:
        """What an entrant is expected to take in a column, at the pace so far."""
        known = [self._spent[column.place]] if column.place in self._spent else self._spent.values()
        seconds, passes = (sum(parts) for parts in zip(*known, strict=True)) if known else (0.0, 1)
        return column.images * passes_of(column.metric) * seconds / passes

    def _score(
        self, scorer: Scorer, place: int, columns: Sequence[_Column], journal: Journal | None
    ) -> None:
        entrant, alike = self.entrants[place], self._alike[place]
        name, fresh = recorded_name(entrant.method), []
        for column in columns:
            same = self._found.get((alike, column.place))
            kept = journal.known.get((name, column.place)) if journal is not None else None
            if same is not None:  # a published CAM that is the winner is scored once
                self._found[place, column.place] = same
            elif kept is not None and kept.flat is not None:
                self._settle(place, column, kept)
            else:
                fresh.append(column)
        if not fresh:
            return
        started = time.monotonic()
        scores = scorer.score_under([column.metric for column in fresh], entrant.method)
        pace = (time.monotonic() - started) / sum(passes_of(c.metric) for c in fresh)
        for column, score in zip(fresh, scores, strict=True):
            passes = passes_of(column.metric)
            seconds, done = self._spent.get(column.place, (0.0, 0.0))
            self._spent[column.place] = seconds + pace * passes, done + passes * column.images
            if journal is not None:
                journal.append(column.place, [name], [score])
            self._settle(place, column, score)

    def _settle(self, place: int, column: _Column, score: Score) -> None:
        settled = self.conduct.settle(self.entrants[place], column.metric, score)
        self._found[place, column.place] = settled

    def _prepare(self, scorer: Scorer, units: Sequence[_Unit]) -> None:
        """Make the network as fast as pays for what there is time for."""
        self.notify(Stage("Preparing the network"))
        every = math.isinf(self.conduct.left())
        metrics = [c.metric for unit in units if every or unit.must for c in unit.columns]
        if metrics:
            scorer.prepare(1, metrics)

    def _journal(self) -> AbstractContextManager[Journal | None]:
        if self.conduct.open_journal is None:
            return nullcontext()
        metrics = [column.metric for column in self._columns]
        blocks = [ImageBlock(0, column.images, column.images) for column in self._columns]
        return closing(self.conduct.open_journal(metrics, blocks, HELDOUT))
