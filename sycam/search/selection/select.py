"""Which candidate wins, by a rule that allows for the luck of the best among thousands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sycam.errors import ExpressionError
from sycam.language import Expression
from sycam.language.numbers import is_number
from sycam.metrics import Metric
from sycam.metrics.composition.objectives import Objectives, goals_of
from sycam.scoring.scorer import Score
from sycam.search.selection.rules import DEFAULT_RULE, RULES, allowance, ordering, within_noise
from sycam.support.shelf import stacked

__all__ = [
    "DEFAULT_RULE",
    "DEGENERATE_SHARE",
    "RULES",
    "Candidate",
    "allowance",
    "complexity",
    "paired_scores",
    "rank",
    "select",
    "simplest",
]

DEGENERATE_SHARE = 0.05  # a candidate with more degenerate maps than this cannot win
LOOKED_AT = 24  # formulas that :func:`simplest` asks whether they may be offered, at most


@dataclass(frozen=True)
class Candidate:
    """An expression, or a known method, with its scores on the search images.

    Attributes:
        name: the expression's text, or the method's name.
        kind: ``expression``, ``published``, ``control`` or ``variant``.
        expression: None for a method that is computed directly.
        score: its scores.
    """

    name: str
    kind: str
    expression: Expression | None
    score: Score

    @property
    def cost(self) -> int | None:
        """The expression's cost."""
        return None if self.expression is None else self.expression.cost

    def require_expression(self) -> Expression:
        """The expression, of a candidate that must have one.

        Raises:
            ExpressionError: it is a method that is computed directly.
        """
        if self.expression is None:
            raise ExpressionError(f"{self.name!r} is computed directly: it has no expression")
        return self.expression

    @property
    def mean(self) -> float:
        """The metric's figure in its own direction: for most the mean score."""
        return self.score.mean

    @property
    def eligible(self) -> bool:
        """Whether it may win: finite, and degenerate on few images."""
        return self.score.finite and self.score.degenerate <= DEGENERATE_SHARE * len(
            self.score.values
        )


def rank(
    candidates: Sequence[Candidate], metric: Metric, rule: str = DEFAULT_RULE, seed: int = 0
) -> list[Candidate]:
    """Eligible candidates in the order in which they should win.

    The mean of the best of many is biased upwards. What each rule makes of that is said in
    :data:`~sycam.search.selection.rules.RULES`; ``benchmarks/selection.py`` compares them on
    held-out images.

    Args:
        candidates: scored on the same images.
        metric: that scored them.
        rule: of ``RULES``.
        seed: of the folds of ``cross-fit``.

    Raises:
        UnknownNameError: no such rule.
    """
    ordered = in_order(candidates)
    costs = np.array([c.cost for c in ordered])
    return [ordered[i] for i in ordering(paired_scores(ordered, metric), costs, rule, seed)]


def select(
    candidates: Sequence[Candidate],
    metric: Metric,
    is_known: Callable[[Candidate], bool],
    rule: str = DEFAULT_RULE,
    seed: int = 0,
) -> Candidate | None:
    """The winner: the first by :func:`rank` that is no published CAM or control found again."""
    return next((c for c in rank(candidates, metric, rule, seed) if not is_known(c)), None)


def complexity(expression: Expression) -> tuple[int, int]:
    """What simpler formulas have less of: cost, and at equal cost numbers other than the language's
    own constants."""
    return expression.cost, sum(is_number(node.operator) for node in expression.nodes())


def simplest(
    candidates: Sequence[Candidate],
    metric: Metric,
    best: Candidate,
    is_known: Callable[[Candidate], bool],
) -> Candidate:
    """The simplest candidate that the images cannot tell from the best one.

    What that means is the rule ``one-se``'s: its figure lies at most one standard error of the
    paired difference behind, with several goals under each of them. Of equally simple ones the
    highest figure is taken, with several goals that of the first.

    Args:
        candidates: scored on the same images.
        metric: that scored them, or several goals.
        best: what they are compared with, and the answer where none is simpler.
        is_known: whether a candidate may not be offered; asked of the simplest ones, of
            :data:`LOOKED_AT` at most, as the question may be expensive.
    """
    limit = complexity(best.require_expression())
    able = [c for c in in_order(candidates) if complexity(c.require_expression()) < limit]
    if not able or len(best.score.values) < 2:  # one image tells nothing of the spread
        return best
    near_by_goal = []
    for i, goal in enumerate(goals_of(metric)):
        scores = paired_scores([under_goal(c, metric, i) for c in (best, *able)], goal)
        ours, others = scores[0], scores[1:]
        near_by_goal.append(within_noise(ours, others))
    near = np.flatnonzero(np.all(near_by_goal, axis=0))
    ranked = sorted(
        near,
        key=lambda i: (*complexity(able[i].require_expression()), -metric.oriented(able[i].mean)),
    )
    return next((able[i] for i in ranked[:LOOKED_AT] if not is_known(able[i])), best)


def under_goal(candidate: Candidate, metric: Metric, i: int) -> Candidate:
    """A candidate with its scores under one of several goals alone.

    Args:
        candidate: scored by the metric.
        metric: several goals, or one metric, which is its only goal.
        i: place of the goal.
    """
    if not isinstance(metric, Objectives):
        return candidate
    values, goal = metric.part(candidate.score.values, i), metric.metrics[i]
    return replace(
        candidate, score=replace(candidate.score, values=values, mean=float(goal.reduce(values)))
    )


def in_order(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that are eligible, in the language's own order: ties go to the first."""
    return sorted(
        (c for c in candidates if c.eligible), key=lambda c: c.require_expression().sort_key()
    )


def paired_scores(candidates: Sequence[Candidate], metric: Metric) -> np.ndarray:
    """``[C,N]`` what each image adds to each candidate's figure, higher is better.

    Rows have the figures as their means. Where the figure is no mean they are jackknife
    pseudo-values, shifted by the bias that these correct for.
    """
    if not candidates:
        return np.empty((0, 0))
    each = (metric.oriented(metric.per_image(c.score.values)) for c in candidates)
    scores = stacked(each, len(candidates))
    if metric.components:
        figures = metric.oriented(np.array([c.mean for c in candidates]))
        scores += (figures - scores.mean(1))[:, None]
    return scores
