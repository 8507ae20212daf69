"""Which candidate wins, by a rule that knows that the best of thousands is partly lucky."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sycam.language import Expression
from sycam.metrics import Metric
from sycam.search.scoring import Score

DEGENERATE_SHARE = 0.05  # a candidate with more degenerate maps than this cannot win


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


def pareto_front(candidates: Sequence[Candidate], metric: Metric) -> tuple[Candidate, ...]:
    """Eligible candidates that score higher than every candidate of the same or a lower cost."""
    front: list[Candidate] = []
    for candidate in sorted(
        (c for c in candidates if c.eligible), key=lambda c: (c.cost, -metric.oriented(c.mean))
    ):
        if not front or metric.oriented(candidate.mean) > metric.oriented(front[-1].mean):
            front.append(candidate)
    return tuple(front)


def rank(candidates: Sequence[Candidate], metric: Metric) -> list[Candidate]:
    """Eligible candidates in the order in which they should win.

    One-standard-error rule: of the candidates whose mean, paired image by image, is within one
    standard error of the highest, the cheapest comes first; the rest follow by mean. The mean of
    the best of many is biased upwards; a cheaper formula that cannot be told from it is the
    better bet on unseen images.
    """
    eligible = sorted(
        (c for c in candidates if c.eligible),
        key=lambda c: (-metric.oriented(c.mean), c.expression.sort_key()),
    )
    if not eligible:
        return []
    best = metric.oriented(metric.per_image(eligible[0].score.values))
    count = len(best)

    def close(candidate: Candidate) -> bool:
        behind = best - metric.oriented(metric.per_image(candidate.score.values))
        error = behind.std(ddof=1) / np.sqrt(count) if count > 1 else 0.0
        return behind.mean() <= error

    near = [c for c in eligible if close(c)]
    near.sort(key=lambda c: (c.cost, -metric.oriented(c.mean)))
    chosen = set(map(id, near))
    return near + [c for c in eligible if id(c) not in chosen]


def select(
    candidates: Sequence[Candidate], metric: Metric, is_known: Callable[[Candidate], bool]
) -> Candidate | None:
    """The winner: the first by :func:`rank` that is no published CAM or control in disguise."""
    return next((c for c in rank(candidates, metric) if not is_known(c)), None)
