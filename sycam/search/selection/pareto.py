"""The Pareto front of goals and cost: who is on it, how much it covers, which member to offer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sycam.errors import OptionError
from sycam.metrics import Metric
from sycam.metrics.composition.objectives import Objectives, goals_of
from sycam.search.selection.dominance import hypervolume, non_dominated
from sycam.search.selection.select import Candidate


def figures_of(candidate: Candidate, metric: Metric) -> np.ndarray:
    """``[g]`` a candidate's figure under each goal, in the goal's own direction."""
    if isinstance(metric, Objectives):
        return metric.figures(candidate.score.values)
    return np.array([candidate.mean])


def oriented_figures(values: np.ndarray, metric: Metric) -> tuple[float, ...]:
    """A figure under each goal, turned so that higher is better.

    Args:
        values: ``[N]`` or ``[N,c]`` scores of some images.
        metric: one metric, or several goals.
    """
    figures = metric.figures(values) if isinstance(metric, Objectives) else [metric.reduce(values)]
    return tuple(float(g.oriented(f)) for g, f in zip(goals_of(metric), figures, strict=True))


def oriented_points(candidates: Sequence[Candidate], metric: Metric) -> np.ndarray:
    """``[n,g]`` the figures of candidates, turned so that higher is better."""
    signs = np.array([goal.oriented(1.0) for goal in goals_of(metric)])
    if not candidates:
        return np.empty((0, len(signs)))
    return np.stack([figures_of(c, metric) for c in candidates]) * signs


def pareto_front(candidates: Sequence[Candidate], metric: Metric) -> tuple[Candidate, ...]:
    """Eligible expressions that no other matches in every goal at the same or a lower cost.

    Cheapest first, at equal cost by the first goal. With one goal each member scores higher than
    all cheaper ones. The front of a front and further candidates is the front of all, so that it
    can be kept up to date.

    Args:
        candidates: with expressions, which have a cost.
        metric: one metric, or several goals.
    """
    eligible = [c for c in candidates if c.eligible]
    points = oriented_points(eligible, metric)
    defined = np.isfinite(points).all(1)
    eligible = [c for c, good in zip(eligible, defined, strict=True) if good]
    if not eligible:
        return ()
    costs = np.array([float(c.require_expression().cost) for c in eligible])
    points = np.column_stack([points[defined], -costs])
    front = np.flatnonzero(non_dominated(points))
    members = sorted(front, key=lambda i: (costs[i], *(-points[i, :-1])))
    return tuple(eligible[i] for i in members)


@dataclass(frozen=True)
class Scale:
    """What goals are measured in: 0 at the worst known figure, 1 at the best.

    Attributes:
        reference: g oriented numbers, in each goal the worst figure among published CAMs,
            baselines and controls: what a hypervolume counts from.
        ideal: g oriented numbers, in each goal the best figure among them.
    """

    reference: tuple[float, ...]
    ideal: tuple[float, ...]

    @classmethod
    def of(cls, known: Sequence[Candidate], metric: Metric) -> Scale:
        """The scale of the published CAMs, baselines and controls that were scored.

        Raises:
            OptionError: none of them has finite figures in all goals.
        """
        points = oriented_points([c for c in known if c.score.finite], metric)
        points = points[np.isfinite(points).all(1)]
        if not len(points):
            raise OptionError(
                f"no published CAM or control has a figure in every goal of {metric.text}, so "
                "that a front cannot be measured; leave out the goal that is undefined"
            )
        return cls(tuple(points.min(0).tolist()), tuple(points.max(0).tolist()))

    def scaled(self, points: np.ndarray) -> np.ndarray:
        """Oriented points ``[n,g]`` in units of the scale; where all the known are equal in a goal,
        in the goal's own units."""
        low, span = np.array(self.reference), np.subtract(self.ideal, self.reference)
        return (points - low) / np.where(span > 0, span, 1.0)

    def hypervolume(self, points: np.ndarray) -> float:
        """Volume of oriented points ``[n,g]`` above the reference: 0 of those that beat nothing, 1
        of one that equals the best of the known in every goal at once, more beyond."""
        return hypervolume(self.scaled(points), [0.0] * len(self.reference))


def hypervolume_of(
    front: Sequence[Candidate], known: Sequence[Candidate], metric: Metric
) -> float | None:
    """Of a front of several goals, see :meth:`Scale.hypervolume`; None of one goal or no front."""
    if not isinstance(metric, Objectives) or not front:
        return None
    return Scale.of(known, metric).hypervolume(oriented_points(front, metric))


