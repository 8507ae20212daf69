"""What methods are measured under on the held-out images, and what that takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sycam.metrics import Metric, Road, RoadLerf, RoadMorf, find_metric
from sycam.problem.problem import Problem
from sycam.search import SearchOptions
from sycam.search.budget import Budget, Evidence
from sycam.validation.entrants import at_most_looked_at

PANEL = ("road", "insertion", "deletion", "iou", "energy-pointing-game")
GUARDS = ("class-sensitivity", "randomisation")
ESSENTIAL = 3  # winner, chosen published CAM and Grad-CAM, see entrants.essential
GUARDED = 64  # held-out images on which the sanity guards are measured
BACKWARD = 3.0  # a forward and backward pass, in forward passes
_LEAST = 0.2  # forward passes that making and comparing a heatmap of an image takes
_ALIKE = 8  # images whose forward passes are timed
_AT_MOST = 0.5  # of a budget in time, for what must be measured


@dataclass(frozen=True)
class Measures:
    """What entrants are measured under.

    Attributes:
        metric: the optimised metric.
        further: goals beside the first, under which the winner is compared as well.
        panel: other metrics, reported so that a winner that games its metric is seen; of those
            that :func:`~sycam.validation.entrants.looked_at` names and the best in hindsight.
        guards: what every explanation should pass; measured for the same on the first ``GUARDED``
            images, and left out where they cannot be.
        another: the metric with removed pixels filled otherwise, part of the panel of the
            leaders alone: it shows whether the lead is one of the way of filling. None where the
            metric fills nothing.
    """

    metric: Metric
    further: Sequence[Metric] = ()
    panel: Sequence[Metric] = ()
    guards: Sequence[Metric] = ()
    another: Metric | None = None

    @classmethod
    def of(cls, problem: Problem) -> Measures:
        """The goals of a problem, and what of the panel is defined for its images."""
        metric, *further = problem.goals
        unseen, goals = problem.unseen, {goal.text for goal in problem.goals}
        panel = [find_metric(name) for name in PANEL if name not in goals]
        panel = [m for m in panel if unseen.masks is not None or not m.needs_masks]
        panel = [m for m in panel if len(unseen.shape) == 3 or m.volumes]
        another = None
        if isinstance(metric, Road | RoadMorf | RoadLerf):
            another = metric.by_another_imputer()
            another = None if another.text in goals else another
        return cls(metric, further, panel, [find_metric(name) for name in GUARDS], another)

    @property
    def goals(self) -> list[Metric]:
        """The metric and those beside it."""
        return [self.metric, *self.further]

    @property
    def all(self) -> list[Metric]:
        """Goals, panel, guards, and the metric with another imputer."""
        another = [] if self.another is None else [self.another]
        return [*self.goals, *self.panel, *self.guards, *another]


def passes_of(metric: Metric) -> float:
    """What a metric takes for one heatmap, in forward passes; shared ones are left out."""
    return max(_LEAST, metric.passes + BACKWARD * metric.measurements)


@dataclass(frozen=True)
class Workload:
    """What the held-out evidence of a problem takes, in forward passes.

    Attributes:
        own: of the metric, for one heatmap.
        least: of the most important part: the images' evidence, and winner, chosen published CAM
            and Grad-CAM at the deepest layer under the goals; the choice image by image where it is
            asked for.
        whole: of all.
        second: measured seconds of a forward pass, where the metric has none that would tell.
        adaptive: of the choice image by image.
    """

    own: float
    least: float
    whole: float
    second: float | None
    adaptive: float = 0.0

    @classmethod
    def of(cls, problem: Problem, adapt: int | None = None) -> Workload:
        """That of a problem; a few images go through the network where that must be timed.

        Args:
            problem: what is searched.
            adapt: of how many formulas one is chosen image by image.
        """
        measures, unseen = Measures.of(problem), len(problem.unseen)
        entrants, sites = len(problem.known) + 1, len(problem.explained.layers)
        looked_at = min(entrants, at_most_looked_at(problem.known))
        goals = sum(map(passes_of, measures.goals))
        panel = sum(map(passes_of, measures.panel))
        guards = sum(
            passes_of(m) + BACKWARD * m.shared_measurements * sites / looked_at
            for m in measures.guards
        )
        guarded = min(GUARDED, unseen) / unseen
        another = passes_of(measures.another) * ESSENTIAL if measures.another else 0.0
        beside = entrants * goals + looked_at * (panel + guarded * guards) + another
        # Both portfolios at all levels, winner and chosen published CAM at half of them.
        methods = 0 if adapt is None else 2 * adapt + 1
        adaptive = unseen * methods * passes_of(problem.metric)
        return cls(
            passes_of(problem.metric),
            unseen * (BACKWARD + ESSENTIAL * goals) + adaptive,
            unseen * (BACKWARD + beside) + adaptive,
            None if problem.metric.passes else _seconds_a_pass(problem),
            adaptive,
        )

    def evidence(self, pace: float, seconds: float | None, share: float) -> Evidence:
        """What it takes in seconds, and what of a budget in time is kept for it.

        Kept is a share of the budget, or what the most important part takes where that is more,
        or what all of it takes where that is less.

        Args:
            pace: seconds of a candidate on a search image.
            seconds: of the budget that are left for search and evidence; None where it is none in
                time.
            share: of them, 0 to 1.
        """
        second = pace / self.own if self.second is None else self.second
        whole = self.whole * second
        least, adaptive = self.least * second, self.adaptive * second
        if seconds is None:
            return Evidence(0.0, whole, least, adaptive)
        kept = max(min(least, _AT_MOST * seconds), share * seconds)
        return Evidence(min(whole, kept), whole, least, adaptive)


def budgeted(options: SearchOptions, budget: Budget, problem: Problem) -> SearchOptions:
    """The options with a budget of which the search leaves what held-out evidence takes.

    Args:
        options: how to search.
        budget: its clock is running.
        problem: what is searched.
    """
    work = Workload.of(problem, options.adapt)
    # Of what is left once the search images are measured: both parts get less where that took long.
    left = None if budget.seconds is None else max(0.0, budget.left)

    def evidence(pace: float) -> Evidence:
        return work.evidence(pace, left, options.heldout_share)

    return replace(options, budget=replace(budget, evidence=evidence))


def _seconds_a_pass(problem: Problem) -> float:
    """Measured, for one image."""
    context = problem.context
    images, targets = context.images[:_ALIKE], context.targets[:_ALIKE]
    context.classifier.probability(images, targets)
    started = time.monotonic()
    context.classifier.probability(images, targets)
    return (time.monotonic() - started) / len(images)
