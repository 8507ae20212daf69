"""The certificate of a search: what the winner's claim rests on, which can be derived again."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from sycam.problem.problem import Problem
from sycam.search import Candidate, Level
from sycam.search.options import COSTLIEST, EXACT, SearchOptions
from sycam.search.outcome import Outcome, Script
from sycam.search.run import SearchResult, search_blocks
from sycam.search.space import probe_images
from sycam.support.schema import Bounds, Count, absent

CandidateCount = Annotated[int, Bounds(0, 10_000_000)]


@dataclass(frozen=True)
class FormulaFigure:
    """A formula with its figure on the search images."""

    expression: str
    figure: float


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What was searched, and what the winner's claim rests on.

    Attributes:
        mode: of the search.
        grammar: digest of the space.
        equivalence, invariance: what tells candidates apart.
        probe_images: on how many images that is seen.
        levels: what enumeration did at each complete cost: trees by recurrence, expressions
            built, values, candidates, flat, overflowed, probe collisions as ``disagreements``.
        complete_cost: every distinct candidate up to it entered.
        entered: number of candidates by phase.
        finished: how many saw all images.
        dropped: number of the others by rule.
        settling: batches that bringing candidates back took.
        brought_back: candidates dropped that the selection rule might have preferred.
        unsettled: those of them for which the time did not suffice.
        scores: of one candidate on one image that were needed, in a race at one of the metric's
            levels.
        scores_without: dropping none.
        stages: how many of them a candidate has at the end of each stage.
        leaders: names of the candidates that have led, in turn.
        rule: of selection.
        winner: the formula chosen.
        best_new: the best formula that is no published CAM.
        whole: what the rule chose, where ``best_new`` is a simpler form of it.
        runner_up: the next by the rule.
        candidates: digest of who entered and how far each got.
        averages: whether the (first) metric's figure is a mean over images.
        stopped: why the search ended.
        delta, tolerance: of a race.
        known: how many published CAMs and controls saw each stage's images; None where all saw
            all.
        enumerated: expressions and levels enumerated when proposals took over from an enumeration
            that was not at its end; None where they did not.
    """

    mode: str
    grammar: str
    equivalence: str
    invariance: str
    probe_images: Count
    levels: Annotated[tuple[Level, ...], Bounds(0, COSTLIEST)]
    complete_cost: Count
    entered: Mapping[str, CandidateCount]
    finished: Count
    dropped: Mapping[str, CandidateCount]
    settling: Count
    brought_back: Count
    unsettled: Count
    scores: Count
    scores_without: Count
    stages: tuple[Count, ...]
    leaders: tuple[str, ...]
    rule: str
    winner: FormulaFigure | None
    best_new: FormulaFigure | None = None
    runner_up: FormulaFigure | None
    candidates: str
    averages: bool
    stopped: str
    delta: float | None = absent()
    tolerance: float | None = absent()
    known: tuple[Count, ...] | None = absent()
    whole: FormulaFigure | None = absent()
    enumerated: CandidateCount | None = absent()

    @property
    def script(self) -> Script:
        """How far the search went, to be played again."""
        return Script(self.entered, self.settling, self.known, self.enumerated)


def certificate_of(problem: Problem, options: SearchOptions, found: SearchResult) -> Certificate:
    """The certificate of a search."""
    metric, outcome = problem.metric, found.outcome
    entered = len(outcome.candidates) + len(outcome.dropped)
    blocks, raced = search_blocks(problem, options), options.mode != EXACT
    return Certificate(
        mode=options.mode,
        grammar=problem.grammar.digest,
        equivalence=options.equivalence,
        invariance=metric.invariance,
        probe_images=probe_images(problem),
        # How far a level was enumerated that was not finished depends on the time that was left.
        levels=tuple(v for v in outcome.levels if v.cost <= outcome.complete_cost),
        complete_cost=outcome.complete_cost,
        entered=dict(outcome.phases),
        finished=len(outcome.candidates),
        dropped=dict(sorted(Counter(s.dropped for s in outcome.dropped if s.dropped).items())),
        settling=outcome.settling,
        brought_back=outcome.brought_back,
        unsettled=outcome.unsettled,
        scores=outcome.spent,
        scores_without=entered * blocks[-1].end,
        stages=tuple(block.end for block in blocks),
        leaders=tuple(outcome.leaders),
        rule=options.rule,
        winner=_figure(found.winner),
        best_new=_figure(found.new),
        runner_up=_figure(found.runner_up),
        candidates=candidates_digest(_fates(outcome)),
        averages=not problem.goals[0].components,
        stopped=outcome.stopped,
        delta=options.delta if raced else None,
        tolerance=options.tolerance_of(metric, problem.context.scale.spread) if raced else None,
        known=outcome.known_counts,
        whole=_figure(found.whole),
        enumerated=outcome.enumerated,
    )


def _figure(candidate: Candidate | None) -> FormulaFigure | None:
    return None if candidate is None else FormulaFigure(candidate.name, candidate.mean)


Fate = tuple[str, str | None, int, float]
"""A candidate's expression; why it dropped out, or None; its last stage; and its mean: in the
metric's own direction where it finished, higher is better where it dropped out."""


def _fates(outcome: Outcome) -> Iterator[Fate]:
    yield from ((c.name, None, 0, c.mean) for c in outcome.candidates)
    yield from ((str(s.expression), s.dropped, s.stage, s.mean) for s in outcome.dropped)


def candidates_digest(fates: Iterable[Fate]) -> str:
    """Digest of who entered a search and how far each got, in any order."""
    lines = [
        f"{name} finished {mean!r}" if dropped is None else f"{name} {dropped} {stage} {mean!r}"
        for name, dropped, stage, mean in fates
    ]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
