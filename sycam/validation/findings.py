"""What held-out evidence says: each method's figures, the winner's comparisons, and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sycam.data.images import ImageSet
from sycam.errors import unknown_name
from sycam.events import Event
from sycam.methods.method import BLURRED, RIVALS
from sycam.methods.rivals import descending, plainest
from sycam.metrics.robustness.sanity import INSENSITIVE
from sycam.problem.explained_network import ExplainedNetwork
from sycam.scoring.ranks import LEVEL, MeanRanks, mean_ranks
from sycam.scoring.statistics import CONFIDENCE, Comparison, Interval, caution
from sycam.support.schema import Figure, absent
from sycam.validation.measures import Measures

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
        return beats(self.against)


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
                        beats(chosen.under(goal).against),
                        best.name,
                        beats(best.under(goal).against),
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


def beats(against: Comparison | None) -> bool:
    """Whether a comparison favours the winner, corrected p < 0.05."""
    return bool(against and against.difference.mean > 0 and against.p_holm < 1 - CONFIDENCE)
