"""A few candidates that complement each other: one of them is chosen for each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sycam.metrics import Metric
from sycam.metrics.composition.levels import AtLevels, halves
from sycam.search.selection.select import Candidate

_LEAST = 1e-9  # that a member gains over the others, in units of a score: less is rounding


@dataclass(frozen=True)
class Portfolios:
    """What the choice image by image is from.

    Attributes:
        own: new formulas, and published CAMs that may win.
        published: published CAMs and baselines alone, chosen in the same manner: the rival.
    """

    own: tuple[Candidate, ...]
    published: tuple[Candidate, ...]


def portfolio(
    candidates: Sequence[Candidate],
    cells: Callable[[Candidate], np.ndarray],
    metric: Metric,
    count: int,
    admissible: Callable[[Candidate], bool] = lambda candidate: True,
) -> tuple[Candidate, ...]:
    """Up to ``count`` candidates, one after the other that which raises the mean over the images of
    the member chosen the most: chosen by one half of the metric's levels, judged by the other.

    It ends early where nobody gains. The first member is the best alone by the levels that judge.

    Args:
        candidates: that saw all images.
        cells: ``[N,L]`` what each image at each level adds to a candidate's score.
        metric: with levels.
        count: of members, at most.
        admissible: whether a candidate may be one; asked only of those that would.
    """
    able = [c for c in candidates if c.eligible]
    if not able:
        return ()
    every = np.stack([metric.oriented(cells(c)) for c in able])  # [C,N,L]
    chosen_by, judged_by = (_seen(every, half) for half in halves(metric))
    members: list[int] = []
    best, worth = np.full(every.shape[1], -np.inf), np.full(every.shape[1], -np.inf)
    while len(members) < count:
        # Ties go to the members that are there, as where images are explained.
        takes = chosen_by > best
        means = np.where(takes, judged_by, worth).mean(1)
        ahead = (i for i in np.argsort(-means, kind="stable").tolist() if i not in members)
        place = next((i for i in ahead if admissible(able[i])), None)
        if place is None or not means[place] > worth.mean() + _LEAST:
            break
        members.append(place)
        worth = np.where(takes[place], judged_by[place], worth)
        best = np.maximum(best, chosen_by[place])
    return tuple(able[i] for i in members)


def _seen(cells: np.ndarray, half: AtLevels) -> np.ndarray:
    """``[C,N]`` scores at the levels of one half, as if the others were like them."""
    return cells[..., half.levels_seen].mean(-1) * cells.shape[-1]
