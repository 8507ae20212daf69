"""Held-out evidence: means with intervals, paired tests, and metrics that were not optimised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sycam.data.images import ImageSet
from sycam.errors import unknown_name
from sycam.events import Event, Notify, ignore
from sycam.evidence import Evidence, Stack
from sycam.methods.method import BLURRED, RIVALS
from sycam.methods.rivals import best_rival, descending, plainest
from sycam.metrics import Context, Metric
from sycam.metrics.robustness.sanity import INSENSITIVE
from sycam.problem.explained_network import ExplainedNetwork
from sycam.scoring.ranks import LEVEL, MeanRanks, mean_ranks
from sycam.scoring.statistics import (
    CONFIDENCE,
    Comparison,
    Interval,
    Scored,
    caution,
    compared,
    interval,
    swap_p,
    swappable,
)
from sycam.support.schema import Figure, absent
from sycam.validation.entrants import NEW, SIMPLEST, WINNER, Entrant
from sycam.validation.heldout_scores import (
    ANOTHER,
    BUDGET,
    GOALS,
    GUARDS,
    PANEL,
    USUAL,
    Conduct,
    HeldOutScores,
)
from sycam.validation.measures import GUARDED, Measures

PENDING = "pending"
_CONCERNS = {
    "class-sensitivity": (lambda v: v < INSENSITIVE, "it hardly changes with the class explained"),
    "randomisation": (lambda v: v > 0.95, "it hardly changes with the network's weights"),
}


@dataclass(frozen=True)
class Further:
    """One method on the held-out images under a goal beside the first.

    Attributes:
        heldout: its figure.
        against: the winner compared with it, for published CAMs and controls.
        scores: ``[N]`` what each held-out image adds.
    """

    heldout: Interval
    against: Comparison | None
    scores: tuple[Figure, ...] = field(repr=False)


@dataclass(frozen=True)
class Verdict:
    """Whether the winner holds under one goal.

    Attributes:
        goal: text of the metric.
        chosen_published: name of the published method that the search images choose under the
            first goal.
        beats_chosen: whether the winner exceeds it with Holm-corrected p < 0.05.
        best_published: name of the published method that is best under it on the held-out images,
            known in hindsight only.
        beats_published: whether the winner exceeds it with Holm-corrected p < 0.05.
        plain: name of the best in hindsight of those that are not blurred.
        blurred: name of the best of those that are; None where none is a rival.
    """

    goal: str
    chosen_published: str
    beats_chosen: bool
    best_published: str
    beats_published: bool
    plain: str | None
    blurred: str | None


@dataclass(frozen=True)
class Row:
    """One method on the held-out images.

    Attributes:
        name: method name or expression text.
        kind: as of :class:`~sycam.validation.entrants.Entrant`.
        expression: its text, or None where it is computed directly.
        cost: of the expression.
        search: mean on the search images.
        heldout: mean on the held-out images.
        sound: mean on the held-out images where no compared map is degenerate; NaN if none.
        degenerate: number of held-out images on which its map ranks nothing.
        panel: figures under metrics that were not optimised; of those that were measured.
        guards: figures of the sanity guards on some of the images; empty where none was measured.
        against: the winner compared with it, for published CAMs and controls.
        scores: ``[N]`` held-out scores, an image each.
        further: figures and tests under the goals beside the first.
    """

    name: str
    kind: str
    expression: str | None
    cost: int | None
    search: Figure
    heldout: Interval
    sound: Figure
    degenerate: int
    panel: Mapping[str, Figure]
    against: Comparison | None
    scores: tuple[Figure, ...] = field(repr=False)
    guards: Mapping[str, Figure] = field(default_factory=dict)
    further: Mapping[str, Further] = field(default_factory=dict)

    def under(self, goal: str) -> Row | Further:
        """Figure, test and scores under a goal; the row itself has those of the first."""
        return self.further.get(goal, self)


@dataclass(frozen=True)
class AnotherImputer:
    """The winner against the chosen rival where removed pixels are filled otherwise.

    Attributes:
        metric: text of the metric with that imputer.
        rival: name of the published method that the search images choose.
        against: the winner compared with it, a test of its own.
    """

    metric: str
    rival: str
    against: Comparison

    @property
    def survives(self) -> bool:
        """Whether the winner exceeds the rival so, too, with p < 0.05."""
        return _beats(self.against)


@dataclass(frozen=True)
class LeftOut:
    """What the held-out evidence lacks.

    Attributes:
        why: ``"budget"``, ``"interrupt"``, or ``"pending"`` where it was not begun.
        methods: names of those that were not scored under the goals.
        images: whether only the first of the held-out images were measured.
    """

    why: str
    methods: tuple[str, ...]
    images: bool = False


@dataclass(frozen=True)
class Validation:
    """The evidence on images that the search never saw.

    Attributes:
        metric: the optimised metric.
        images: number of held-out images.
        sound_images: how many of them have no degenerate map among the methods compared.
        rows: winner first, then by held-out mean.
        best_published: name of the published method (baselines too) with the best held-out mean.
        chosen_published: name of the published method that the search images would have chosen.
        beats_published: whether the winner's mean exceeds the best published one's with
            Holm-corrected p < 0.05.
        directions: metric, panel and guards to whether higher is better.
        guarded_images: number of images on which the guards were measured.
        left_out: what is lacking; None where all was measured.
        another_imputer: whether a lead by removal survives another way of it; None where the
            metric removes otherwise than ROAD, or it was not measured.
    """

    metric: str
    images: int
    sound_images: int
    rows: tuple[Row, ...]
    best_published: str | None
    chosen_published: str | None
    beats_published: bool
    directions: Mapping[str, bool] = field(default_factory=dict)
    guarded_images: int = 0
    left_out: LeftOut | None = absent()
    another_imputer: AnotherImputer | None = absent()

    @classmethod
    def pending(cls, measures: Measures) -> Validation:
        """That which is still to come."""
        directions = {m.text: m.higher_is_better for m in measures.all}
        left_out = LeftOut(PENDING, ())
        return cls(measures.metric.text, 0, 0, (), None, None, False, directions, 0, left_out)

    @property
    def is_pending(self) -> bool:
        """Whether it was not begun."""
        return self.left_out is not None and self.left_out.why == PENDING

    @property
    def goals(self) -> tuple[str, ...]:
        """The goals, the first being the metric."""
        return self.metric, *(self.rows[0].further if self.rows else ())

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Of each goal; none without a winner or without published methods."""
        verdicts = []
        for goal in self.goals:
            sign = 1 if self.directions[goal] else -1
            rivals = [r for r in self.rows if r.kind in RIVALS and r.against is not None]
            rivals.sort(
                key=lambda r: (descending(sign * r.under(goal).heldout.mean), *plainest(r.name))
            )
            chosen = next((r for r in rivals if r.name == self.chosen_published), None)
            if chosen is not None:
                best = rivals[0]
                verdicts.append(
                    Verdict(
                        goal,
                        chosen.name,
                        _beats(chosen.under(goal).against),
                        best.name,
                        _beats(best.under(goal).against),
                        next((r.name for r in rivals if r.kind != BLURRED), None),
                        next((r.name for r in rivals if r.kind == BLURRED), None),
                    )
                )
        return tuple(verdicts)

    def ranks(self, goal: str | None = None, alpha: float = LEVEL) -> MeanRanks:
        """How the methods rank image by image under a goal.

        Args:
            goal: text of the metric; the first goal if None.
            alpha: of the critical difference.

        Raises:
            UnknownNameError: no goal of the run.
            OptionError: fewer than three methods or two images, or alpha out of range.
        """
        goal = self.metric if goal is None else goal
        if goal not in self.goals:
            raise unknown_name("goal of this run", goal, self.goals)
        named = {row.name: row.under(goal).scores for row in self.rows}
        scores = np.array(list(named.values())).reshape(len(named), -1).T
        return mean_ranks(scores, list(named), self.directions[goal], alpha)

    def row(self, name: str) -> Row:
        """The row of a method by name."""
        return next(row for row in self.rows if row.name == name)

    @property
    def winner(self) -> Row | None:
        """The winner's row."""
        return next((row for row in self.rows if row.kind == "winner"), None)

    @property
    def concerns(self) -> tuple[str, ...]:
        """What is wrong with the winner whatever it scores: sanity guards that it fails."""
        guards = self.winner.guards if self.winner else {}
        return tuple(
            f"{said} ({name} {guards[name]:.3f})"
            for name, (fails, said) in _CONCERNS.items()
            if name in guards and fails(guards[name])
        )

    @property
    def caution(self) -> str | None:
        """What to know before intervals and p values are trusted: see
        :func:`sycam.scoring.statistics.caution`."""
        said = [row for row in self.rows if row.kind == "winner" or row.name == self.best_published]
        return caution([np.array(row.under(g).scores) for row in said for g in self.goals])


