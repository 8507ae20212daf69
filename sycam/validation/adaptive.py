"""The choice of a formula image by image on images that the search never saw.

Half of the metric's levels choose the member of a portfolio that scores best on an image; the other
half judge the choice, with other noise. The levels that chose promise far too much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np

from sycam.events import Interrupted, Notify, Stage, Step, ignore
from sycam.evidence import Evidence, Stack
from sycam.methods import Method
from sycam.metrics import Context, Metric
from sycam.metrics.composition.levels import best_member, halves
from sycam.scoring.blocks import ImageBlock
from sycam.scoring.journal import Journal
from sycam.scoring.journaled_scorer import recorded_name
from sycam.scoring.statistics import Comparison, Interval, compared, interval
from sycam.search.options import MOST
from sycam.support.schema import Bounds, Count, Figure
from sycam.validation.entrants import Entrant
from sycam.validation.heldout_scores import USUAL, Conduct

ADAPTIVE = "adaptive"
CHOICE, WINNER, RIVAL, PUBLISHED_CHOICE = "choice", "winner", "rival", "published-choice"
_OTHER_NOISE = 1  # is added to the seed for what judges
Names = Annotated[tuple[str, ...], Bounds(0, MOST)]


@dataclass(frozen=True)
class Contest:
    """Who is compared.

    Attributes:
        own: the portfolio.
        published: that of the published CAMs.
        winner: of the search, alone; None where there is none.
        rival: the published CAM that the search images choose, alone; None where there is none.
    """

    own: Sequence[Method]
    published: Sequence[Method]
    winner: Method | None
    rival: Method | None


@dataclass(frozen=True)
class HalfScores:
    """One method on the held-out images at either half of the levels, as if the other half were
    like it.

    Attributes:
        name: of the method, by which its scores are on record.
        choice: ``[N]`` at the levels that choose; empty of one that is in no portfolio.
        judged: ``[N]`` at the levels that judge, with other noise.
    """

    name: str
    choice: tuple[Figure, ...] = field(repr=False)
    judged: tuple[Figure, ...] = field(repr=False)


@dataclass(frozen=True)
class AdaptiveRow:
    """A choice image by image, or one method on all images, by the levels that judge.

    Attributes:
        kind: ``"choice"``, from the portfolio; ``"winner"``; ``"rival"``, the published CAM that
            the search images choose; ``"published-choice"``, from the published portfolio.
        name: of the method; of a choice those that it is from.
        heldout: its figure.
        against: the choice compared with it; None of the choice itself. Holm-corrected over the
            rows.
        taken: on how many images each member was; empty of one method.
    """

    kind: str
    name: str
    heldout: Interval
    against: Comparison | None
    taken: Annotated[tuple[Count, ...], Bounds(0, MOST)] = ()


@dataclass(frozen=True)
class Adaptive:
    """The choice image by image: from what, at what price, and what it gains.

    Attributes:
        members: expressions, in the order in which the search images chose them.
        published: names of the published CAMs of their own portfolio.
        choosing, judging: numbers of the levels that choose and judge, from 1 on.
        passes: forward passes that a choice takes for one image, beside its heatmaps.
        images: number of held-out images.
        rows: the evidence; empty where it was not measured.
        scores: what it is computed from.
    """

    members: Names
    published: Names
    choosing: tuple[Count, ...]
    judging: tuple[Count, ...]
    passes: Count
    images: Count = 0
    rows: tuple[AdaptiveRow, ...] = ()
    scores: tuple[HalfScores, ...] = ()

    @classmethod
    def pending(cls, contest: Contest, metric: Metric) -> Adaptive:
        """That whose evidence is still to come."""
        choosing, judging = halves(metric)
        return cls(
            members=tuple(recorded_name(method) for method in contest.own),
            published=tuple(method.name for method in contest.published),
            choosing=choosing.numbers,
            judging=judging.numbers,
            passes=len(contest.own) * choosing.passes,
        )


def adaptive_evidence(
    contest: Contest,
    metric: Metric,
    measured: tuple[Evidence | Stack, Context],
    seed: int = 0,
    notify: Notify = ignore,
    conduct: Conduct = USUAL,
) -> Adaptive:
    """Choose image by image on held-out images, and judge that beside the winner, the chosen
    published CAM and the choice from the published portfolio.

    Args:
        contest: who is compared.
        metric: with levels.
        measured: evidence and context of the N held-out images.
        seed: of bootstrap and sign flips.
        notify: watches the progress.
        conduct: whether it is wanted, and where scores are kept.

    Returns:
        The evidence; without rows where there is no portfolio, it is not wanted, or it was
        interrupted.
    """
    pending = Adaptive.pending(contest, metric)
    winner = contest.winner
    if not contest.own or winner is None:
        return pending
    if not conduct.wanted(_entrant(winner), ADAPTIVE, metric):
        return pending
    try:
        scores = _half_scores(contest, metric, measured, notify, conduct)
    except KeyboardInterrupt:
        notify(Interrupted("interrupted: the choice image by image has no held-out evidence"))
        return pending
    return replace(
        pending,
        images=len(measured[1]),
        rows=tuple(_rows(contest, metric, scores, seed)),
        scores=tuple(scores.values()),
    )


def _half_scores(
    contest: Contest,
    metric: Metric,
    measured: tuple[Evidence | Stack, Context],
    notify: Notify,
    conduct: Conduct,
) -> dict[str, HalfScores]:
    """By the names on record; what the journal holds is not measured again."""
    evidence, context = measured
    alone = [method for method in (contest.winner, contest.rival) if method is not None]
    among = {recorded_name(m): m for m in (*contest.own, *contest.published)}
    methods = {**among, **{recorded_name(m): m for m in alone}}
    both = halves(metric)
    block = ImageBlock(0, len(context), len(context))
    # Else noise that happens to favour a member would choose it and praise it.
    other = replace(context, seed=context.seed + _OTHER_NOISE, kept={}, work=None)
    scorer = conduct.scoring.scorer
    scorers = [scorer(half, evidence, c) for half, c in zip(both, (context, other), strict=True)]
    notify(Stage("Validating the choice image by image", len(methods)))
    opened: AbstractContextManager[Journal | None] = nullcontext()
    if conduct.open_journal is not None:
        opened = closing(conduct.open_journal(both, (block,) * len(both), ADAPTIVE))

    def scored(name: str, half: int, journal: Journal | None) -> tuple[float, ...]:
        score = None if journal is None else journal.known.get((name, half))
        if score is None:
            score = scorers[half].score_method(methods[name])
            if journal is not None:
                journal.append(half, [name], [score])
        settled = conduct.settle(_entrant(methods[name]), both[half], score)
        return tuple(settled.values.tolist())

    found = {}
    with opened as journal:
        for done, name in enumerate(methods, 1):
            choice = scored(name, 0, journal) if name in among else ()
            found[name] = HalfScores(name, choice, scored(name, 1, journal))
            notify(Step(done))
    return found


def _rows(
    contest: Contest, metric: Metric, scores: Mapping[str, HalfScores], seed: int
) -> list[AdaptiveRow]:
    """The choice first, then what it is compared with."""
    rows = [_choice(CHOICE, contest.own, metric, scores)]
    for kind, method in ((WINNER, contest.winner), (RIVAL, contest.rival)):
        if method is not None:
            judged = np.array(scores[recorded_name(method)].judged)
            rows.append((kind, method.name, judged, ()))
    if contest.published:
        rows.append(_choice(PUBLISHED_CHOICE, contest.published, metric, scores))
    ours = rows[0][2]
    differences = [metric.oriented(ours) - metric.oriented(judged) for _, _, judged, _ in rows[1:]]
    against = [None, *compared(differences, seed, spans=[metric.span] * len(differences))]
    return [
        AdaptiveRow(kind, name, interval(judged, metric, seed), comparison, taken)
        for (kind, name, judged, taken), comparison in zip(rows, against, strict=True)
    ]


def _choice(
    kind: str, members: Sequence[Method], metric: Metric, scores: Mapping[str, HalfScores]
) -> tuple[str, str, np.ndarray, tuple[int, ...]]:
    """Kind, name, ``[N]`` judged scores of the members chosen, and how often each was."""
    known = [scores[recorded_name(method)] for method in members]
    chosen = best_member(metric.oriented(np.array([one.choice for one in known])))
    judged = np.array([one.judged for one in known])[chosen, np.arange(len(chosen))]
    taken = tuple(np.bincount(chosen, minlength=len(members)).tolist())
    return kind, ", ".join(method.name for method in members), judged, taken


def _entrant(method: Method) -> Entrant:
    return Entrant(method, ADAPTIVE, float("nan"))