def compromise(
    front: Sequence[Candidate],
    metric: Metric,
    scale: Scale,
    is_known: Callable[[Candidate], bool] = lambda _: False,
) -> Candidate | None:
    """The member that is offered where one is asked for: the nearest to the front's ideal point.

    The ideal point has the best figure of the front in each goal (Zeleny 1973's compromise
    programming, Euclidean); distances are in units of the scale, ties go to the cheaper.

    Args:
        front: of :func:`pareto_front`.
        metric: its goals.
        scale: makes goals comparable.
        is_known: members that are a published CAM or control, which are not offered; asked from
            the nearest on, as the question may be expensive.

    Returns:
        The member, None where all are known.
    """
    if not front:
        return None
    points = scale.scaled(oriented_points(front, metric))
    distances = np.linalg.norm(points.max(0) - points, axis=1).round(12)
    order = sorted(range(len(front)), key=lambda i: (distances[i], front[i].cost))
    return next((front[i] for i in order if not is_known(front[i])), None)


def nearness(
    front: Sequence[Candidate], metric: Metric, scale: Scale
) -> Callable[[Sequence[float]], float]:
    """How near oriented figures come to the ideal point of a front, as :func:`compromise` does it:
    higher is nearer, and worst where a figure is undefined.

    Args:
        front: of :func:`pareto_front`; not empty.
        metric: its goals.
        scale: makes goals comparable.
    """
    ideal = scale.scaled(oriented_points(front, metric)).max(0)

    def near(figures: Sequence[float]) -> float:
        distance = float(np.linalg.norm(ideal - scale.scaled(np.array([figures]))[0]))
        return -distance if np.isfinite(distance) else -math.inf

    return near


@dataclass(frozen=True)
class Member:
    """One formula of a front: ``figures`` are those of the goals, in their own direction."""

    expression: str
    cost: int
    figures: tuple[float, ...]


@dataclass(frozen=True)
class Rival:
    """A published CAM, baseline or control beside a front; ``cost`` is of its expression."""

    name: str
    kind: str
    cost: int | None
    figures: tuple[float, ...]


@dataclass(frozen=True)
class Front:
    """A front of several goals, for a result.

    Attributes:
        goals: names of the metrics.
        directions: whether higher is better, one per goal.
        members: cheapest first.
        known: published CAMs, baselines and controls that have a figure in every goal.
        reference: the worst figure among published CAMs and controls, one per goal, in its own
            direction: where the hypervolume counts from.
        ideal: the best figure among them, its unit.
        hypervolume: of the front, see :meth:`Scale.hypervolume`; cost plays no part in it.
        hypervolume_known: of the published CAMs, baselines and controls.
        compromise: the member that is offered as the winner; None where all are known CAMs.
    """

    goals: tuple[str, ...]
    directions: tuple[bool, ...]
    members: tuple[Member, ...]
    known: tuple[Rival, ...]
    reference: tuple[float, ...]
    ideal: tuple[float, ...]
    hypervolume: float
    hypervolume_known: float
    compromise: str | None


def describe(
    front: Sequence[Candidate],
    known: Sequence[Candidate],
    metric: Metric,
    chosen: Candidate | None,
) -> Front:
    """What a result says of a front.

    Args:
        front: of :func:`pareto_front`.
        known: published CAMs, baselines and controls with their scores.
        metric: the goals.
        chosen: of :func:`compromise`.

    Raises:
        OptionError: see :meth:`Scale.of`.
    """
    goals, scale = goals_of(metric), Scale.of(known, metric)
    known = [c for c in known if c.score.finite]
    others = oriented_points(known, metric)
    defined = np.isfinite(others).all(1)
    known = [c for c, good in zip(known, defined, strict=True) if good]
    signs = np.array([goal.oriented(1.0) for goal in goals])
    return Front(
        goals=tuple(goal.text for goal in goals),
        directions=tuple(goal.higher_is_better for goal in goals),
        members=tuple(
            Member(c.name, c.require_expression().cost, tuple(figures_of(c, metric).tolist()))
            for c in front
        ),
        known=tuple(
            Rival(c.name, c.kind, c.cost, tuple(figures_of(c, metric).tolist())) for c in known
        ),
        reference=tuple((signs * scale.reference).tolist()),
        ideal=tuple((signs * scale.ideal).tolist()),
        hypervolume=scale.hypervolume(oriented_points(front, metric)),
        hypervolume_known=scale.hypervolume(others[defined]),
        compromise=None if chosen is None else chosen.name,
    )