@dataclass(frozen=True)
class Validated(Event):
    """The held-out evidence is complete.

    Attributes:
        explained: the network.
        images: the held-out ones.
        validation: the evidence.
    """

    explained: ExplainedNetwork
    images: ImageSet
    validation: Validation


def _figure(metric: Metric, values: np.ndarray, fitted: Any) -> float:
    return float(metric.reduce(values, fitted)) if len(values) else float("nan")


def validate(
    entrants: Sequence[Entrant],
    measures: Measures,
    evidence: Evidence | Stack,
    context: Context,
    seed: int = 0,
    notify: Notify = ignore,
    conduct: Conduct = USUAL,
) -> Validation:
    """Score methods on held-out images and compare the winner with every other.

    Args:
        entrants: the methods; at most one of kind ``"winner"``.
        measures: under which they are scored.
        evidence: measurements on the held-out images.
        context: of the same images.
        seed: of bootstrap and sign flips.
        notify: watches the progress.
        conduct: for how long, and where scores are kept.

    Returns:
        The evidence; without rows where it was interrupted before the winner was scored.
    """
    heldout = HeldOutScores(entrants, measures, evidence, context, conduct, notify)
    heldout.measure()
    return _evaluated(heldout, seed)


def _evaluated(heldout: HeldOutScores, seed: int) -> Validation:
    """The figures and tests of what was scored."""
    measures, images = heldout.measures, len(heldout.context)
    metric, goals = measures.metric, measures.goals
    scores = [heldout.scores(i, GOALS) for i in range(len(heldout.entrants))]
    there = [i for i, known in enumerate(scores) if len(known) == len(goals)]
    kinds = [entrant.kind for entrant in heldout.entrants]
    if WINNER in kinds and kinds.index(WINNER) not in there:
        there = []
    entrants = [heldout.entrants[i] for i in there]
    columns = [[scores[i][goal.text] for goal in goals] for i in there]
    panel, guards = (
        [
            {text: s.mean for part in parts for text, s in heldout.scores(i, part).items()}
            for i in there
        ]
        for parts in ((PANEL, ANOTHER), (GUARDS,))
    )
    # Images on which no method's map is degenerate.
    sound = np.ones(images, bool)
    for first, *_ in columns:
        sound &= ~np.asarray(first.flat, bool)
    winner = next((i for i, e in enumerate(entrants) if e.kind == WINNER), None)
    # By goal and entrant.
    fitted = [[e.fitted, *e.fitted_further][: len(goals)] for e in entrants]
    values = [[column[g].values for column in columns] for g in range(len(goals))]
    added = [
        [goal.per_image(v, f[g]) for v, f in zip(values[g], fitted, strict=True)]
        for g, goal in enumerate(goals)
    ]
    oriented = [list(map(goal.oriented, a)) for goal, a in zip(goals, added, strict=True)]
    comparisons = _compare(
        winner,
        entrants,
        [
            [
                Scored(o, goal, v, f[g])
                for o, v, f in zip(oriented[g], values[g], fitted, strict=True)
            ]
            for g, goal in enumerate(goals)
        ],
        seed,
    )
    rows = [
        Row(
            name=entrant.method.name,
            kind=entrant.kind,
            expression=None if e is None else str(e),
            cost=None if e is None else e.cost,
            search=entrant.search,
            heldout=interval(score.values, metric, seed, entrant.fitted),
            sound=_figure(metric, score.values[sound], entrant.fitted),
            degenerate=score.degenerate,
            panel=panel[i],
            against=comparisons.get((0, i)),
            scores=tuple(added[0][i].tolist()),
            guards=guards[i],
            further={
                goal.text: Further(
                    interval(values[g][i], goal, seed, fitted[i][g]),
                    comparisons.get((g, i)),
                    tuple(added[g][i].tolist()),
                )
                for g, goal in enumerate(goals)
                if g
            },
        )
        for i, (entrant, (score, *_)) in enumerate(zip(entrants, columns, strict=True))
        for e in [entrant.method.expression]
    ]
    rows.sort(key=lambda r: (r.kind != WINNER, descending(metric.oriented(r.heldout.mean))))
    best = best_rival(rows, lambda row: metric.oriented(row.heldout.mean))
    chosen = best_rival(rows, lambda row: metric.oriented(row.search))
    missing = tuple(e.method.name for i, e in enumerate(heldout.entrants) if i not in there)
    fewer = heldout.conduct.images is not None
    return Validation(
        metric=metric.text,
        images=images if rows else 0,
        sound_images=int(sound.sum()) if rows else 0,
        rows=tuple(rows),
        best_published=None if best is None else best.name,
        chosen_published=None if chosen is None else chosen.name,
        beats_published=bool(best and _beats(best.against)),
        directions={m.text: m.higher_is_better for m in measures.all},
        guarded_images=min(GUARDED, images) if any(guards) else 0,
        left_out=LeftOut(heldout.ended or BUDGET, missing, fewer)
        if heldout.ended or fewer
        else None,
        another_imputer=_by_another_imputer(heldout, chosen, seed),
    )


def _by_another_imputer(
    heldout: HeldOutScores, chosen: Row | None, seed: int
) -> AnotherImputer | None:
    """The winner against the chosen rival; None where one of them was not measured so."""
    another = heldout.measures.another
    if another is None or chosen is None:
        return None
    measured = {
        (entrant.kind, entrant.method.name): another.oriented(score.values)
        for i, entrant in enumerate(heldout.entrants)
        for score in heldout.scores(i, ANOTHER).values()
    }
    winner = next((values for (kind, _), values in measured.items() if kind == WINNER), None)
    rival = measured.get((chosen.kind, chosen.name))
    if winner is None or rival is None:
        return None
    (against,) = compared([winner - rival], seed)
    return AnotherImputer(another.text, chosen.name, against)


def _compare(
    winner: int | None,
    entrants: Sequence[Entrant],
    scored: Sequence[Sequence[Scored]],
    seed: int,
) -> dict[tuple[int, int], Comparison]:
    """By goal and entrant; ``scored`` are of each goal each entrant's."""
    if winner is None:
        return {}
    pairs = {
        (goal, i): (each[winner], each[i])
        for goal, each in enumerate(scored)
        for i, e in enumerate(entrants)
        if e.kind in (*RIVALS, NEW, SIMPLEST, "control")
    }
    differences = [one.oriented - other.oriented for one, other in pairs.values()]
    raw = [
        swap_p(one, other, seed) if swappable(one, other) else None for one, other in pairs.values()
    ]
    spans = [one.metric.span for one, _ in pairs.values()]
    return dict(zip(pairs, compared(differences, seed, raw, spans), strict=True))


def _beats(against: Comparison | None) -> bool:
    return bool(against and against.difference.mean > 0 and against.p_holm < 1 - CONFIDENCE)
